import evaluate
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.evaluation.metrics.accuracy import Accuracy


def test_hand_worked_case() -> None:
    scores = Accuracy().compute(predictions=[0, 0, 1, 0, 2], references=[0, 0, 1, 1, -1])
    assert scores == {"accuracy": 0.75, "macro_accuracy": (1 + 0.5) / 2, "count": 4}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=30))
def test_bounds_and_renaming_of_labels(pairs: list[tuple[int, int]]) -> None:
    predictions, references = (np.array(column) for column in zip(*pairs, strict=True))
    if (references == -1).all():
        return
    scores = Accuracy()._compute(predictions, references)
    assert 0 <= scores["accuracy"] <= 1 and 0 <= scores["macro_accuracy"] <= 1
    names = np.array([2, 0, 3, 1, -1])  # the last one renames -1 to itself
    assert Accuracy()._compute(names[predictions], names[references]) == pytest.approx(scores)


def test_no_labels_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one labelled"):
        Accuracy().compute(predictions=[1], references=[-1])


def test_it_combines_with_other_metrics() -> None:
    combined = evaluate.combine([Accuracy(), Accuracy()])
    assert combined.compute(predictions=[1, 0], references=[1, 1])["accuracy_0_accuracy"] == 0.5
