"""The nearest neighbours of all vectors among themselves: exact, and fair to vectors that are often there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_Neighbours = tuple[NDArray[np.int32], NDArray[np.float32]]


def nearest_rows(vectors: NDArray[np.float32], count: int, *, block_size: int = 1024) -> _Neighbours:
    """Find the nearest neighbours of every vector by Euclidean distance.

    Only distinct vectors are compared; of the vectors of BIOSCAN-5M's barcodes half are equal to another one, so this
    is a quarter of the work. A vector is its own first neighbour. Equal vectors take turns, each beginning with its
    own turn: were it always the first of them, all others would be cut off from one another in UMAP's graph.

    Args:
        vectors: (N, D), finite.
        count: Neighbours of each, itself included; at most N.
        block_size: Distinct vectors compared at once; memory is `block_size` * N floats.

    Returns:
        Rows of the neighbours (N, `count`), nearest first, and their distances (N, `count`).
    """
    distinct, groups, sizes = np.unique(vectors, axis=0, return_inverse=True, return_counts=True)
    near, distances = _nearest_distinct(distinct, min(count, len(distinct)), block_size)
    # Row j of a group has turn j; `rows` has the rows of group 0, then of group 1, ...
    rows = np.argsort(groups, kind="stable")
    starts = np.cumsum(sizes) - sizes
    turns = np.empty(len(vectors), np.int64)
    turns[rows] = np.arange(len(vectors)) - np.repeat(starts, sizes)

    ends = np.cumsum(sizes[near], axis=1)
    found = np.empty((len(vectors), count), np.int32)
    found_distances = np.empty((len(vectors), count), np.float32)
    for place in range(count):
        # The neighbouring group that fills this place, and how many of its members are before.
        at = (ends <= place).sum(axis=1)[:, None]
        group = np.take_along_axis(near, at, axis=1)[:, 0]
        before = place - (np.take_along_axis(ends, at, axis=1)[:, 0] - sizes[group])
        theirs = group[groups]
        found[:, place] = rows[starts[theirs] + (turns + before[groups]) % sizes[theirs]]
        found_distances[:, place] = np.take_along_axis(distances, at, axis=1)[groups, 0]
    return found, found_distances


def _nearest_distinct(
    vectors: NDArray[np.float32], count: int, block_size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The same for distinct vectors."""
    # Without their mean, squares are smaller and lose less in differences.
    points = torch.from_numpy(vectors - vectors.mean(axis=0))
    squares = points.square().sum(dim=1)
    found = torch.empty((len(points), count), dtype=torch.int64)
    distances = torch.empty((len(points), count))
    for start in range(0, len(points), block_size):
        block = points[start : start + block_size]
        # Squared distances less the square of the block's own vector.
        scores = torch.addmm(squares, block, points.T, alpha=-2)
        own = torch.arange(len(block))
        scores[own, start + own] = -torch.inf
        nearest = scores.topk(count, largest=False).indices
        exact = (points[nearest] - block[:, None]).square_().sum(dim=2).sqrt_()
        ordered, order = exact.sort(dim=1, stable=True)
        found[start : start + len(block)] = nearest.gather(1, order)
        distances[start : start + len(block)] = ordered
    return found.numpy(), distances.numpy()
