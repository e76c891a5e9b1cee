from typing import Any

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from bioscan_hf.evaluation.metrics.accuracy import Accuracy

Pairs = list[tuple[int, int]]


def test_hand_worked_case() -> None:
    scores = Accuracy().compute(predictions=[0, 0, 1, 0, 2], references=[0, 0, 1, 1, -1])
    assert scores == {"accuracy": 0.75, "macro_accuracy": (1 + 0.5) / 2, "count": 4, "unlabelled": 1}


def test_ranked_candidates_by_hand() -> None:
    candidates = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [5, 6, -1], [-1, -1, -1]]
    scores = Accuracy().compute(predictions=candidates, references=[0, 0, 0, 1, -1], k=(1, 2, 3))
    assert scores == {
        "accuracy": 1 / 4,
        "macro_accuracy": pytest.approx((1 / 3 + 0) / 2),
        "top_2_accuracy": 2 / 4,
        "top_2_macro_accuracy": pytest.approx((2 / 3 + 0) / 2),
        "top_3_accuracy": 3 / 4,
        "top_3_macro_accuracy": (1 + 0) / 2,
        "count": 4,
        "unlabelled": 1,
    }


def test_arrays_and_one_candidate_are_as_lists_and_labels() -> None:
    predictions, references = np.array([0, 1, 1]), np.array([0, 1, 0])
    expected = Accuracy().compute(predictions=predictions.tolist(), references=references.tolist())
    assert Accuracy().compute(predictions=predictions, references=references) == expected
    assert Accuracy().compute(predictions=np.stack([predictions, predictions], 1), references=references) == expected
    assert Accuracy().compute(predictions=predictions[:, None].tolist(), references=references) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=30))
def test_bounds_and_renaming_of_labels(pairs: Pairs) -> None:
    predictions, references = (np.array(column) for column in zip(*pairs, strict=True))
    if (references == -1).all():
        return
    scores = Accuracy()._compute(predictions, references)
    assert 0 <= scores["accuracy"] <= 1 and 0 <= scores["macro_accuracy"] <= 1
    names = np.array([2, 0, 3, 1, -1])  # the last one renames -1 to itself
    assert Accuracy()._compute(names[predictions], names[references]) == pytest.approx(scores)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_macro_is_the_balanced_accuracy(pairs: Pairs) -> None:
    predictions, references = zip(*pairs, strict=True)
    scores = Accuracy()._compute(predictions, references)
    assert scores["macro_accuracy"] == pytest.approx(balanced_accuracy_score(references, predictions))


@settings(deadline=None)
@given(st.lists(st.tuples(st.permutations(range(4)), st.integers(0, 4)), min_size=1, max_size=20))
def test_more_candidates_are_no_worse(rows: list[tuple[list[int], int]]) -> None:
    candidates, references = zip(*rows, strict=True)
    scores = Accuracy()._compute(candidates, references, k=(1, 2, 3, 4))
    for macro in ("", "macro_"):
        values = [scores[f"{macro}accuracy"], *(scores[f"top_{k}_{macro}accuracy"] for k in (2, 3, 4))]
        assert values == sorted(values)
    assert scores["top_4_accuracy"] == pytest.approx(np.mean(np.array(references) < 4))


def test_no_labels_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one labelled"):
        Accuracy().compute(predictions=[1], references=[-1])


@pytest.mark.parametrize(("predictions", "k"), [([1, 1], 3), ([[1, 2], [1, 2]], 3), ([1, 1], 0)])
def test_depths_beyond_the_candidates_are_refused(predictions: list[Any], k: int) -> None:
    with pytest.raises(ValueError, match=f"`k` must lie between 1 and {np.size(predictions[0])}, .*got {k}"):
        Accuracy().compute(predictions=predictions, references=[1, 1], k=(k,))


def test_candidates_of_differing_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`predictions` must be integers .* as many for each specimen"):
        Accuracy().compute(predictions=[[1, 2], [1]], references=[1, 1])


def test_missing_references_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`references` must be integers .* a missing label is -1"):
        Accuracy().compute(predictions=[1, 1], references=[1, None])


def test_it_combines_with_other_metrics() -> None:
    combined = evaluate.combine([Accuracy(), Accuracy()])
    assert combined.compute(predictions=[1, 0], references=[1, 1])["accuracy_0_accuracy"] == 0.5
