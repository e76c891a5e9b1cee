"""How many specimens of each species there are, and how many of them a taxonomist has named."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from .taxonomy import Names

SPECIMENS_PER_SPECIES = 13
"""Mean number of specimens of a species (BIOSCAN-5M has 16 per BIN)."""

DESCRIBED_SHARE, NEW_SHARE, RARE_SHARE = 0.0096, 0.0041, 0.0022
"""Described, well-sampled new and rare new species per specimen: with 60 or more unseen species of 8 or more specimens
and labels on 9.2 % of the specimens, as in BIOSCAN-5M, no smaller sample has room for useful test sets."""


@dataclass
class Census:
    """Specimens and names of every species.

    Attributes:
        specimens: Number of specimens (S,).
        named: Specimens that shall carry the species' name (S,), 0 where the species has none.
        names: Scientific name, placeholder name, or None.
    """

    specimens: np.ndarray
    named: np.ndarray
    names: list[str | None]


def heavy_tail(size: int, scale: float, most: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers from 0 to `most` with a Pareto tail."""
    return np.minimum(most, np.floor(scale * rng.pareto(1.6, size))).astype(int)


def pick_species(genera: list[str], specimens: int, rng: np.random.Generator) -> tuple[list[int], list[int], list[int]]:
    """Choose the described, the well-sampled new and the rare new species.

    A well-sampled new species has a described one in its genus, a rare one mostly has not.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for species, genus in enumerate(genera):
        members[genus].append(species)
    shuffled = [members[genus] for genus in rng.permutation(sorted(members)).tolist()]
    numbers = [max(2, round(share * specimens)) for share in (DESCRIBED_SHARE, NEW_SHARE, RARE_SHARE)]
    described: list[int] = []
    new: list[int] = []
    others: list[int] = []
    for group in shuffled:
        room = numbers[1] - len(new) if len(described) < numbers[0] else 0
        wanted = min(room, len(group) // 2, int(rng.integers(1, 4)))
        known = min(numbers[0] - len(described), len(group) - wanted, int(rng.integers(1, 5)))
        # Neighbours are close relatives. New species are from one end of the genus, described ones from the other.
        new += group[:wanted]
        described += group[len(group) - known :]
        others += group[wanted : len(group) - known]
    rare = others[:: max(1, len(others) // numbers[2])][: numbers[2]]
    return described, new, rare


def take_census(genera: list[str], specimens: int, rng: np.random.Generator) -> Census:
    """Decide how common every species is and how well it is known.

    Args:
        genera: Genus of each species.
        specimens: Number of specimens of all species together.
        rng: Source of every random choice.
    """
    described, new, rare = pick_species(genera, specimens, rng)
    total = len(genera)
    named = np.zeros(total, int)
    # A third of the described species is common enough for a test set, the others are known from a few specimens.
    common = rng.random(len(described)) < 0.35
    many, few = 8 + heavy_tail(len(described), 1.2, 60, rng), np.minimum(7, rng.geometric(0.55, len(described)))
    named[described] = np.where(common, many, few)
    named[new] = 8 + heavy_tail(len(new), 1.1, 30, rng)
    named[rare] = np.minimum(7, rng.geometric(0.6, len(rare)))
    # Some specimens of a named species have no name. A common one has a few of them, so that barcodes can be left out.
    unnamed = heavy_tail(total, 3.0, 150, rng) * (rng.random(total) < 0.4) + np.where(named >= 8, 2 + named // 5, 0)
    counts = np.where(named > 0, named + unnamed, 1)
    weights = np.where(named > 0, 0.0, rng.lognormal(0.0, 1.3, total))
    left = specimens - int(counts.sum())
    if left < 0:
        raise ValueError(f"`specimens` is too small for this seed: {specimens} specimens, {counts.sum()} needed.")
    counts += rng.multinomial(left, weights / weights.sum())
    names: list[str | None] = [None] * total
    binomials = Names(rng)
    for species in described:
        names[species] = binomials.species(genera[species])
    for number, species in enumerate(new + rare, start=1):
        names[species] = f"{genera[species]} sp. {number}SIM"
    return Census(counts, named, names)
