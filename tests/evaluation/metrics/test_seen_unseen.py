import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioscan_hf.evaluation.metrics.accuracy import accuracies
from bioscan_hf.evaluation.metrics.seen_unseen import SeenUnseenAccuracy


def test_hand_worked_case() -> None:
    scores = SeenUnseenAccuracy().compute(
        predictions=[1, 1, 1, 0, 5, 6, 9],
        references=[1, 1, 1, 2, 5, 5, -1],
        is_seen=[True, True, True, True, False, False, False],
    )
    assert scores == pytest.approx(
        {
            "seen_accuracy": 3 / 4,
            "seen_macro_accuracy": (1 + 0) / 2,
            "seen_count": 4,
            "seen_unlabelled": 0,
            "unseen_accuracy": 1 / 2,
            "unseen_macro_accuracy": 1 / 2,
            "unseen_count": 2,
            "unseen_unlabelled": 1,
            "harmonic_accuracy": 2 / (4 / 3 + 2),
            "harmonic_macro_accuracy": 1 / 2,
            "count": 6,
            "unlabelled": 1,
        }
    )


def test_harmonic_mean_is_0_where_one_is() -> None:
    scores = SeenUnseenAccuracy().compute(predictions=[1, 1], references=[1, 2], is_seen=[True, False])
    assert (scores["seen_accuracy"], scores["harmonic_accuracy"], scores["harmonic_macro_accuracy"]) == (1, 0, 0)
    assert all(type(value) in (int, float) for value in scores.values())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=2))
def test_each_group_is_scored_as_if_alone(rows: list[tuple[int, int, int, bool]]) -> None:
    table = np.array(rows)
    seen = table[:, 3].astype(bool)
    if seen.all() or not seen.any():
        return
    scores = SeenUnseenAccuracy()._compute(table[:, :2], table[:, 2], seen, k=(1, 2))
    for group, members in {"seen": seen, "unseen": ~seen}.items():
        alone = accuracies(table[members, :2], table[members, 2], k=(1, 2))
        assert {name: scores[f"{group}_{name}"] for name in alone} == alone
    for name in ("accuracy", "macro_accuracy", "top_2_accuracy", "top_2_macro_accuracy"):
        low, high = sorted((scores[f"seen_{name}"], scores[f"unseen_{name}"]))
        assert low - 1e-12 <= scores[f"harmonic_{name}"] <= high + 1e-12


@pytest.mark.parametrize(("is_seen", "group"), [([True, True], "unseen"), ([False, False], "seen")])
def test_an_empty_group_is_an_error(is_seen: list[bool], group: str) -> None:
    with pytest.raises(ValueError, match=f"labelled queries of {group} species; there are none"):
        SeenUnseenAccuracy().compute(predictions=[1, 1], references=[1, 1], is_seen=is_seen)
    with pytest.raises(ValueError, match="labelled queries of unseen species; there are none"):
        SeenUnseenAccuracy().compute(predictions=[1, 1], references=[1, -1], is_seen=[True, False])
