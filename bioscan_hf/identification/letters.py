"""Letters of barcodes as codes, and the other strand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

UNKNOWN = 4
"""Stands in a column where a barcode has no letter, or one that is none of A, C, G, T."""

CODES = np.full(256, UNKNOWN, np.uint8)
"""uint8 (256,): code of each letter, by its ASCII code."""
for _code, _letter in enumerate("ACGT"):
    CODES[ord(_letter)] = _code
_BASES = np.eye(UNKNOWN + 1, UNKNOWN, dtype=np.float32)
_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")


def reverse_complement(barcode: str) -> str:
    """The other strand of a clean barcode, read from its end.

    >>> reverse_complement("AACGR")
    'YCGTT'
    """
    return barcode.translate(_COMPLEMENT)[::-1]


def as_codes(barcodes: Sequence[str]) -> NDArray[np.uint8]:
    """Barcodes as codes of letters (N, longest), filled up with unknown ones."""
    lengths = np.fromiter(map(len, barcodes), np.int64, len(barcodes))
    codes = np.full((len(barcodes), int(lengths.max(initial=1))), UNKNOWN, np.uint8)
    text = np.frombuffer("".join(barcodes).encode(), np.uint8)
    codes[np.arange(codes.shape[1]) < lengths[:, None]] = CODES[text]
    return codes


def one_hot(letters: NDArray[np.uint8]) -> torch.Tensor:
    """float32 (N, L, 4), all 0 for an unknown letter."""
    # All codes are in the table; without a check of each, this takes a tenth of the time of torch's indexing.
    return torch.from_numpy(_BASES.take(letters, axis=0, mode="clip"))
