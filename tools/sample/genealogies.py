"""Genealogies of specimens inside the species tree, by coalescent simulation with msprime.

One simulation per family (mitochondria are haploid, so one lineage per specimen); above a family's last common
ancestor the branches are those of the species tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import msprime
import numpy as np

from .taxonomy import Node

POPULATION_SIZE = 0.75e5
"""Median number of females of a species with 8 specimens. Set so that two specimens share a barcode on average, as in
BIOSCAN-5M; at the clock of `barcodes.py` specimens of a species then differ by about 0.4 %."""

ABUNDANCE_POWER = 0.4
"""Common species have larger populations, but less than in proportion."""

SIZE_SPREAD = 0.7
"""Standard deviation of the logarithm of the population size among species."""

BIN_AGE = 0.55
"""Lineages that join within so many My form one BIN: about 2 % divergence, the first threshold of BOLD's BINs."""


@dataclass
class Genealogy:
    """A dated tree of specimens.

    Attributes:
        parent: Parent of each node, -1 for the root; a parent comes before its children in `preorder`.
        age: My before present of each node.
        preorder: All nodes, the root first.
        species: Species of each of the first `len(species)` nodes, which are the specimens.
    """

    parent: list[int]
    age: list[float]
    preorder: list[int]
    species: list[int]

    def clusters(self, age: float) -> list[int]:
        """For each specimen the node under which all lineages join within `age` My."""
        cluster = [-1] * len(self.parent)
        for node in self.preorder:
            above = self.parent[node]
            cluster[node] = node if above < 0 or self.age[above] > age else cluster[above]
        return cluster[: len(self.species)]


def population_sizes(specimens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Number of females of every species, by the number of specimens of each (S,)."""
    return POPULATION_SIZE * (specimens / 8) ** ABUNDANCE_POWER * rng.lognormal(0.0, SIZE_SPREAD, len(specimens))


def simulate_genealogy(family: Node, specimens: np.ndarray, sizes: np.ndarray, seed: int) -> Genealogy:
    """Simulate the genealogy of one family's specimens.

    Args:
        family: Species tree of the family.
        specimens: Number of specimens of every species (S,), at least 1 each.
        sizes: Population size of every species (S,).
        seed: Seed for msprime, from 1 to 2^31.
    """
    tips = [tip.species for tip in family.tips()]
    if len(tips) == 1:
        demography = msprime.Demography()
        demography.add_population(name=f"s{tips[0]}", initial_size=sizes[tips[0]])
    else:
        # One generation a year, so that the tree's years are generations.
        demography = msprime.Demography.from_species_tree(f"{family.newick()};", POPULATION_SIZE)
        for tip in tips:
            demography[f"s{tip}"].initial_size = sizes[tip]
    samples = {f"s{tip}": int(specimens[tip]) for tip in tips}
    simulated = msprime.sim_ancestry(samples, demography=demography, ploidy=1, random_seed=seed)
    tree = simulated.first()
    by_name = {demography[f"s{tip}"].id: tip for tip in tips}
    return Genealogy(
        parent=[tree.parent(node) for node in range(simulated.num_nodes)],
        age=[tree.time(node) / 1e6 for node in range(simulated.num_nodes)],
        preorder=list(tree.nodes()),
        species=[by_name[simulated.node(node).population] for node in simulated.samples()],
    )
