"""A made gene of 300 letters, whose third codon positions vary, and barcodes of it."""

from __future__ import annotations

import random

LENGTH = 300
_THIRDS = "ACT"  # TAA would be a stop codon: after TA there is a C or T


def made_barcodes(count: int, *, seed: int = 0, length: int = LENGTH) -> list[str]:
    """So many whole barcodes of one gene, without a stop codon in the frame that begins with the first letter."""
    draw = random.Random(0)
    codons = ["".join(draw.choices("ACGT", k=2)) for _ in range(length // 3)]
    draw = random.Random(seed)
    return ["".join(_codon(codon, draw) for codon in codons) for _ in range(count)]


def made_others(count: int, *, seed: int = 0) -> list[str]:
    """Barcodes with the same letters in another order: none of the gene."""
    draw = random.Random(seed)
    return ["".join(draw.sample(barcode, len(barcode))) for barcode in made_barcodes(count, seed=seed)]


def _codon(codon: str, draw: random.Random) -> str:
    if draw.random() < 0.05:
        codon = draw.choice("ACGT") + codon[1]
    return codon + draw.choice(_THIRDS[1:] if codon == "TA" else _THIRDS)
