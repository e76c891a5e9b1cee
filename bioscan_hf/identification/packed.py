"""Aligned letters in three bits each, to compare a barcode with many others in a few operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.identification.letters import UNKNOWN

WORD = 64
"""Columns in a word."""

# Shared letters below which an identity says nothing.
_LEAST_SHARED = 50
# Comparisons at a time: 64 MB.
_AT_A_TIME = 1 << 18

Packed = NDArray[np.uint64]
"""uint64 (N, 3, W): both bits of each letter, and whether it is known; a bit per column, W words of 64."""


def pack(columns: NDArray[np.uint8]) -> Packed:
    """Pack columns of letters, uint8 (N, C)."""
    count, width = columns.shape
    known = columns < UNKNOWN
    planes = np.stack([(columns & 1) & known, (columns >> 1) & known, known], axis=1).astype(np.uint8)
    padded = np.zeros((count, 3, -(-width // WORD) * WORD), np.uint8)
    padded[:, :, :width] = planes
    return np.packbits(padded, axis=2).view(np.uint64)


def known_letters(letters: Packed) -> NDArray[np.int64]:
    """How many letters barcodes have in the columns, (N,)."""
    return np.bitwise_count(letters[:, 2]).sum(axis=1, dtype=np.int64)


def identities(queries: Packed, keys: Packed, found: NDArray[np.int64]) -> NDArray[np.float32]:
    """Share of equal letters in the columns where both have one.

    Args:
        queries: Of N barcodes.
        keys: Of K barcodes; they may be mapped from a file.
        found: (N, k): the keys that each query is compared with.

    Returns:
        float32 (N, k); 0 where fewer than 50 letters can be compared.
    """
    result = np.empty(found.shape, np.float32)
    step = max(1, _AT_A_TIME // max(1, found.shape[1]))
    for start in range(0, len(found), step):
        rows = slice(start, start + step)
        own, others = queries[rows, None], keys[found[rows]]
        shared = own[:, :, 2] & others[:, :, 2]
        differ = ((own[:, :, 0] ^ others[:, :, 0]) | (own[:, :, 1] ^ others[:, :, 1])) & shared
        both = np.bitwise_count(shared).sum(axis=2, dtype=np.int32)
        unequal = np.bitwise_count(differ).sum(axis=2, dtype=np.int32)
        result[rows] = np.where(both >= _LEAST_SHARED, 1 - unequal / np.maximum(both, 1), 0)
    return result
