import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bioscan_hf.evaluation.metrics.accuracy import accuracies
from bioscan_hf.evaluation.metrics.retrieval import Retrieval

rankings = st.integers(1, 6).flatmap(
    lambda depth: st.lists(
        st.tuples(st.lists(st.integers(-1, 2), min_size=depth, max_size=depth), st.integers(-1, 2), st.integers(0, 4)),
        min_size=1,
        max_size=12,
    )
)


def test_hand_worked_case() -> None:
    scores = Retrieval().compute(
        predictions=[[1, 2, 1], [2, 2, 1], [0, 0, 0], [3, -1, 3], [1, 1, 1]],
        references=[1, 1, 7, 3, -1],
        relevant=[2, 5, 0, 2, 0],
        k=(1, 2, 3),
    )
    assert scores == pytest.approx(
        {
            "recall_at_1": 2 / 4,
            "recall_at_2": 2 / 4,
            "recall_at_3": 3 / 4,
            # Hits at 1 and 3 of 2; at 3 of at most 3; none; at 1 and 3 of 2.
            "map": ((1 + 2 / 3) / 2 + (1 / 3) / 3 + 0 + (1 + 2 / 3) / 2) / 4,
            "mrr": (1 + 1 / 3 + 0 + 1) / 4,
            "count": 4,
            "unlabelled": 1,
        }
    )


@settings(deadline=None)
@given(rankings)
def test_it_is_a_naive_computation(rows: list[tuple[list[int], int, int]]) -> None:
    if all(label == -1 for _, label, _ in rows):
        return
    keys, labels, _ = zip(*rows, strict=True)
    relevant = [row.count(label) + more for row, label, more in rows]
    depth = len(keys[0])
    scores = Retrieval()._compute(keys, labels, relevant, k=range(1, depth + 1))
    precisions, reciprocals = [], []
    for row, label, available in zip(keys, labels, relevant, strict=True):
        if label == -1:
            continue
        hits = [place for place, key in enumerate(row, start=1) if key == label]
        best = min(depth, available)
        precisions.append(sum(row[:place].count(label) / place for place in hits) / best if best else 0)
        reciprocals.append(1 / hits[0] if hits else 0)
    assert scores["map"] == pytest.approx(np.mean(precisions))
    assert scores["mrr"] == pytest.approx(np.mean(reciprocals))
    top = accuracies(keys, labels, k=range(1, depth + 1))
    for k in range(1, depth + 1):
        assert scores[f"recall_at_{k}"] == top["accuracy" if k == 1 else f"top_{k}_accuracy"]


def test_average_precision_of_scikit_learn_where_all_keys_are_ranked() -> None:
    rng = np.random.default_rng(0)
    keys, queries = rng.integers(0, 4, 50), rng.integers(0, 4, 20)
    similarities = rng.normal(size=(20, 50))
    relevant = (queries[:, None] == keys).sum(axis=1)
    ranked = keys[np.argsort(-similarities, axis=1)]
    scores = Retrieval().compute(predictions=ranked, references=queries, relevant=relevant)
    theirs = [average_precision_score(keys == query, row) for query, row in zip(queries, similarities, strict=True)]
    assert scores["map"] == pytest.approx(np.mean(theirs))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="a query of label 4 has 1, but 2 of its retrieved keys"):
        Retrieval().compute(predictions=[[3, 3], [4, 4]], references=[3, 4], relevant=[2, 1])
    with pytest.raises(ValueError, match=r"`k` must lie between 1 and 2, .*got 5"):
        Retrieval().compute(predictions=[[3, 3]], references=[3], relevant=[2], k=(1, 5))
    with pytest.raises(ValueError, match="at least one labelled"):
        Retrieval().compute(predictions=[[3, 3]], references=[-1], relevant=[0])
