"""What specimens look like: a body plan per order, and traits that drift along the species tree."""

from __future__ import annotations

import numpy as np

from .taxonomy import ORDERS, Node, Taxonomy

TRAITS: dict[str, tuple[float, float, float]] = {
    # name: standard deviation after 100 My (of the logarithm where the lower bound is above 0), lower and upper bound
    "length": (0.5, 0.5, 7.0),  # of the body, in mm; the others are relative
    "girth": (0.25, 0.05, 0.34),  # half width of the thorax, in body lengths
    "head": (0.15, 0.05, 0.3),  # length, in body lengths
    "thorax": (0.12, 0.12, 0.45),  # length, in body lengths
    "belly": (0.16, 0.5, 2.0),  # half width of the abdomen, in those of the thorax
    "waist": (0.2, 0.0, 1.0),  # width where the abdomen begins, in its largest
    "taper": (0.25, 0.0, 1.0),  # how pointed the abdomen is
    "eye": (0.25, 0.15, 1.0),  # length, in heads
    "antenna": (0.35, 0.05, 2.0),  # length, in body lengths
    "leg": (0.25, 0.15, 1.8),  # length, in body lengths
    "wing": (0.18, 0.2, 1.3),  # length, in body lengths
    "breadth": (0.25, 0.08, 0.75),  # width of the wing, in its length
    "spread": (0.25, 0.0, 1.5),  # angle of the wing to the body axis, in radians
    "opacity": (0.12, 0.08, 1.0),  # of the wing
    "hue": (0.035, 0.0, 1.0),  # of the body
    "saturation": (0.18, 0.05, 0.95),
    "value": (0.2, 0.08, 0.9),
    "abdomen": (0.22, -0.5, 0.5),  # value of the abdomen, above that of the thorax
    "bands": (0.35, 0.0, 0.9),  # darkness of the bands of the abdomen
    "rings": (1.6, 2.0, 9.0),  # number of these bands
    "spots": (0.3, 0.0, 0.9),  # darkness of the spots of the wings
    "limb": (0.22, -0.4, 0.5),  # value of the legs, above that of the thorax
    "bristles": (0.4, 0.0, 1.0),  # how hairy
}

ANCESTORS = np.array([
    [2.1, .13, .16, .33, 1.0, .80, .30, .75, .20, .80, .88, .36, .55, .16, .09, .45, .35, .08, .35, 5, .04, .12, .4],
    [2.0, .10, .14, .32, 1.1, .12, .60, .45, .65, .65, .75, .33, .75, .14, .07, .55, .22, .05, .30, 5, .04, .22, .1],
    [2.6, .13, .15, .24, 1.1, .95, .85, .35, .15, .45, .82, .30, .08, .88, .17, .42, .58, .05, .10, 5, .20, .05, .0],
    [2.3, .18, .15, .22, 1.2, .95, .35, .30, .35, .45, .66, .44, .04, 1.0, .06, .60, .24, .06, .00, 5, .25, .05, .1],
    [3.2, .11, .12, .26, 1.0, .90, .60, .55, .60, .50, .98, .52, .70, .96, .09, .35, .62, .00, .15, 5, .55, .00, .3],
    [1.6, .12, .20, .25, 1.2, .90, .40, .45, 1.0, .55, .95, .36, .28, .28, .08, .30, .55, .10, .20, 5, .25, .08, .1],
    [1.2, .07, .12, .22, 1.2, .95, .90, .40, .28, .28, .60, .13, .45, .40, .10, .50, .28, .10, .20, 7, .00, .15, .6],
    [3.6, .12, .16, .22, 1.1, .95, .40, .35, 1.3, .90, .62, .24, .05, .75, .11, .45, .50, .05, .20, 6, .20, .05, .1],
    [1.2, .12, .18, .20, 1.2, .95, .55, .20, .35, .30, .20, .10, .00, .10, .66, .25, .55, .00, .25, 5, .00, .10, .5],
    [2.0, .20, .07, .36, 1.3, .25, .25, .20, .06, 1.1, .20, .10, .00, .10, .08, .45, .42, .05, .25, 4, .00, .10, .5],
    [0.8, .27, .06, .24, 1.2, .95, .10, .15, .05, .45, .20, .10, .00, .10, .06, .60, .50, .05, .05, 3, .00, .15, .5],
])  # fmt: skip
"""The first species of every order of `ORDERS`, its traits in the order of `TRAITS`."""
LEG_PAIRS = (3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4)
WING_PAIRS = (1, 2, 1, 1, 2, 2, 2, 1, 0, 0, 0)
"""Pairs of legs and of wings in every order; wing cases count as wings, small hind wings are left out."""


def drift(node: Node, start: np.ndarray, age: float, rng: np.random.Generator, tips: dict[int, np.ndarray]) -> None:
    """Brownian motion from `start` at `age` My down the subtree of `node`, collected at the species in `tips`."""
    here = start + rng.normal(size=len(start)) * np.sqrt(max(0.0, age - node.age) / 100)
    if not node.children:
        tips[node.species] = here
    for child in node.children:
        drift(child, here, node.age, rng, tips)


def evolve_traits(taxonomy: Taxonomy, rng: np.random.Generator) -> np.ndarray:
    """Traits of every species.

    Args:
        taxonomy: Species and their tree.
        rng: Source of the Brownian motion.

    Returns:
        Values in the order of `TRAITS`, shape (species, traits).
    """
    tips: dict[int, np.ndarray] = {}
    drift(taxonomy.root, np.zeros(len(TRAITS)), taxonomy.root.age, rng, tips)
    walk = np.array([tips[species] for species in range(len(tips))])
    order = np.array(taxonomy.order)
    for index in range(len(ORDERS)):
        # The body plan stands for the long common stem of an order, so what its species share is taken out.
        walk[order == index] -= walk[order == index].mean(axis=0)
    spread, low, high = np.array(list(TRAITS.values())).T
    ancestors = ANCESTORS[order]
    values = np.where(low > 0, ancestors * np.exp(spread * walk), ancestors + spread * walk)
    return np.clip(values, low, high)
