"""Zero-shot clustering at the size of BIOSCAN-5M: ways to run UMAP and Ward's linkage."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clustering_data import SPECIMENS, made_embeddings
from comparison import Bar, Comparison, Options, Row, beside
from measuring import fresh, measured
from numpy.typing import NDArray
from peer import versions
from sklearn.metrics import adjusted_rand_score

from bioscan_hf.evaluation.metrics.mutual_information import adjusted_mutual_information

SEED = 0
Result = dict[str, Any]
Array = NDArray[Any]


def _umap(vectors: Array, seed: int, **options: Any) -> Array:
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = UMAP(n_components=50, n_neighbors=30, min_dist=0.0, random_state=seed, n_jobs=1, **options)
        return np.asarray(model.fit_transform(vectors))


def _exact(vectors: Array, seed: int) -> Array:
    from bioscan_hf.evaluation.clustering.reduction import reduce
    from bioscan_hf.evaluation.clustering.settings import Clustering

    return reduce(vectors, Clustering(), seed=seed)


def _distinct(vectors: Array, seed: int) -> Array:
    distinct, inverse = np.unique(vectors, axis=0, return_inverse=True)
    return _umap(distinct, seed)[inverse]


def _fastcluster(points: Array, clusters: int) -> Array:
    from bioscan_hf.evaluation.clustering.clusters import find_clusters
    from bioscan_hf.evaluation.clustering.settings import Clustering

    return find_clusters(points, Clustering(), clusters=clusters)


def _scikit_learn(points: Array, clusters: int) -> Array:
    from sklearn.cluster import AgglomerativeClustering

    labels: Array = AgglomerativeClustering(clusters, linkage="ward").fit_predict(points)
    return labels


REDUCTIONS: dict[str, tuple[str, Callable[[Array, int], Array]]] = {
    "reference": ("umap-learn as it is: approximate neighbours", _umap),
    "distinct": ("umap-learn of distinct vectors only; *not equivalent*", _distinct),
    "exact": ("**`reduce`**: exact neighbours", _exact),
}
LINKAGES: dict[str, tuple[str, Callable[[Array, int], Array]]] = {
    "fastcluster": ("**`find_clusters`**: by fastcluster", _fastcluster),
    "scikit-learn": ("scikit-learn's `AgglomerativeClustering`", _scikit_learn),
}


@dataclass(frozen=True)
class Sizes:
    """How much is clustered.

    Attributes:
        specimens: Vectors.
        peer_specimens: Vectors for both linkages; scikit-learn's holds all distances twice.
    """

    specimens: int = SPECIMENS
    peer_specimens: int = 20_000


FULL, QUICK = Sizes(), Sizes(600, 300)
OURS, REFERENCE = "exact", "reference"


def make(folder: str, specimens: int) -> Result:
    """Write made vectors and their species to a folder; what they are like."""
    made = made_embeddings(specimens, SEED)
    np.save(Path(folder) / "vectors.npy", made.vectors)
    np.save(Path(folder) / "species.npy", made.species)
    return {
        "species": len(np.unique(made.species)),
        "repeated": 1 - len(np.unique(made.vectors, axis=0)) / specimens,
    }


def reduce(way: str, folder: str, *, quick: bool) -> Result:
    """Reduce the vectors of a folder in one way, and write the points; the imports and the compilation count.

    A quick run takes some features instead: UMAP takes half a minute to compile.
    """
    torch.set_num_threads(1)
    vectors, first = np.load(Path(folder) / "vectors.npy"), list(REDUCTIONS).index(way)
    with measured() as cost:
        points = vectors[:, first : first + 50] if quick else REDUCTIONS[way][1](vectors, SEED)
    np.save(Path(folder) / f"points {way}.npy", points)
    return dict(cost)


def link(way: str, reduction: str, folder: str, specimens: int) -> Result:
    """Cluster points of a reduction; nine have been before.

    Returns:
        The costs, the `labels`, and `AMI` with the species.
    """
    points = np.load(Path(folder) / f"points {reduction}.npy")[:specimens]
    species = np.load(Path(folder) / "species.npy")[:specimens]
    linkage = LINKAGES[way][1]
    linkage(points[:9], 2)
    with measured() as cost:
        labels = linkage(points, len(np.unique(species)))
    score = adjusted_mutual_information(species, labels, normaliser="arithmetic")
    return {**cost, "labels": labels, "AMI": score}


def compare(options: Options) -> Comparison:
    """The recipe of the zero-shot benchmark, step by step."""
    sizes = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        made = fresh(options.quick, make, folder, sizes.specimens)
        reduced = {way: fresh(options.quick, reduce, way, folder, quick=options.quick) for way in REDUCTIONS}
        linked = {way: fresh(options.quick, link, "fastcluster", way, folder, sizes.specimens) for way in REDUCTIONS}
        both = {way: fresh(options.quick, link, way, OURS, folder, sizes.peer_specimens) for way in LINKAGES}
    size, some = f"{sizes.specimens:,} vectors of 768", f"{sizes.peer_specimens:,} points of 50"
    titles = {way: title for way, (title, _) in (REDUCTIONS | LINKAGES).items()}
    pairs, rows = [(OURS, REFERENCE), (OURS, "distinct")], []
    for unit, key in (("CPU s", "cpu"), ("s", "wall"), ("GB at the most", "peak")):
        figures = {way: result[key] for way, result in reduced.items()}
        rows += beside("UMAP", size, unit, figures, pairs, titles=titles)
    scores = {way: result["AMI"] for way, result in linked.items()}
    rows += beside("UMAP, then Ward's linkage", size, "AMI with species", scores, pairs, titles=titles, higher=True)
    for unit, key in (("CPU s", "cpu"), ("GB at the most", "peak")):
        figures = {way: result[key] for way, result in both.items()}
        rows += beside("Ward's linkage", some, unit, figures, [("fastcluster", "scikit-learn")], titles=titles)
    parts, whole = (reduced[OURS], linked[OURS]), "**`reduce` and `find_clusters`**"
    for unit, value, most in (
        ("s", sum(part["wall"] for part in parts), 480.0),
        ("GB at the most", max(part["peak"] for part in parts), 3.0),
    ):
        rows.append(Row("UMAP, then Ward's linkage", size, unit, whole, value, bar=Bar(most, "ours", least=False)))
    agreement = adjusted_rand_score(both["fastcluster"]["labels"], both["scikit-learn"]["labels"])
    return Comparison(
        "zero-shot clustering",
        rows,
        versions("umap-learn", "pynndescent", "numba", "fastcluster", "scikit-learn", "scipy", "numpy", "torch"),
        {"Ward's linkage gives the clusters of scikit-learn": agreement == 1},
        [
            f"Made embeddings: {made['repeated']:.0%} of them equal to an earlier one, as specimens with the same "
            f"barcode are; {made['species']:,} species with a long tail of sizes, within genera within families. UMAP: "
            "30 neighbours, 50 dimensions, `min_dist` 0, as `Clustering()`; its import and compilation count.",
            "Each figure is of a fresh process, measured once, with one thread. AMI (arithmetic) is that with the "
            "species after linkage to as many clusters. scikit-learn's linkage holds all distances twice, 17 GB for "
            "all vectors.",
            "The way of distinct vectors answers another question: every barcode counts once, whatever its specimens.",
        ],
    )
