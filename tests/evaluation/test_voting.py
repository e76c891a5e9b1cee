import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from bioscan_hf.evaluation.neighbours import nearest
from bioscan_hf.evaluation.voting import vote
from tests.evaluation.test_neighbours import unit_vectors

PARITY = Path(__file__).parent / "parity"


@pytest.mark.parametrize("temperature", [0.02, 0.5, 1e6])
@pytest.mark.parametrize("k", [1, 3, 10, 60])
def test_votes_equal_those_counted_one_by_one(k: int, temperature: float) -> None:
    keys, queries = unit_vectors(60, 6, 0), unit_vectors(40, 6, 1)
    labels = np.random.default_rng(2).integers(3, 9, size=60)
    named = vote(keys, labels, queries, k=k, temperature=temperature)
    assert named.dtype == np.int64 and named.shape == (40,)
    for query, name in zip(queries, named, strict=True):
        similarities = keys.astype(np.float64) @ query
        votes: defaultdict[int, float] = defaultdict(float)
        for row in np.argsort(-similarities)[:k]:
            votes[int(labels[row])] += float(np.exp(similarities[row] / temperature))
        # In float32 votes that are nearly equal may be equal, of which the nearest key decides.
        assert votes[int(name)] >= max(votes.values()) * (1 - 1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), temperature=st.floats(1e-3, 1e3))
def test_one_vote_is_that_of_the_nearest(seed: int, temperature: float) -> None:
    keys, queries = unit_vectors(20, 3, seed), unit_vectors(10, 3, seed + 1000)
    labels = np.arange(20) % 7 - 1
    named = vote(keys, labels, queries, k=1, temperature=temperature)
    np.testing.assert_array_equal(named, labels[nearest(keys, queries)[0]])


def test_equal_votes_go_to_the_nearest_key_and_near_keys_have_more() -> None:
    angles = np.radians([0, 20, 30, 31])
    keys = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels, query = np.array([9, 4, 5, 4]), np.array([[1, 0]], np.float32)
    assert vote(keys, labels, query, k=2, temperature=1e9).tolist() == [9]  # one vote each
    assert vote(keys, labels, query, k=4, temperature=1e9).tolist() == [4]  # two of four
    # cos 0, 20 and 31 degrees are 1, 0.940 and 0.857: exp(x / 0.02) leaves 1 : 0.049 : 0.0008
    assert vote(keys, labels, query, k=4, temperature=0.02).tolist() == [9]


def test_low_temperatures_count_votes_that_do_not_fit_into_float32() -> None:
    angles = np.radians([0, 0.1, 0.1])  # exp(1000), and two of 0.998 times as much
    keys = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    query = np.array([[1, 0]], np.float32)
    assert vote(keys, np.array([9, 4, 4]), query, k=3, temperature=0.001).tolist() == [4]
    assert vote(keys, np.array([9, 4, 5]), query, k=3, temperature=0.001).tolist() == [9]


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, queries, labels = unit_vectors(30, 4, 0), unit_vectors(25, 4, 1), np.arange(30) % 5
    whole = vote(keys, labels, queries, k=6)
    monkeypatch.setattr("bioscan_hf.evaluation.voting._PAIRS", 100)
    np.testing.assert_array_equal(vote(keys, labels, queries, k=6), whole)
    assert len(vote(keys, labels, queries[:0], k=6)) == 0


def test_uniform_votes_are_those_of_the_reference() -> None:
    with np.load(PARITY / "knn_probe.npz") as file:
        made = dict(file)
    keys, queries = (made[name] / np.linalg.norm(made[name], axis=1, keepdims=True) for name in ("Xtr", "Xte"))
    labels = made["ytr"].astype(np.int64)
    counts = [np.bincount(labels[rows]) for rows in made["nn_cosine_k5"]]
    # The reference gives equal votes to the smallest label, we to the nearest key.
    tied = np.array([(count == count.max()).sum() > 1 for count in counts])
    assert tied.sum() == 15
    named = vote(keys, labels, queries, k=5, temperature=1e9)
    np.testing.assert_array_equal(named[~tied], made["pred_cosine_k5"][~tied])
    for row in np.flatnonzero(tied):
        among = labels[made["nn_cosine_k5"][row]]
        winners = np.flatnonzero(counts[row] == counts[row].max())
        assert made["pred_cosine_k5"][row] == winners.min()
        assert named[row] == next(label for label in among if label in winners)
    one = vote(keys, labels, queries, k=1)
    np.testing.assert_array_equal(one, made["pred_cosine_k1"])
    scores = json.loads((PARITY / "knn_probe.json").read_text())
    assert 100 * accuracy_score(made["yte"], one) == pytest.approx(scores["cosine_k1"]["accuracy"])


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan])
def test_temperature_out_of_range(temperature: float) -> None:
    keys = unit_vectors(3, 4, 0)
    with pytest.raises(ValueError, match=f"a temperature above 0; got {temperature}"):
        vote(keys, np.arange(3), keys, k=1, temperature=temperature)


def test_wrong_numbers_of_keys_or_labels() -> None:
    keys = unit_vectors(3, 4, 0)
    with pytest.raises(ValueError, match="as keys, 3; got 20"):
        vote(keys, np.arange(3), keys)
    with pytest.raises(ValueError, match="got 4 labels and 3 keys"):
        vote(keys, np.arange(4), keys, k=1)
