"""Made barcodes with about the lengths of those in BIOSCAN-5M, distinct and as often as specimens."""

from __future__ import annotations

import numpy as np

LENGTH = 658
"""Letters between the Folmer primers, which most barcodes have."""
REPEATS = 5_150_850 / 2_486_492
"""Specimens per distinct barcode in BIOSCAN-5M (repository bioscan-ml/BIOSCAN-5M, its table of barcodes): 2.07."""
SHARES = {(LENGTH, LENGTH): 0.62, (640, 660): 0.30, (300, 640): 0.08}
"""Lengths from and to, drawn evenly, and the share of barcodes with them: an assumption, few are much shorter."""


def made_barcodes(count: int, seed: int, *, of_one_length: bool = False) -> list[str]:
    """Random letters A, C, G and T.

    Args:
        count: How many barcodes.
        seed: Fixes them all.
        of_one_length: Whether all have `LENGTH` letters, or the lengths are mixed as in `SHARES`.
    """
    random = np.random.default_rng(seed)
    spans = np.array([(LENGTH, LENGTH)] if of_one_length else list(SHARES))
    lows, highs = spans[random.choice(len(spans), count, p=[1.0] if of_one_length else list(SHARES.values()))].T
    lengths = random.integers(lows, highs, endpoint=True)
    letters = np.frombuffer(b"ACGT", np.uint8)
    return [letters[random.integers(0, 4, length)].tobytes().decode() for length in lengths]


def repeated(barcodes: list[str], seed: int) -> list[str]:
    """Each barcode at least once, and as many in all as BIOSCAN-5M has specimens for so many barcodes."""
    random = np.random.default_rng(seed)
    more = random.choice(len(barcodes), round(len(barcodes) * (REPEATS - 1)))
    places = np.concatenate([np.arange(len(barcodes)), more])
    return [barcodes[place] for place in random.permutation(places)]
