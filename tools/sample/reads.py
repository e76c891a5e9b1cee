"""From genes to the barcodes that a laboratory reports: windows, gaps of unread letters, mixed peaks."""

from __future__ import annotations

import numpy as np

from .barcodes import BASES, LENGTH, START

WINDOWS: tuple[tuple[float, int, int], ...] = (
    (0.86, START, LENGTH),
    (0.04, START + 24, LENGTH - 24),
    (0.03, START + 39, LENGTH - 39),
    (0.03, START, LENGTH - 67),
    (0.02, START + 42, LENGTH - 70),
    (0.01, START + 90, LENGTH - 171),
    (0.01, START - 9, LENGTH + 16),
)
"""Share of specimens, first base in the gene, number of bases: few, as they come from primers and trimming."""

UNREAD_SHARE = 0.08
"""Share of barcodes with N (8.1 % of public COI records)."""
MIXED_SHARE = 0.006
"""Share of barcodes with another IUPAC code (0.6 % of public COI records)."""
MIXED = {"A": "RWM", "C": "YMS", "G": "RKS", "T": "YWK"}
"""IUPAC codes for two bases, by one of the two."""


def read_barcode(gene: list[int], rng: np.random.Generator) -> str:
    """The barcode that is reported for a specimen with `gene`."""
    start, length = WINDOWS[rng.choice(len(WINDOWS), p=[share for share, *_ in WINDOWS])][1:]
    letters = [BASES[base] for base in gene[start : start + length]]
    if rng.random() < UNREAD_SHARE:
        size = int(rng.integers(1, 12))
        kind = rng.random()
        # A run of N at the end (a third), at the start (a sixth), or a few single ones inside.
        if kind < 0.33:
            letters[-3 * size :] = "N" * (3 * size)
        elif kind < 0.5:
            letters[: 2 * size] = "N" * (2 * size)
        else:
            for site in rng.integers(0, length, size):
                letters[site] = "N"
    if rng.random() < MIXED_SHARE:
        for site in rng.integers(0, length, int(rng.integers(1, 4))):
            letters[site] = str(rng.choice(list(MIXED.get(letters[site], "N"))))
    return "".join(letters)
