"""Exact nearest neighbours by cosine similarity."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def nearest(
    keys: NDArray[np.float32], queries: NDArray[np.float32], *, block_size: int = 1024
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the key most similar to each query.

    Args:
        keys: (K, D), L2-normalised.
        queries: (Q, D), L2-normalised.
        block_size: Queries compared at once; memory is `block_size` * K floats.

    Returns:
        Index (Q,) of the nearest key, the lowest of equals, and its cosine similarity (Q,).

    Raises:
        ValueError: If there are no keys or the widths differ.
    """
    if not len(keys) or keys.shape[1] != queries.shape[1]:
        raise ValueError(f"Expected keys (K, D) and queries (Q, D), K > 0; got {keys.shape} and {queries.shape}.")
    transposed = torch.from_numpy(keys).T
    blocks = [
        (torch.from_numpy(queries[start : start + block_size]) @ transposed).max(dim=1)
        for start in range(0, len(queries), block_size)
    ]
    indices = np.concatenate([block.indices.numpy() for block in blocks] or [np.empty(0, np.int64)])
    return indices, np.concatenate([block.values.numpy() for block in blocks] or [np.empty(0, np.float32)])
