"""The partition of BIOSCAN-5M, by the rules its authors state (Gharaee et al., 2024; their `bioscan_split.py`).

A barcode, with its leading and trailing N removed, moves as a whole. What a species gives to a set depends on how many
specimens and how many barcodes it has. The rules leave open which barcodes are taken; here a few random orders are
tried and the one that comes nearest to the target wins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

PLACEHOLDER = re.compile(r"[0-9_?.]|[A-Z]{2}|[a-z][A-Z]|^[a-z]|\b(?:aff|cf|nr|sp|n\.sp|gen|malaise)\b", re.ASCII)
"""Signs that a species has no scientific name yet."""

UNSEEN_SPECIMENS = 8
"""Fewest specimens of an unseen species."""
TRIES = 30
"""Random orders of a species' barcodes that are tried."""


def is_placeholder(species: str) -> bool:
    """Whether a species' name is a placeholder, not a scientific name.

    >>> is_placeholder("Aedes sp. 3SIM"), is_placeholder("Aedes aegypti")
    (True, False)
    """
    return bool(PLACEHOLDER.search(species))


def barcode_key(barcode: str) -> str:
    """The barcode by which specimens are grouped: without leading and trailing N."""
    return barcode.strip("N")


@dataclass(frozen=True)
class Quota:
    """What a species gives to a set.

    Attributes:
        target: Specimens to reach.
        least: Fewest specimens; a species that cannot give so many gives none.
        most: Most specimens.
        barcodes: Most barcodes.
    """

    target: int
    least: int
    most: int
    barcodes: int


NOTHING = Quota(0, 0, 0, 0)


def evaluation_quota(specimens: int, barcodes: int) -> Quota:
    """Quota of `test` and `test_unseen`."""
    if specimens < 8 or barcodes < 3:
        return NOTHING
    extra = specimens - 8
    return Quota(min(25, 4 + extra // 4), 3, 4 + extra // 3, 1 + (barcodes - 2) // 3)


def val_quota(specimens: int, barcodes: int) -> Quota:
    """Quota of `val`: 5 % of a large species, one single-specimen barcode of a middling one."""
    if specimens >= 20:
        target = max(1, round(0.05 * specimens))
        return Quota(target, 1, 2 * target, barcodes - 1)
    return Quota(1, 1, 1, min(1, barcodes - 1)) if specimens >= 7 else NOTHING


def val_unseen_quota(specimens: int, barcodes: int) -> Quota:
    """Quota of `val_unseen`: 20 % of what `test_unseen` left."""
    target = max(1, round(0.2 * specimens))
    return Quota(target, 1, target + 1, barcodes - 1)


Plan = tuple[str, dict[str, Callable[[int, int], Quota]]]
"""Where a species' specimens go, and what it gives to other sets before, in this order."""
SEEN: Plan = ("train", {"test": evaluation_quota, "val": val_quota})
UNSEEN: Plan = ("key_unseen", {"test_unseen": evaluation_quota, "val_unseen": val_unseen_quota})
HELDOUT: Plan = ("other_heldout", {})


def choose(sizes: dict[str, int], quota: Quota, rng: np.random.Generator) -> list[str]:
    """Choose barcodes of one species.

    Args:
        sizes: Specimens of each barcode.
        quota: What to choose.
        rng: Source of the random orders.

    Returns:
        The chosen barcodes, empty if the quota cannot be met.
    """
    best: list[str] = []
    reached = 0
    keys = sorted(sizes)
    for _ in range(TRIES if quota.barcodes > 0 else 0):
        chosen: list[str] = []
        total = 0
        for key in rng.permutation(keys).tolist():
            if total < quota.target and len(chosen) < quota.barcodes and total + sizes[key] <= quota.most:
                chosen.append(key)
                total += sizes[key]
        if total >= quota.least and abs(total - quota.target) < abs(reached - quota.target):
            best, reached = chosen, total
    return best


def assign_splits(species: Sequence[str | None], genera: Sequence[str | None], barcodes: Sequence[str]) -> list[str]:
    """Assign every specimen to a partition.

    Args:
        species: Species label of each specimen, None if it has none.
        genera: Genus label of each specimen.
        barcodes: Barcode of each specimen; all specimens of one barcode have the same species label.
    """
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (name, barcode) in enumerate(zip(species, barcodes, strict=True)):
        if name is not None:
            groups[name][barcode_key(barcode)].append(row)
    seen_genera = {genera[row] for row, name in enumerate(species) if name is not None and not is_placeholder(name)}
    splits = ["pretrain"] * len(species)
    # The seeds of the four shuffles are the authors'.
    seeds = {"test": 0, "val": 2, "test_unseen": 4, "val_unseen": 6}
    shuffles = {split: np.random.default_rng(seed) for split, seed in seeds.items()}
    for name in sorted(groups):
        rows = [row for members in groups[name].values() for row in members]
        rest, steps = SEEN
        if is_placeholder(name):
            rest, steps = UNSEEN if genera[rows[0]] in seen_genera and len(rows) >= UNSEEN_SPECIMENS else HELDOUT
        left = {key: len(members) for key, members in groups[name].items()}
        for row in rows:
            splits[row] = rest
        for split, quota in steps.items():
            for key in choose(left, quota(sum(left.values()), len(left)), shuffles[split]):
                del left[key]
                for row in groups[name][key]:
                    splits[row] = split
    return splits
