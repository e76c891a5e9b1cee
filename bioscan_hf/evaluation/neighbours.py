"""Exact nearest neighbours by cosine similarity."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

# Queries are compared in blocks of about this many similarities: 256 MB.
_SIMILARITIES = 1 << 26


def nearest(
    keys: NDArray[np.float32], queries: NDArray[np.float32], *, block_size: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the key most similar to each query.

    Args:
        keys: (K, D), L2-normalised.
        queries: (Q, D), L2-normalised.
        block_size: Queries compared at once; memory is `block_size` * K floats. By default 256 MB are used.

    Returns:
        Index (Q,) of the nearest key, the lowest of equals, and its cosine similarity (Q,).

    Raises:
        ValueError: If there are no keys, the widths differ, a number is not finite, or `block_size` is below 1.
    """
    indices, similarities = nearest_k(keys, queries, 1, block_size=block_size)
    return indices[:, 0], similarities[:, 0]


def nearest_k(
    keys: NDArray[np.float32], queries: NDArray[np.float32], k: int, *, block_size: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k keys most similar to each query.

    Args:
        keys: (K, D), L2-normalised.
        queries: (Q, D), L2-normalised.
        k: Number of neighbours, 1 to K.
        block_size: As in `nearest`.

    Returns:
        Indices (Q, k) of the nearest keys, the most similar first and of equals the lowest index first, and their
        cosine similarities (Q, k).

    Raises:
        ValueError: If there are fewer keys than neighbours, the widths differ, a number is not finite, or `block_size`
            is below 1.
    """
    if keys.ndim != 2 or queries.ndim != 2 or not len(keys) or keys.shape[1] != queries.shape[1]:
        raise ValueError(f"Expected keys (K, D) and queries (Q, D), K > 0; got {keys.shape} and {queries.shape}.")
    if block_size is not None and block_size < 1:
        raise ValueError(f"`block_size` must be at least 1; got {block_size}.")
    if not 1 <= k <= len(keys):
        raise ValueError(f"Expected at least 1 neighbour and at most as many as keys, {len(keys):,}; got {k:,}.")
    for name, vectors in (("keys", keys), ("queries", queries)):
        if not (finite := np.isfinite(vectors).all(axis=1)).all():
            raise ValueError(
                f"Expected finite {name}; {(~finite).sum():,} of {len(vectors):,} are not, the first in row "
                f"{np.argmin(finite)}. Compute these embeddings again, or leave the specimens out."
            )
    # A matrix product may round equal columns differently, by their place; then equal keys would not be ties.
    firsts, groups = _distinct(keys)
    transposed = torch.from_numpy(keys[firsts] if len(firsts) < len(keys) else keys).T
    indices, similarities = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    step = block_size or max(1, _SIMILARITIES // len(keys))
    for start in range(0, len(queries), step):
        block = torch.from_numpy(queries[start : start + step]) @ transposed
        if k > 1 and len(firsts) < len(keys):
            block = block[:, groups]
        rows = slice(start, start + len(block))
        indices[rows], similarities[rows] = _largest(block, k)
    return firsts[indices] if k == 1 else indices, similarities


def _distinct(keys: NDArray[np.float32]) -> tuple[NDArray[np.int64], torch.Tensor]:
    """Row of the first of equal keys, for each distinct one, and which distinct one each key is, (K,)."""
    places: dict[bytes, int] = {}
    # Adding 0 makes -0 the same bytes as 0.
    groups = [places.setdefault(xxh3_128_digest(key + np.float32(0)), len(places)) for key in keys]
    _, firsts = np.unique(groups, return_index=True)
    return firsts, torch.tensor(groups)


def _largest(similarities: torch.Tensor, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns and values of the k largest entries of each row, of equals the first columns."""
    if k == 1:
        best = similarities.max(dim=1, keepdim=True)
        return best.indices.numpy(), best.values.numpy()
    found = similarities.topk(k, dim=1)
    columns, values = found.indices.numpy(), found.values.numpy()
    # Which of several equal entries `topk` takes is left open, so it is settled where the last place is contested.
    contenders = (similarities >= found.values[:, -1:]).sum(dim=1).numpy()
    for row in np.flatnonzero(contenders > k):
        entries = similarities[row].numpy()
        candidates = np.flatnonzero(entries >= values[row, -1])
        columns[row] = candidates[np.argsort(-entries[candidates], kind="stable")[:k]]
        values[row] = entries[columns[row]]
    order = np.lexsort((columns, -values), axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
