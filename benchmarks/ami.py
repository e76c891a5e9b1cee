"""Our adjusted mutual information beside scikit-learn's, of species and clusters at the size of BIOSCAN-5M's splits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from clustering_data import SPECIES, SPECIMENS, long_tailed
from comparison import Bar, Comparison, Options, Row, beside
from measuring import Cost, fresh, measured
from numpy.typing import NDArray
from peer import versions

QUICK = (900, 80)
"""Specimens and species."""
MOVED = 0.3
"""Share of the specimens that are in the cluster of another species."""


def _ours(species: NDArray[np.int64], clusters: NDArray[np.int64]) -> float:
    from bioscan_hf.evaluation.metrics.mutual_information import adjusted_mutual_information

    return adjusted_mutual_information(species, clusters, normaliser="arithmetic")


def _scikit_learn(species: NDArray[np.int64], clusters: NDArray[np.int64]) -> float:
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(species, clusters))


WAYS: dict[str, Callable[[NDArray[np.int64], NDArray[np.int64]], float]] = {
    "ours": _ours,
    "scikit-learn": _scikit_learn,
}
TITLES = {"ours": "**`adjusted_mutual_information`**", "scikit-learn": "scikit-learn's `adjusted_mutual_info_score`"}


def run(way: str, specimens: int, species: int) -> Cost:
    """Score made clusters; what has been loaded before, by nine points, does not count."""
    random = np.random.default_rng(0)
    labels = long_tailed(specimens, species, 0.8, random)
    clusters = np.where(random.random(specimens) < MOVED, random.permutation(labels), labels)
    WAYS[way](labels[:9], clusters[:9])
    with measured() as cost:
        score = WAYS[way](labels, clusters)
    return {**cost, "AMI": score}


def compare(options: Options) -> Comparison:
    """Adjusted mutual information with the arithmetic mean, as scikit-learn has it."""
    specimens, species = QUICK if options.quick else (SPECIMENS, SPECIES)
    results = {way: fresh(options.quick, run, way, specimens, species) for way in WAYS}
    size, pairs, rows = f"{specimens:,} specimens, {species:,} species", [("ours", "scikit-learn")], []
    for unit, key in (("CPU s", "cpu"), ("GB at the most", "peak")):
        figures = {way: cost[key] for way, cost in results.items()}
        rows += beside("AMI", size, unit, figures, pairs, titles=TITLES)
    difference, bar = abs(results["ours"]["AMI"] - results["scikit-learn"]["AMI"]), Bar(1e-8, "ours", least=False)
    rows.append(Row("AMI", size, "difference from scikit-learn's", TITLES["ours"], difference, bar=bar))
    return Comparison(
        "adjusted mutual information",
        rows,
        versions("scikit-learn", "scipy", "numpy", "bioscan-hf"),
        notes=[
            f"Made species with a long tail of sizes, and clusters in which {MOVED:.0%} of the specimens stand "
            "elsewhere. Each figure is of a fresh process, measured once.",
        ],
    )
