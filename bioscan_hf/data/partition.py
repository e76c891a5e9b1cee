"""Splits for a user's own labelled barcodes, which come without any."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from datasets import Dataset


def partition(
    dataset: Dataset, *, unseen_fraction: float = 0.2, test_fraction: float = 0.2, seed: int = 0
) -> list[str]:
    """Assign specimens to `pretrain`, `train`, `test` and `test_unseen`.

    A barcode is in one split, with all specimens that carry it. Barcodes of specimens without species go to `pretrain`
    unless a named specimen has them, too. A share of the species of genera with several species is `test_unseen` as a
    whole, so that each of its genera still occurs in `train`. Of every other species, a share of the distinct barcodes
    is `test`; a species with one barcode is in `train`. A barcode shared by several species goes with the first of
    them. This follows the idea, not the letter, of BIOSCAN-5M's partition, which relies on the names of undescribed
    species.

    Args:
        dataset: Needs the columns `dna_barcode`, `genus` and `species`.
        unseen_fraction: Share of the eligible species that become unseen.
        test_fraction: Share of the distinct barcodes of a seen species that become test.
        seed: Seed of the draws.

    Returns:
        One split name per specimen.
    """
    rng = np.random.default_rng(seed)
    barcodes, genera, species = (dataset[name][:] for name in ("dna_barcode", "genus", "species"))
    genus_of = {name: genus for name, genus in zip(species, genera, strict=True) if name and genus}
    unseen = _unseen_species(genus_of, unseen_fraction, rng)

    owner: dict[str, str] = {}
    for barcode, name in zip(barcodes, species, strict=True):
        if name:
            owner.setdefault(barcode, name)
    barcodes_of: defaultdict[str, list[str]] = defaultdict(list)
    for barcode, name in owner.items():
        barcodes_of[name].append(barcode)
    split_of: dict[str, str] = {}
    for name, own in barcodes_of.items():
        if name in unseen:
            split_of.update(dict.fromkeys(own, "test_unseen"))
            continue
        count = round(test_fraction * len(own)) if len(own) > 1 else 0
        order = rng.permutation(len(own))
        split_of.update({own[i]: "test" if place < count else "train" for place, i in enumerate(order)})
    return [split_of.get(barcode, "pretrain") for barcode in barcodes]


def _unseen_species(genus_of: dict[str, str], fraction: float, rng: np.random.Generator) -> set[str]:
    """Draw species so that every genus keeps at least one."""
    left: defaultdict[str, int] = defaultdict(int)
    for genus in genus_of.values():
        left[genus] += 1
    eligible = sorted(name for name, genus in genus_of.items() if left[genus] > 1)
    wanted = round(fraction * len(eligible))
    chosen: set[str] = set()
    for i in rng.permutation(len(eligible)):
        name = eligible[i]
        if len(chosen) < wanted and left[genus_of[name]] > 1:
            chosen.add(name)
            left[genus_of[name]] -= 1
    return chosen
