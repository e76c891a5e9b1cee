import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bioscan_hf.identification import votes as module
from bioscan_hf.identification.votes import FEATURES, Evidence, Neighbours, count_votes

RANKS = 4


def made_neighbours(queries: int, k: int, keys: int, *, seed: int = 0) -> Neighbours:
    draw = np.random.default_rng(seed)
    found = np.stack([draw.permutation(keys)[:k] for _ in range(queries)])
    similarities = -np.sort(-draw.uniform(0.8, 1, (queries, k)), axis=1).astype(np.float32)
    return Neighbours(found, similarities, draw.uniform(0.7, 1, (queries, k)).astype(np.float32))


def made_labels(keys: int, *, seed: int = 0) -> NDArray[np.int32]:
    """Lineages of a tree, some cut off, and some without a rank between."""
    draw = np.random.default_rng(seed)
    species = draw.integers(0, 16, keys)
    labels = np.stack([species // 8, species // 4, species // 2, species], axis=1)
    labels[np.arange(RANKS) > draw.integers(0, 6, keys)[:, None]] = -1
    labels[species // 2 % 3 == 0, 1] = -1
    return labels.astype(np.int32)


def naive(
    neighbours: Neighbours, labels: NDArray[np.int32], weights: NDArray[np.float32], temperature: float
) -> Evidence:
    names, features = [], []
    for row, keys in enumerate(neighbours.keys.tolist()):
        similarities = neighbours.similarities[row].tolist()
        identities = None if neighbours.identities is None else neighbours.identities[row].tolist()
        votes = [
            math.exp((s - similarities[0]) / temperature) * float(weights[k])
            for s, k in zip(similarities, keys, strict=True)
        ]
        voters = set(range(len(keys)))
        own_names, own_features = [], []
        for rank in range(labels.shape[1]):
            label = [int(labels[key, rank]) for key in keys]
            counts: dict[int, float] = {}
            for i in sorted(voters):
                if label[i] >= 0:
                    counts[label[i]] = counts.get(label[i], 0) + votes[i]
            if not counts:
                own_names.append(-1)
                own_features.append([0.0] * len(FEATURES))
                continue
            name = max(counts, key=lambda each: counts[each])
            nearest = min(i for i in range(len(keys)) if label[i] == name)
            others = [similarities[i] for i in range(len(keys)) if label[i] not in (-1, name)]
            labelled = sum(vote for vote, each in zip(votes, label, strict=True) if each >= 0)
            feature = [counts[name] / labelled, similarities[nearest]]
            feature.append(similarities[nearest] - max([*others, similarities[-1]]))
            same = identities and identities[nearest]
            feature += [0, 0] if same is None else [same, math.log(1 + 100 * (1 - same))]
            own_names.append(name)
            own_features.append(feature)
            voters = {i for i in voters if label[i] in (-1, name)}
        names.append(own_names)
        features.append(own_features)
    return Evidence(np.array(names), np.array(features, np.float32))


@pytest.mark.parametrize("temperature", [0.02, 0.3])
@pytest.mark.parametrize("by_letters", [True, False])
def test_votes_are_counted_one_by_one(temperature: float, by_letters: bool) -> None:
    labels = made_labels(80)
    weights = np.random.default_rng(1).uniform(0.1, 1, 80).astype(np.float32)
    neighbours = made_neighbours(100, 12, 80)
    if not by_letters:
        neighbours = neighbours._replace(identities=None)
    found, expected = (count(neighbours, labels, weights, temperature) for count in (_count, naive))
    assert (found.names == expected.names).all()
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-3, atol=1e-5)
    assert len(np.unique(found.names[:, -1])) > 5


def _count(*arguments: object) -> Evidence:
    neighbours, labels, weights, temperature = arguments
    return count_votes(neighbours, labels, weights, temperature=temperature)  # type: ignore[arg-type]


def test_names_are_one_lineage() -> None:
    labels = made_labels(80)
    names = count_votes(made_neighbours(300, 12, 80), labels, np.ones(80, np.float32)).names
    for rank in range(RANKS):
        for broader in range(rank):
            for name, above in names[:, [rank, broader]][names[:, rank] >= 0].tolist():
                # Of a name without a broader one, nothing is known.
                allowed = set(labels[labels[:, rank] == name, broader].tolist())
                assert above in allowed or allowed == {-1}


def test_blocks_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, weights = made_labels(40), np.ones(40, np.float32)
    neighbours = made_neighbours(50, 8, 40)
    whole = count_votes(neighbours, labels, weights)
    monkeypatch.setattr(module, "_QUERIES", 7)
    parts = count_votes(neighbours, labels, weights)
    assert (parts.names == whole.names).all() and (parts.features == whole.features).all()
    rows = np.array([3, 30])
    some = count_votes(neighbours.at(rows), labels, weights)
    assert (some.names == whole.names[rows]).all() and (some.features == whole.features[rows]).all()


def evidence(similarities: list[float], labels: list[list[int]], weights: list[float] | None = None) -> Evidence:
    """What some keys say about one query."""
    count = len(similarities)
    neighbours = Neighbours(np.arange(count)[None], np.array([similarities], np.float32), None)
    shares = np.ones(count) if weights is None else np.array(weights)
    return count_votes(neighbours, np.array(labels, np.int32), shares.astype(np.float32))


def test_of_as_many_votes_the_nearer_name_wins() -> None:
    assert evidence([0.9, 0.9], [[1], [0]]).names.tolist() == [[1]]


def test_many_keys_outvote_a_slightly_nearer_one() -> None:
    assert evidence([0.9, 0.899, 0.898], [[0], [1], [1]]).names.tolist() == [[1]]
    assert evidence([0.9, 0.8, 0.8], [[0], [1], [1]]).names.tolist() == [[0]]


def test_conflicting_labels_of_one_barcode_share_its_vote() -> None:
    found = evidence([0.9, 0.9], [[0], [1]], [0.25, 0.75])
    assert found.names.tolist() == [[1]]
    assert found.features[0, 0, FEATURES.index("share")] == pytest.approx(0.75)
    assert found.features[0, 0, FEATURES.index("margin")] == 0


def test_the_broader_name_decides_who_votes_for_the_finer() -> None:
    # Two keys of one genus, each of another species, outvote the genus of the nearest.
    found = evidence([0.9, 0.895, 0.894], [[0, 0], [1, 1], [1, 2]])
    assert found.names.tolist() == [[1, 1]]


def test_keys_without_labels() -> None:
    assert evidence([0.9, 0.8], [[-1, -1], [-1, -1]]).names.tolist() == [[-1, -1]]
    found = evidence([0.9, 0.8], [[0, -1], [0, 3]])
    assert found.names.tolist() == [[0, 3]]
    assert found.features[0, 1, FEATURES.index("similarity")] == pytest.approx(0.8)


def test_one_key_and_no_queries() -> None:
    found = evidence([0.9], [[0, 1]])
    assert found.names.tolist() == [[0, 1]] and found.features[0, :, FEATURES.index("share")].tolist() == [1, 1]
    nothing = Neighbours(np.empty((0, 3), np.int64), np.empty((0, 3), np.float32), np.empty((0, 3), np.float32))
    none = count_votes(nothing, np.zeros((4, 2), np.int32), np.ones(4, np.float32))
    assert none.names.shape == (0, 2) and none.features.shape == (0, 2, len(FEATURES))
