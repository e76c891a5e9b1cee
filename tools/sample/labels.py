"""Which labels a specimen carries: gaps as large as those of BIOSCAN-5M, the same for all specimens of one barcode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from .census import Census
from .splits import barcode_key
from .taxonomy import Labels, Taxonomy

LABELLED = {"class": 0.999, "order": 0.997, "family": 0.958, "subfamily": 0.286, "genus": 0.238}
"""Share of specimens with a label at each rank in BIOSCAN-5M; every specimen has its phylum."""


def group_by_barcode(barcodes: Sequence[str]) -> dict[str, list[int]]:
    """Rows of each barcode, without leading and trailing N."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, barcode in enumerate(barcodes):
        rows[barcode_key(barcode)].append(row)
    return rows


def name_species(
    barcodes: Sequence[str], species: Sequence[int], census: Census, rng: np.random.Generator
) -> list[str | None]:
    """Species labels.

    A barcode is named as a whole, and only if no other species has it: a taxonomist who finds the same barcode in two
    species names neither.

    Args:
        barcodes: Barcode of each specimen.
        species: True species of each specimen.
        census: How many specimens of each species shall be named.
        rng: Source of the order in which barcodes are named.
    """
    names: list[str | None] = [None] * len(barcodes)
    left = census.named.copy()
    groups = list(group_by_barcode(barcodes).values())
    shuffled = [groups[index] for index in rng.permutation(len(groups))]
    # First the barcodes that fit; then, where specimens are still wanted, the smallest that do not.
    for exceed, turn in ((False, shuffled), (True, sorted(shuffled, key=len))):
        for rows in turn:
            one = species[rows[0]]
            fits = left[one] > 0 if exceed else len(rows) <= left[one]
            if fits and names[rows[0]] is None and all(species[row] == one for row in rows):
                left[one] -= len(rows)
                for row in rows:
                    names[row] = census.names[one]
    return names


def label_ranks(
    barcodes: Sequence[str],
    species: Sequence[int],
    names: Sequence[str | None],
    taxonomy: Taxonomy,
    rng: np.random.Generator,
) -> list[Labels]:
    """Labels of all ranks, from phylum to species.

    A specimen with a species label has all ranks above. Among the others, barcodes in a random order are labelled down
    to the genus, then to the subfamily, and so on, until each rank has its share; so the labels are nested.

    Args:
        barcodes: Barcode of each specimen.
        species: True species of each specimen.
        names: Species label of each specimen, or None.
        taxonomy: The species' groups.
        rng: Source of the random order.
    """
    truth = [taxonomy.labels[one] for one in species]
    target = {rank: share * len(truth) for rank, share in LABELLED.items()}
    labelled = dict.fromkeys(LABELLED, 0)
    shown: list[Labels] = [()] * len(truth)
    groups = list(group_by_barcode(barcodes).values())
    shuffled = rng.permutation(len(groups)).tolist()
    # Named barcodes first: they count towards the shares but are labelled in any case.
    for index in sorted(shuffled, key=lambda index: names[groups[index][0]] is None):
        rows = groups[index]
        named = names[rows[0]] is not None
        allowed = [named or labelled[rank] < target[rank] for rank in LABELLED]
        for row in rows:
            below = [label if allow else None for label, allow in zip(truth[row][1:], allowed, strict=True)]
            shown[row] = (truth[row][0], *below, names[row])
            for rank, label in zip(LABELLED, below, strict=True):
                labelled[rank] += label is not None
    return shown
