"""Clusters of vectors: with and without the reduction of their dimensions before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from bioscan_hf.evaluation.clustering.reduction import as_vectors, reduce
from bioscan_hf.evaluation.clustering.settings import Clustering


def cluster(vectors: NDArray[np.floating], settings: Clustering, *, clusters: int, seed: int = 0) -> NDArray[np.int64]:
    """Reduce the dimensions of vectors and find clusters: `reduce`, then `find_clusters`.

    Args:
        vectors: (N, D), see `z_score` for embeddings of several modalities.
        settings: The recipe.
        clusters: How many to find, at least 2; the zero-shot benchmark asks for as many as there are species. HDBSCAN
            ignores it.
        seed: Of all chance.

    Returns:
        Cluster of each vector (N,), from 0 on; -1 is the noise of HDBSCAN.

    Raises:
        ValueError: If there are fewer distinct vectors than clusters; see `reduce` and `find_clusters` for others.
        ImportError: If a package of the extra `clustering` is missing.
        MemoryError: If average linkage needs more memory than is free.
    """
    vectors = as_vectors(vectors)
    if settings.method != "hdbscan":
        # Here too: UMAP gives equal vectors different points.
        _check_count(vectors, clusters)
    return find_clusters(reduce(vectors, settings, seed=seed), settings, clusters=clusters, seed=seed)


def find_clusters(
    points: NDArray[np.floating], settings: Clustering, *, clusters: int, seed: int = 0
) -> NDArray[np.int64]:
    """Cluster vectors as they are.

    Ward's linkage is exact, takes about 0.1 GB for 50,000 points, and gives the partition of scikit-learn's
    `AgglomerativeClustering`. Average linkage takes 4 N² bytes. k-means starts once by k-means++ and ends after 1,000
    rounds, as in the code of `Clustering`; HDBSCAN is scikit-learn's.

    Args:
        points: (N, D), mostly from `reduce`.
        settings: `method` and `min_cluster_size` count.
        clusters: How many to find, at least 2; HDBSCAN ignores it.
        seed: Of k-means.

    Returns:
        Cluster of each point (N,), from 0 on; -1 is the noise of HDBSCAN.

    Raises:
        ValueError: If the points are not 2-D or not finite, or there are too few distinct ones.
        ImportError: If fastcluster is missing (Ward, average).
        MemoryError: If average linkage needs more memory than is free.
    """
    points = as_vectors(points)
    if settings.method == "hdbscan":
        return _hdbscan(points, settings.min_cluster_size)
    _check_count(points, clusters)
    if settings.method == "kmeans":
        return _k_means(points, clusters, seed)
    merges = _ward(points) if settings.method == "ward" else _average(points)
    return cut(merges, clusters)


def cut(merges: NDArray[np.float64], clusters: int) -> NDArray[np.int64]:
    """Undo the last merges of a dendrogram, so that a number of clusters is left.

    SciPy's `fcluster` cuts at a height instead, and gives fewer clusters where merges are equally high.

    Args:
        merges: (N - 1, 4), as of `scipy.cluster.hierarchy.linkage`: row i joins the first two numbers to N + i.
        clusters: How many are left, 1 to N.

    Returns:
        Cluster of each of the N points.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(merges) + 1
    kept = count - clusters
    joined = merges[:kept, :2].astype(np.int64).ravel()
    nodes = np.repeat(np.arange(count, count + kept), 2)
    size = count + kept
    graph = coo_array((np.ones(len(nodes), bool), (joined, nodes)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return labels[:count].astype(np.int64)


def _check_count(vectors: NDArray[np.float32], clusters: int) -> None:
    if clusters < 2:
        raise ValueError(f"Expected at least 2 clusters to find; got {clusters}.")
    # Adding 0 makes -0 the same bytes as 0.
    distinct = len({xxh3_128_digest(vector + np.float32(0)) for vector in vectors})
    if distinct < clusters:
        raise ValueError(f"{clusters:,} clusters need as many distinct vectors; there are {distinct:,}.")


def _ward(points: NDArray[np.float32]) -> NDArray[np.float64]:
    merges: NDArray[np.float64] = _fastcluster().linkage_vector(points, method="ward")
    return merges


def _average(points: NDArray[np.float32]) -> NDArray[np.float64]:
    import psutil
    from scipy.spatial.distance import pdist

    fastcluster = _fastcluster()
    needed, free = 4 * len(points) * (len(points) - 1), psutil.virtual_memory().available
    if needed > free:
        raise MemoryError(
            f"Average linkage of {len(points):,} points needs {needed / 1e9:.1f} GB for their distances; "
            f"{free / 1e9:.1f} GB are free. Use method 'ward', or fewer points."
        )
    merges: NDArray[np.float64] = fastcluster.linkage(pdist(points), method="average", preserve_input=False)
    return merges


def _fastcluster() -> Any:
    try:
        import fastcluster
    except ImportError as error:
        raise ImportError(
            "Ward's and average linkage need fastcluster: `pip install 'bioscan-hf[clustering]'`."
        ) from error
    return fastcluster


def _k_means(points: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    model = KMeans(n_clusters=clusters, init="k-means++", n_init=1, max_iter=1000, random_state=seed)
    return model.fit_predict(points).astype(np.int64)


def _hdbscan(points: NDArray[np.float32], min_cluster_size: int) -> NDArray[np.int64]:
    from sklearn.cluster import HDBSCAN

    if len(points) < min_cluster_size:
        raise ValueError(f"HDBSCAN with `min_cluster_size` {min_cluster_size} needs as many points; got {len(points)}.")
    return HDBSCAN(min_cluster_size=min_cluster_size, copy=True).fit_predict(points).astype(np.int64)
