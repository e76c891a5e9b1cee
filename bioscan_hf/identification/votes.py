"""Names by the votes of the most similar keys, and how strong the evidence for them is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 20
TEMPERATURE = 0.02
"""Best of 0.02, 0.05 and 0.1 for the genus of unseen species in `val_unseen` of 31,061 real barcodes (docs/log.md)."""

FEATURES = ("share", "similarity", "margin", "identity", "divergence")
"""What speaks for a name: its share of the votes; the similarity of its nearest key; by how much that is above the
nearest key of another name; the identity of its nearest key; and log(1 + per cent of different letters)."""

_QUERIES = 2048


class Neighbours(NamedTuple):
    """The keys most similar to each query.

    Attributes:
        keys: int64 (N, k), the most similar first.
        similarities: float32 (N, k).
        identities: float32 (N, k): share of equal letters; None where letters are not compared.
    """

    keys: NDArray[np.int64]
    similarities: NDArray[np.float32]
    identities: NDArray[np.float32] | None

    def at(self, rows: NDArray[np.int64]) -> Neighbours:
        """Those of some queries."""
        identities = None if self.identities is None else self.identities[rows]
        return Neighbours(self.keys[rows], self.similarities[rows], identities)


class Evidence(NamedTuple):
    """Names, and what speaks for them.

    Attributes:
        names: int64 (N, ranks): label at each rank, -1 for none.
        features: float32 (N, ranks, len(FEATURES)); 0 where there is no name.
    """

    names: NDArray[np.int64]
    features: NDArray[np.float32]


def count_votes(
    neighbours: Neighbours,
    labels: NDArray[np.int32],
    weights: NDArray[np.float32],
    *,
    temperature: float = TEMPERATURE,
) -> Evidence:
    """Name queries at each rank, so that the names are one lineage.

    A key has exp(similarity / temperature) votes, times its weight. From the broadest rank on, the name with most votes
    wins; at the next rank only those keys vote that agree with it, or have no label there.

    Args:
        neighbours: Of N queries.
        labels: int32 (K, ranks), of the keys, from broad to fine; -1 for none.
        weights: float32 (K,): share of the specimens with the key's barcode that have its labels.
        temperature: Above 0; the higher, the more alike the votes of near and far keys.
    """
    keys, similarities, identities = neighbours
    blocks = [slice(start, start + _QUERIES) for start in range(0, max(len(keys), 1), _QUERIES)]
    parts = [
        _count(
            Neighbours(keys[rows], similarities[rows], None if identities is None else identities[rows]),
            labels,
            weights,
            temperature,
        )
        for rows in blocks
    ]
    names, features = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Evidence(names, features)


def _count(
    neighbours: Neighbours, labels: NDArray[np.int32], weights: NDArray[np.float32], temperature: float
) -> Evidence:
    keys, similarities, identities = neighbours
    queries, ranks = len(keys), labels.shape[1]
    votes = np.exp((similarities - similarities[:, :1]) / temperature) * weights[keys]
    names = np.full((queries, ranks), -1)
    features = np.zeros((queries, ranks, len(FEATURES)), np.float32)
    agrees = np.ones(keys.shape, bool)
    rows = np.arange(queries)
    for rank in range(ranks):
        own = labels[keys, rank]
        labelled = own >= 0
        # Votes for the label of each neighbour, by those that are on the way so far.
        same = own[:, :, None] == own[:, None, :]
        mine = np.where(labelled, np.einsum("qij,qj->qi", same, votes * (agrees & labelled)), -1.0)
        winner = mine.argmax(axis=1)
        most = mine[rows, winner]
        named = most > 0
        name = np.where(named, own[rows, winner], -1)
        with_name = labelled & (own == name[:, None])
        others = np.where(labelled & ~with_name, similarities, similarities[:, -1:])
        nearest = np.where(with_name, similarities, -np.inf).argmax(axis=1)
        similarity = similarities[rows, nearest]
        found = [most / np.maximum((votes * labelled).sum(axis=1), 1e-12), similarity, similarity - others.max(axis=1)]
        if identities is not None:
            identity = identities[rows, nearest]
            found += [identity, np.log1p(100 * (1 - identity))]
        features[named, rank, : len(found)] = np.stack(found, axis=1)[named]
        names[:, rank] = name
        agrees &= with_name | ~labelled | ~named[:, None]
    return Evidence(names, features)
