"""Fewer dimensions, before clusters are sought."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.evaluation.clustering.neighbour_graph import nearest_rows
from bioscan_hf.evaluation.clustering.settings import Clustering


def as_vectors(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Check that vectors can be clustered.

    Args:
        vectors: (N, D).

    Returns:
        The vectors as float32; not copied if they are that.

    Raises:
        ValueError: If they are not 2-D, there are none, or a value is NaN or not finite in float32.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"Expected vectors of shape (N, D) with N, D > 0; got {array.shape}.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{len(bad):,} of {len(array):,} vectors hold NaN or infinite values, the first in row {bad[0]}; "
            "leave them out, or mend what made them."
        )
    return array


def z_score(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give every feature mean 0 and variance 1.

    The joint embedding of images and DNA is both side by side: `np.hstack([z_score(images), z_score(barcodes)])`. The
    reference does so within each split before it joins them (scottclowe/zs-ssl-clustering, `io.py`), which also removes
    what differs between the splits as a whole.

    Args:
        vectors: (N, D).

    Returns:
        (N, D); features that do not vary become 0. The variance is that of the population, divided by N.

    Raises:
        ValueError: As `as_vectors`.

    >>> z_score(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    exact = as_vectors(vectors).astype(np.float64)
    constant = exact.min(axis=0) == exact.max(axis=0)
    exact -= exact.mean(axis=0)
    exact /= np.where(constant, 1, exact.std(axis=0))
    exact[:, constant] = 0
    return exact.astype(np.float32)


def reduce(vectors: NDArray[np.floating], settings: Clustering, *, seed: int = 0) -> NDArray[np.float32]:
    """Reduce the dimensions of vectors.

    UMAP gets exact neighbours. By itself it searches approximately from 4,096 vectors on, which takes longer where many
    are equal, and is as good (`benchmarks/results/README.md`).

    Args:
        vectors: N vectors (N, D).
        settings: `reduction`, `dimensions`, `neighbours` and `min_dist` count.
        seed: Of all chance. The same seed, machine and versions give the same numbers.

    Returns:
        (N, `dimensions`), or the vectors themselves for the reduction "none".

    Raises:
        ValueError: As `as_vectors`, or if there are too few vectors or features for the settings.
        ImportError: If umap-learn is missing.
    """
    vectors = as_vectors(vectors)
    if settings.reduction == "none":
        return vectors
    if settings.reduction == "pca":
        return _principal_components(vectors, settings.dimensions, seed)
    return _umap(vectors, settings, seed)


def _principal_components(vectors: NDArray[np.float32], dimensions: int, seed: int) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA

    if dimensions > min(vectors.shape):
        raise ValueError(
            f"{dimensions} principal components need as many vectors and features; got {vectors.shape}. "
            "Lower `dimensions`."
        )
    return PCA(n_components=dimensions, random_state=seed).fit_transform(vectors).astype(np.float32)


def _umap(vectors: NDArray[np.float32], settings: Clustering, seed: int) -> NDArray[np.float32]:
    # It starts from `dimensions` + 1 eigenvectors of the graph, which SciPy finds only if there are more.
    needed = max(settings.neighbours + 1, settings.dimensions + 2)
    if len(vectors) < needed:
        raise ValueError(
            f"UMAP with {settings.neighbours} neighbours and {settings.dimensions} dimensions needs {needed} vectors "
            f"or more; got {len(vectors)}. Lower them, or use the reduction 'pca' or 'none'."
        )
    with warnings.catch_warnings():
        # That it does without TensorFlow, and that such a model cannot transform other vectors.
        for category in (ImportWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        try:
            from umap import UMAP
        except ImportError as error:
            raise ImportError("UMAP needs umap-learn: `pip install 'bioscan-hf[clustering]'`.") from error

        model = UMAP(
            n_neighbors=settings.neighbours,
            n_components=settings.dimensions,
            min_dist=settings.min_dist,
            metric="euclidean",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=nearest_rows(vectors, settings.neighbours),
        )
        return np.asarray(model.fit_transform(vectors), np.float32)
