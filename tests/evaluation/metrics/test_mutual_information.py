import json
import math
from collections import Counter
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from bioscan_hf.evaluation.metrics.mutual_information import (
    Normaliser,
    adjusted_mutual_information,
    expected_mutual_information,
)

PARITY = Path(__file__).parents[1] / "parity"
PAIRS = json.loads((PARITY / "metric_pairs.json").read_text(encoding="utf-8"))
AVERAGES: tuple[Normaliser, ...] = ("arithmetic", "geometric", "min", "max")
# The normaliser equals E[MI] here, so that these are rounding noise.
DEGENERATE = {
    ("all_singletons_pred", "min"),
    ("all_singletons_pred", "geometric"),
    ("all_singletons_pred", "true_entropy"),
    *(("both_singletons", normaliser) for normaliser in get_args(Normaliser)),
}
labellings = st.integers(2, 40).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2))


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_the_value_of_the_reference(name: str) -> None:
    with np.load(PARITY / "metric_pairs.npz") as arrays:
        labels, clusters = arrays[f"{name}__true"], arrays[f"{name}__pred"]
    compared = [normaliser for normaliser in get_args(Normaliser) if (name, normaliser) not in DEGENERATE]
    ours = {normaliser: adjusted_mutual_information(labels, clusters, normaliser=normaliser) for normaliser in compared}
    keys = {normaliser: "h_true" if normaliser == "true_entropy" else normaliser for normaliser in compared}
    assert ours == pytest.approx({n: PAIRS[name][f"ami_{key}"] for n, key in keys.items()}, abs=1e-8)


@settings(deadline=None)
@given(labellings)
def test_it_is_the_value_of_scikit_learn(pair: tuple[list[int], list[int]]) -> None:
    labels, clusters = pair
    for normaliser in AVERAGES:
        theirs = adjusted_mutual_info_score(labels, clusters, average_method=normaliser)
        if abs(theirs) > 1e3 or len(set(labels)) == len(labels) or len(set(clusters)) == len(clusters):
            continue  # a denominator of 0 but for rounding
        assert adjusted_mutual_information(labels, clusters, normaliser=normaliser) == pytest.approx(theirs, abs=1e-8)


@pytest.mark.parametrize(
    ("labels", "clusters"),
    [
        ("aaabbc", "xxyyyy"),
        ("aaaabc", "xxxxyz"),  # the largest ones share two at least
    ],
)
def test_expectation_over_all_permutations(labels: str, clusters: str) -> None:
    values = [mutual_info_score(list(labels), order) for order in permutations(clusters)]
    sizes = [np.array(list(Counter(column).values())) for column in (labels, clusters)]
    assert expected_mutual_information(*sizes) == pytest.approx(math.fsum(values) / len(values), abs=1e-12)


def test_expectation_in_exact_fractions() -> None:
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 7, 200).tolist(), rng.geometric(0.3, 200).tolist()
    naive = 0.0
    for a in Counter(labels).values():
        for b in Counter(clusters).values():
            for shared in range(max(1, a + b - 200), min(a, b) + 1):
                probability = Fraction(math.comb(a, shared) * math.comb(200 - a, b - shared), math.comb(200, b))
                naive += float(Fraction(shared, 200) * probability) * math.log(200 * shared / (a * b))
    sizes = [np.array(list(Counter(column).values())) for column in (labels, clusters)]
    assert expected_mutual_information(*sizes) == pytest.approx(naive, abs=1e-11)
    assert expected_mutual_information(*reversed(sizes)) == pytest.approx(naive, abs=1e-11)


def test_pure_clusters_are_perfect_only_by_the_true_entropy() -> None:
    labels, clusters = np.repeat([0, 1], 50), np.repeat(np.arange(20), 5)
    assert adjusted_mutual_information(labels, clusters, normaliser="true_entropy") == pytest.approx(1)
    assert adjusted_mutual_information(labels, clusters, normaliser="arithmetic") < 0.5
    # Mixed clusters are not, though every class is in one of them.
    assert adjusted_mutual_information(clusters, labels, normaliser="true_entropy") < 0.5


@pytest.mark.parametrize("normaliser", get_args(Normaliser))
def test_special_cases(normaliser: Normaliser) -> None:
    for labels, clusters, expected in (([1, 1], [2, 2], 1.0), ([1, 1], [1, 2], 0.0), ([1, 2], [1, 1], 0.0)):
        assert adjusted_mutual_information(labels, clusters, normaliser=normaliser) == expected


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"as many labels as clusters, at least one; got \(2,\) and \(1,\)"):
        adjusted_mutual_information([1, 2], [1], normaliser="min")
    with pytest.raises(ValueError, match=r"at least one; got \(0,\) and \(0,\)"):
        adjusted_mutual_information([], [], normaliser="min")
    with pytest.raises(ValueError, match=r"`normaliser` must be one of .* got 'h_true'"):
        adjusted_mutual_information([1, 2], [1, 2], normaliser="h_true")  # type: ignore[arg-type]
