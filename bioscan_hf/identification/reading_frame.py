"""The reading frame of aligned barcodes, and stop codons in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.identification.letters import CODES

# Of the invertebrate mitochondrial code (NCBI translation table 5).
_STOPS = ("TAA", "TAG")
# Share of barcodes that may have a stop codon in the true frame, and that must have one in each of the others.
_FEW_STOPS, _MANY_STOPS = 0.02, 0.5


def reading_frame(columns: NDArray[np.uint8]) -> int | None:
    """The frame in which hardly any barcode has a stop codon, if in the others most have."""
    shares = [float(has_stop(columns, frame).mean()) for frame in range(3)]
    best = int(np.argmin(shares))
    others = [share for frame, share in enumerate(shares) if frame != best]
    return best if shares[best] <= _FEW_STOPS and min(others) > _MANY_STOPS else None


def has_stop(columns: NDArray[np.uint8], frame: int | None) -> NDArray[np.bool_]:
    """Which barcodes, uint8 (N, C), have a stop codon; none if there is no frame."""
    if frame is None:
        return np.zeros(len(columns), bool)
    return np.asarray(_stops(columns, frame).any(axis=1))


def has_open_frame(barcode: str) -> bool:
    """Whether one of the three ways to read it has no stop codon."""
    return any(
        not set(_STOPS).intersection(barcode[i : i + 3] for i in range(frame, len(barcode) - 2, 3))
        for frame in range(3)
    )


def _stops(columns: NDArray[np.uint8], frame: int) -> NDArray[np.bool_]:
    """Which codons are stops, (N, codons)."""
    count = (columns.shape[1] - frame) // 3
    codons = columns[:, frame : frame + 3 * count].reshape(len(columns), count, 3)
    return np.logical_or.reduce([(codons == CODES[list(stop.encode())]).all(axis=2) for stop in _STOPS])
