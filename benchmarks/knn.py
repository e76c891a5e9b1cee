"""Our nearest neighbours, exact and in cells, beside faiss's flat index and scikit-learn's brute force."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Bar, Comparison, Options, Row, beside
from measuring import fresh, measured
from numpy.typing import NDArray
from peer import versions

Array = NDArray[Any]
Search = Callable[[Array], Array]
"""Takes queries (Q, D) to the rows of their nearest keys (Q, k)."""


@dataclass(frozen=True)
class Sizes:
    """How much is searched.

    Attributes:
        keys: Vectors that are searched.
        queries: Vectors that are looked for.
        width: Of a vector.
        clusters: About which the keys lie, as barcodes about their species.
    """

    keys: int = 100_000
    queries: int = 1_000
    width: int = 768
    clusters: int = 2_000


FULL, QUICK = Sizes(), Sizes(keys=2_000, queries=20, width=16, clusters=100)
NEIGHBOURS = (1, 20)
BAR = Bar(0.95, "ours")
"""Share of the exact neighbours that cells must find."""


def _nearest(keys: Array, k: int, folder: Path) -> Search:
    from bioscan_hf.evaluation.neighbours import nearest_k

    del folder
    return lambda queries: nearest_k(keys, queries, k)[0]


def _exact(keys: Array, k: int, folder: Path) -> Search:
    from bioscan_hf.identification.search import ExactIndex

    del folder
    index = ExactIndex(torch.from_numpy(keys))
    return lambda queries: index.search(queries, k)[0]


def _cells(keys: Array, k: int, folder: Path) -> Search:
    from bioscan_hf.identification.search import CellIndex

    if not (path := folder / "cells").exists():
        CellIndex.build(torch.from_numpy(keys)).save(path)
    index = CellIndex.load(path)
    return lambda queries: index.search(queries, k)[0]


def _faiss(keys: Array, k: int, folder: Path) -> Search:
    import faiss

    del folder
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)
    return lambda queries: np.asarray(index.search(queries, k)[1])


def _scikit_learn(keys: Array, k: int, folder: Path) -> Search:
    from sklearn.neighbors import NearestNeighbors

    del folder
    # Of unit vectors, the nearest are those with the largest cosine.
    index = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="euclidean").fit(keys)
    return lambda queries: np.asarray(index.kneighbors(queries, return_distance=False))


WAYS: dict[str, tuple[str, Callable[[Array, int, Path], Search]]] = {
    "exact": ("**`identification.search.ExactIndex`**", _exact),
    "nearest": ("**`evaluation.neighbours.nearest_k`**", _nearest),
    "cells": ("**`identification.search.CellIndex`**", _cells),
    "faiss": ("faiss's `IndexFlatIP`", _faiss),
    "scikit-learn": ("scikit-learn's `NearestNeighbors`, brute force", _scikit_learn),
}
OURS, PEERS = ("exact", "nearest", "cells"), ("faiss", "scikit-learn")


def made_vectors(sizes: Sizes, seed: int) -> tuple[Array, Array]:
    """Unit vectors that lie about those of clusters: keys (K, D) and queries (Q, D), float32."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(sizes.clusters, sizes.width)).astype(np.float32)

    def draw(count: int) -> Array:
        vectors = centres[random.integers(0, sizes.clusters, count)]
        vectors = vectors + 0.5 * random.normal(size=vectors.shape).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return draw(sizes.keys), draw(sizes.queries)


def run(way: str, k: int, sizes: Sizes, folder: str) -> dict[str, Any]:
    """Search with one thread.

    Args:
        way: One of `WAYS`.
        k: Neighbours of a query.
        sizes: How much.
        folder: Takes an index.

    Returns:
        `cpu` and `wall` in seconds, `peak` in GB, and the rows that were found.
    """
    torch.set_num_threads(1)
    keys, queries = made_vectors(sizes, seed=0)
    search = WAYS[way][1](keys, k, Path(folder))
    search(queries[:1])
    with measured() as cost:
        found = search(queries)
    return {**cost, "found": found}


def compare(options: Options) -> Comparison:
    """Nearest neighbours of unit vectors."""
    sizes, rows = QUICK if options.quick else FULL, []
    titles = {way: title for way, (title, _) in WAYS.items()}
    size = f"{sizes.queries:,} queries, {sizes.keys:,} keys of {sizes.width}"
    pairs = [(ours, peer) for ours in OURS for peer in PEERS]
    same = True
    with tempfile.TemporaryDirectory() as folder:
        results = {k: {way: fresh(options.quick, run, way, k, sizes, folder) for way in WAYS} for k in NEIGHBOURS}
    for k, of_k in results.items():
        rates = {way: sizes.queries / result["cpu"] for way, result in of_k.items()}
        rows += beside(f"neighbours, k = {k}", size, "queries per CPU s", rates, pairs, titles=titles, higher=True)
        exact = of_k["faiss"]["found"]
        shares = {way: _shared(of_k[way]["found"], exact) for way in (*OURS, "scikit-learn")}
        same = same and min(shares[way] for way in ("exact", "nearest", "scikit-learn")) > 1 - 1e-4
        unit = "share of faiss's neighbours that it finds"
        rows.append(Row(f"neighbours, k = {k}", size, unit, titles["cells"], shares["cells"], higher=True, bar=BAR))
    return Comparison(
        "nearest neighbours",
        rows,
        versions("torch", "faiss-cpu", "scikit-learn", "numpy", "bioscan-hf"),
        {"The exact ways find the same neighbours": same},
        [
            "One thread; each figure is of a fresh process, measured once after one query. Making an index does not "
            "count. Ours give equally similar keys in the order of their rows; the peers leave it open. "
            f"Unit vectors about {sizes.clusters:,} centres; `CellIndex` compares those of the most similar cells, "
            "as float16.",
        ],
    )


def _shared(found: Array, exact: Array) -> float:
    """Share of the exact neighbours that were found."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)]))
