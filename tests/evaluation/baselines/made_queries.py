"""Barcodes of the sample, and queries whose best keys are known."""

import random

from datasets import Dataset

BEST = [*range(12), -1, *range(12), 0]
"""For each query, the key that is most like it; -1 for the one that is like none."""


def made_keys_and_queries(sample: Dataset) -> tuple[list[str], list[str]]:
    """13 keys, the last one equal to the first, and 26 queries: the keys, a stranger, and variants of the keys."""
    distinct = list(dict.fromkeys(sample["dna_barcode"][:40]))[:12]
    draw = random.Random(0)
    variants = []
    for barcode in distinct:
        letters = list(barcode)
        for place in draw.sample(range(len(letters)), 4):
            letters[place] = draw.choice("ACGT")
        variants.append("".join(letters))
    stranger = "".join(draw.choices("ACGT", k=650))
    return [*distinct, distinct[0]], [*distinct, stranger, *variants, distinct[0]]
