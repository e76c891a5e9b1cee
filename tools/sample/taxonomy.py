"""An invented taxonomy with a dated species tree.

Every name is made of syllables that no catalogue holds together; a family is named after its first genus, as in
zoology. Splits inside a rank happen in that rank's own range of ages, so that the ranks are nested in time too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

PHYLUM = "Simulopoda"

AGES: dict[str, tuple[float, float]] = {
    "genus": (0.04, 10.0),
    "subfamily": (10.5, 20.5),
    "family": (21.0, 45.0),
    "order": (50.0, 120.0),
    "class": (130.0, 240.0),
    "phylum": (260.0, 400.0),
}
"""Age of the splits inside one group of each rank, in million years (My). Orders and classes follow the dated insect
trees roughly; genera to families are set so that barcodes differ as much as in public COI records."""

FLATTENING = 0.8
"""Power of an order's weight to which its number of species, and so roughly of specimens, is proportional."""

SPECIES_PER_GENUS = 4.0
"""Mean number of species of a genus (BIOSCAN-5M names 3.0, and most of its species have no name)."""


@dataclass(frozen=True)
class Order:
    """One order of the sample.

    Attributes:
        name: Invented name.
        parent: Class.
        weight: How large it is among the orders, which are ranked as in BIOSCAN-5M.
    """

    name: str
    parent: str
    weight: float


ORDERS: tuple[Order, ...] = (
    Order("Fictoptera", "Simulecta", 0.56),  # fly-like
    Order("Mendoptera", "Simulecta", 0.13),  # wasp-like
    Order("Ludoptera", "Simulecta", 0.08),  # leafhopper-like
    Order("Fabuloptera", "Simulecta", 0.07),  # beetle-like
    Order("Mythoptera", "Simulecta", 0.06),  # moth-like
    Order("Quasoptera", "Simulecta", 0.03),  # barklouse-like
    Order("Nulloptera", "Simulecta", 0.02),  # thrips-like
    Order("Utopoptera", "Simulecta", 0.01),  # cricket-like
    Order("Fictomorpha", "Simulembola", 0.02),  # springtail-like
    Order("Mendaneae", "Simularachna", 0.01),  # spider-like
    Order("Ludacari", "Simularachna", 0.01),  # mite-like
)

STEMS = "Ficto Mendo Ludo Fabu Mytho Quaso Nullo Utopo Simu Chimo Phanto Apocry Imago Falsi Figmo Lego Rumo Somni"
MIDDLES = "bre cla dri fro gru kli lto mna nvi plu rti sko stra tvi vlo xan yle zwi"
ENDS = "bra cus dra fia gon lex mus nia pha ris sia tus vra xis zia"
EPITHETS = (
    "brun clav densi flavi grati hirti lati macul nigri obscur parv quiet rufi simul tenu vari",
    "brel dorv fent glim jast kolp marn plov skend trub vask zelm",
    "atus ensis icola inus osa ula",
)


Labels = tuple[str | None, ...]
"""Labels from the phylum to the genus, or to the species; None where a rank is not in use or not known."""


@dataclass
class Node:
    """A node of the species tree.

    Attributes:
        age: My before present.
        children: Two subtrees; none for a species.
        species: Index of the species, -1 for an inner node.
    """

    age: float = 0.0
    children: list[Node] = field(default_factory=list)
    species: int = -1

    def newick(self) -> str:
        """The subtree in Newick format, species named `s<index>`, branch lengths in whole years."""
        if not self.children:
            return f"s{self.species}"
        # Ages, not branches, are rounded: msprime wants all tips at the very same time.
        years = [round(1e6 * self.age) - round(1e6 * child.age) for child in self.children]
        return "(" + ",".join(f"{child.newick()}:{y}" for child, y in zip(self.children, years, strict=True)) + ")"

    def tips(self) -> Iterator[Node]:
        """The species below, from left to right, so that close relatives are neighbours."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.tips()


@dataclass
class Taxonomy:
    """Species with their groups.

    Attributes:
        labels: For each species (phylum, class, order, family, subfamily, genus); subfamily may be None.
        order: Index into `ORDERS` for each species.
        families: Subtree of each family.
        root: The whole tree; its tips are the families' tips.
    """

    labels: list[Labels]
    order: list[int]
    families: list[Node]
    root: Node


def join(groups: list[Node], rank: str, rng: np.random.Generator) -> Node:
    """Join subtrees by a random binary tree whose splits lie in the age range of `rank`."""
    lineages = list(groups)
    low, high = AGES[rank]
    # The oldest split is drawn from a wide range: young and old genera make retrieval unevenly hard.
    crown = low + (high - low) * rng.uniform(0.3, 1.0)
    # Younger splits are somewhat more common than even, so that some sister species are hard to tell apart.
    ages = np.sort(low + (crown - low) * rng.beta(0.6, 1.1, max(0, len(groups) - 2))).tolist()
    for age in [*ages, crown][: len(groups) - 1]:
        pair = [lineages.pop(int(rng.integers(len(lineages)))) for _ in range(2)]
        lineages.append(Node(age, pair))
    return lineages[0]


def partition(total: int, groups: int, rng: np.random.Generator) -> list[int]:
    """Split `total` into `groups` heavy-tailed parts, each at least 1."""
    weights = rng.gamma(0.8, size=groups) + 0.05
    return [int(part) for part in 1 + rng.multinomial(total - groups, weights / weights.sum())]


class Names:
    """Draws names that it has not given before."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Start with no name given."""
        self.rng = rng
        self.given: set[str] = set()

    def draw(self, *syllables: str) -> str:
        """A new name of one syllable from each text, and of more from `MIDDLES` where that has been given already."""
        parts = [str(self.rng.choice(choices.split())) for choices in syllables]
        while "".join(parts) in self.given:
            parts.insert(1, str(self.rng.choice(MIDDLES.split())))
        name = "".join(parts)
        self.given.add(name)
        return name

    def genus(self) -> str:
        """An invented genus."""
        return self.draw(STEMS, MIDDLES, ENDS)

    def species(self, genus: str) -> str:
        """An invented binomial."""
        return f"{genus} {self.draw(*EPITHETS)}"


def grow_family(number: int, above: tuple[str, str, str], first: int, names: Names) -> tuple[Node, list[Labels]]:
    """One family: its tree and the labels of its `number` species, whose indices start at `first`."""
    rng = names.rng
    sizes = partition(number, max(1, round(number / SPECIES_PER_GENUS)), rng)
    genera = [names.genus() for _ in sizes]
    subfamilies = np.sort(rng.integers(0, max(1, len(sizes) // 3), len(sizes)))
    # One family in ten uses no subfamilies: the column is then null although the genus is known.
    has_subfamilies = rng.random() > 0.1
    labels: list[Labels] = []
    groups: list[Node] = []
    for index in np.unique(subfamilies):
        members = np.flatnonzero(subfamilies == index)
        subfamily = f"{genera[members[0]][:-2]}inae" if has_subfamilies else None
        trees = []
        for member in members:
            trees.append(join([Node() for _ in range(sizes[member])], "genus", rng))
            for species, tip in enumerate(trees[-1].tips(), start=first + len(labels)):
                tip.species = species
            labels += [(*above, f"{genera[0][:-2]}idae", subfamily, genera[member])] * sizes[member]
        groups.append(join(trees, "subfamily", rng))
    return join(groups, "family", rng), labels


def grow_taxonomy(species: int, rng: np.random.Generator) -> Taxonomy:
    """Grow a taxonomy and its dated tree.

    Args:
        species: Number of species.
        rng: Source of every random choice.
    """
    names = Names(rng)
    # In BIOSCAN-5M seven in ten specimens are of one order; here four are, so that small orders have some.
    weights = np.array([order.weight**FLATTENING for order in ORDERS])
    numbers = np.maximum(2, np.round(species * weights / weights.sum())).astype(int)
    numbers[0] = max(2, numbers[0] + species - numbers.sum())
    taxonomy = Taxonomy([], [], [], Node())
    classes: dict[str, list[Node]] = {}
    for index, (order, number) in enumerate(zip(ORDERS, numbers, strict=True)):
        trees = []
        for size in partition(int(number), max(1, round(0.4 * number**0.6)), rng):
            tree, labels = grow_family(size, (PHYLUM, order.parent, order.name), len(taxonomy.labels), names)
            taxonomy.labels += labels
            taxonomy.order += [index] * size
            trees.append(tree)
        taxonomy.families += trees
        classes.setdefault(order.parent, []).append(join(trees, "order", rng))
    taxonomy.root = join([join(orders, "class", rng) for orders in classes.values()], "phylum", rng)
    return taxonomy
