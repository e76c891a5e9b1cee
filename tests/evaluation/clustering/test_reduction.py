import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bioscan_hf.evaluation.clustering.reduction import as_vectors, reduce, z_score
from bioscan_hf.evaluation.clustering.settings import Clustering

PCA = Clustering(reduction="pca", dimensions=3)


def vectors(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-99, 99, width=32)))
def test_z_scores_have_mean_0_and_variance_1(made: np.ndarray) -> None:
    scores = z_score(made)
    assert scores.dtype == np.float32 and scores.shape == made.shape
    varied = made.min(axis=0) < made.max(axis=0)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scores.std(axis=0), varied, atol=1e-4)


def test_z_scores_by_hand() -> None:
    made = np.array([[1, 0.1, 1e6], [2, 0.1, 1e6 + 1], [6, 0.1, 1e6 + 2]])
    deviation = np.sqrt(14 / 3)  # mean 3, squares 4 + 1 + 9
    expected = [[-2 / deviation, 0, -np.sqrt(1.5)], [-1 / deviation, 0, 0], [3 / deviation, 0, np.sqrt(1.5)]]
    before = made.copy()
    np.testing.assert_allclose(z_score(made), expected, atol=1e-6)
    np.testing.assert_array_equal(made, before)


def test_without_reduction_vectors_are_as_they_were() -> None:
    made = vectors(5, 4).astype(np.float64)
    reduced = reduce(made, Clustering(reduction="none"))
    assert reduced.dtype == np.float32
    np.testing.assert_array_equal(reduced, made)


def test_principal_components_keep_most_of_the_variance() -> None:
    made = vectors(60, 5) * np.array([9, 7, 5, 1e-3, 1e-3], np.float32)
    reduced = reduce(made, PCA)
    assert reduced.shape == (60, 3) and reduced.dtype == np.float32
    # By the definition: coordinates along the eigenvectors of the covariance, up to their signs.
    values, axes = np.linalg.eigh(np.cov(made.T.astype(np.float64)))
    expected = (made - made.mean(axis=0)) @ axes[:, np.argsort(values)[::-1][:3]]
    np.testing.assert_allclose(np.abs(reduced), np.abs(expected), atol=1e-3)


@pytest.mark.parametrize("function", [z_score, lambda made: reduce(made, PCA), as_vectors])
def test_bad_vectors_are_refused(function: Callable[[np.ndarray], np.ndarray]) -> None:
    bad = vectors(6, 4)
    bad[2, 1], bad[4, 3], bad[4, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(ValueError, match="2 of 6 vectors hold NaN or infinite values, the first in row 2"):
        function(bad)
    with pytest.raises(ValueError, match=r"1 of 2 vectors .* row 1"):
        function(np.array([[1.0, 2], [1e39, 0]]))  # too large for float32
    for shape in ((4,), (2, 3, 4), (0, 4), (4, 0)):
        with pytest.raises(ValueError, match="Expected vectors of shape"):
            function(np.zeros(shape))


def test_too_few_vectors_or_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 principal components need .*; got \(9, 2\)"):
        reduce(vectors(9, 2), PCA)
    with pytest.raises(ValueError, match="30 neighbours and 2 dimensions needs 31 vectors or more; got 30"):
        reduce(vectors(30, 4), Clustering(dimensions=2))
    with pytest.raises(ValueError, match="30 neighbours and 50 dimensions needs 52 vectors or more; got 51"):
        reduce(vectors(51, 4), Clustering())


def test_missing_umap_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"needs umap-learn: `pip install 'bioscan-hf\[clustering\]'`"):
        reduce(vectors(200, 4), Clustering())
