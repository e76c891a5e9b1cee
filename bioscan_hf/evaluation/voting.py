"""Names by the votes of the nearest neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.evaluation.neighbours import nearest_k

NEIGHBOURS = 20
TEMPERATURE = 0.02
"""Best of BarcodeMAE+'s table for the genus of unseen species, where it holds for k of 1 to 50 (its k-NN results on
BIOSCAN-5M; bioscan-ml/BarcodeMAE-plus)."""

# Pairs of neighbours that are compared at a time.
_PAIRS = 1 << 24


def vote(
    keys: NDArray[np.float32],
    labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    *,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> NDArray[np.int64]:
    """Name each query by its k nearest keys, each of which has exp(cosine / temperature) votes.

    Args:
        keys: (K, D), L2-normalised.
        labels: (K,), of the keys.
        queries: (Q, D), L2-normalised.
        k: Neighbours that vote, 1 to K.
        temperature: Above 0; the higher, the more alike the votes of near and far keys.

    Returns:
        Labels (Q,); of those with equal votes that of the nearest key.

    Raises:
        ValueError: If the temperature is not above 0, or there are not as many labels as keys; or as `nearest_k`.
    """
    if len(labels) != len(keys):
        raise ValueError(f"Expected a label for each key; got {len(labels):,} labels and {len(keys):,} keys.")
    if not temperature > 0:
        raise ValueError(f"Expected a temperature above 0; got {temperature}.")
    indices, similarities = nearest_k(keys, queries, k)
    candidates = labels[indices]
    # Relative to the nearest one, which has one vote: exp(1 / 0.01) would not fit in float32.
    votes = np.exp((similarities - similarities[:, :1]) / temperature)
    chosen = np.empty(len(queries), np.int64)
    step = max(1, _PAIRS // k**2)
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        agree = candidates[rows, :, None] == candidates[rows, None, :]
        winner = (agree * votes[rows, None, :]).sum(axis=2).argmax(axis=1)
        chosen[rows] = np.take_along_axis(candidates[rows], winner[:, None], axis=1)[:, 0]
    return chosen
