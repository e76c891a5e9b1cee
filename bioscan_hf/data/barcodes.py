"""Barcodes as 64-bit numbers, to compare millions of them in little memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

ROWS_AT_A_TIME = 20_000


def barcode_hashes(
    barcodes: pa.ChunkedArray | pa.Array,
    *,
    max_nucleotides: int | None = None,
    strip: Literal["trailing", "both", "none"] = "none",
) -> np.ndarray:
    """Hash barcodes: equal ones get equal numbers, different ones different numbers.

    The hash is XXH3, the same in every process and version. Among the 2.5 million distinct barcodes of BIOSCAN-5M two
    agree by chance with a probability of 2e-7.

    Args:
        barcodes: N nucleotide strings or nulls.
        max_nucleotides: Letters that count, None for all.
        strip: Where, after the cut, the letters N (unknown nucleotide) do not count.

    Returns:
        (N,) uint64; 0 for null.

    Raises:
        ValueError: If `max_nucleotides` or `strip` is out of range.

    >>> first, second = barcode_hashes(pa.array(["ACGTNN", "ACGT"]), strip="trailing")
    >>> first == second
    np.True_
    """
    if max_nucleotides is not None and max_nucleotides < 1:
        raise ValueError(f"`max_nucleotides` must be at least 1, or None for all; got {max_nucleotides}.")
    if strip not in ("trailing", "both", "none"):
        raise ValueError(f"`strip` must be 'trailing', 'both' or 'none'; got {strip!r}.")
    parts = [np.empty(0, np.uint64)]
    for chunk in barcodes.chunks if isinstance(barcodes, pa.ChunkedArray) else [barcodes]:
        for start in range(0, len(chunk), ROWS_AT_A_TIME):
            values = _compared(chunk.slice(start, ROWS_AT_A_TIME), max_nucleotides, strip).to_pylist()
            hashes = (0 if value is None else xxhash.xxh3_64_intdigest(value) for value in values)
            parts.append(np.fromiter(hashes, np.uint64, len(values)))
    return np.concatenate(parts)


def _compared(barcodes: pa.Array, max_nucleotides: int | None, strip: str) -> pa.Array:
    """The bytes that count."""
    values = barcodes.cast(pa.binary())
    if max_nucleotides is not None:
        # Ten times as fast as cutting text, where a letter may take several bytes.
        values = pc.binary_slice(values, 0, max_nucleotides)
    if strip == "trailing":
        return pc.ascii_rtrim(values.view(pa.string()), "N").cast(pa.binary())
    if strip == "both":
        return pc.ascii_trim(values.view(pa.string()), "N").cast(pa.binary())
    return values
