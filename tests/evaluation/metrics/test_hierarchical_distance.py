import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioscan_hf.evaluation.metrics.hierarchical_distance import HierarchicalDistance

CASES = [
    # order, family, genus, species of the prediction and of the reference; distance, rank of agreement
    ([1, 2, 3, 4], [1, 2, 3, 4], 0, 3),
    ([1, 2, 3, 5], [1, 2, 3, 4], 1, 2),
    ([1, 2, 9, 5], [1, 2, 3, 4], 2, 1),
    ([8, 7, 9, 5], [1, 2, 3, 4], 4, None),
    ([1, 9, 3, 4], [1, 2, 3, 4], 3, 0),  # what is right below another family is chance
    ([1, 9, 3, 5], [1, -1, 3, 4], 1, 2),  # no family to compare
    ([1, 2, 3, 9], [1, 2, 3, -1], 0, 2),  # right as far as one knows
    ([9, 2, 3, 4], [-1, -1, -1, 4], 0, 3),
    ([1, 2, -1, -1], [1, 2, 3, 4], 2, 1),  # a prediction may stop
    ([1, 2, 3, 4], [-1, -1, -1, -1], None, None),
]


@pytest.mark.parametrize(("prediction", "reference", "distance", "rank"), CASES[:-1])
def test_each_case_by_hand(prediction: list[int], reference: list[int], distance: int, rank: int | None) -> None:
    scores = HierarchicalDistance().compute(predictions=[prediction], references=[reference])
    assert scores["hierarchical_distance"] == distance
    shares = [*(scores[f"agreement_at_{i}"] for i in range(4)), scores["no_agreement"]]
    assert shares.index(1.0) == (4 if rank is None else rank) and sum(shares) == 1


def test_all_cases_together() -> None:
    predictions, references, *_ = zip(*CASES, strict=True)
    scores = HierarchicalDistance().compute(predictions=predictions, references=references)
    assert scores == pytest.approx(
        {
            "hierarchical_distance": (0 + 1 + 2 + 4 + 3 + 1 + 0 + 0 + 2) / 9,
            "agreement_at_0": 1 / 9,
            "agreement_at_1": 2 / 9,
            "agreement_at_2": 3 / 9,
            "agreement_at_3": 2 / 9,
            "no_agreement": 1 / 9,
            "count": 9,
            "unlabelled": 1,
        }
    )
    assert all(type(value) in (int, float) for value in scores.values())


rows = st.integers(1, 4).flatmap(
    lambda ranks: st.lists(
        st.tuples(*[st.lists(st.integers(-1, 2), min_size=ranks, max_size=ranks)] * 2), min_size=1, max_size=10
    )
)


@settings(deadline=None)
@given(rows)
def test_it_is_a_naive_computation(pairs: list[tuple[list[int], list[int]]]) -> None:
    distances = []
    for prediction, reference in pairs:
        compared = [(a, b) for a, b in zip(prediction, reference, strict=True) if b != -1]
        if compared:
            wrong = [place for place, (a, b) in enumerate(compared) if a != b]
            distances.append(len(compared) - wrong[0] if wrong else 0)
    if not distances:
        return
    predictions, references = zip(*pairs, strict=True)
    scores = HierarchicalDistance()._compute(predictions, references)
    assert scores["hierarchical_distance"] == pytest.approx(np.mean(distances))
    assert scores["count"] == len(distances) == len(pairs) - scores["unlabelled"]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at the same ranks; got 2 and 3"):
        HierarchicalDistance().compute(predictions=[[1, 2]], references=[[1, 2, 3]])
    with pytest.raises(ValueError, match="at least one labelled"):
        HierarchicalDistance().compute(predictions=[[1, 2]], references=[[-1, -1]])
