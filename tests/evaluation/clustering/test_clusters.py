import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from bioscan_hf.evaluation.clustering.clusters import cluster, cut, find_clusters
from bioscan_hf.evaluation.clustering.settings import Clustering, Method

WARD = Clustering(reduction="none", method="ward")
AVERAGE = Clustering(reduction="none", method="average")
K_MEANS = Clustering(reduction="none", method="kmeans")
HDBSCAN = Clustering(reduction="none", method="hdbscan")
EXACT = {"ward": WARD, "average": AVERAGE}


def points(count: int, seed: int, repeats: int = 0) -> np.ndarray:
    """Random points; the last `repeats` are equal to others."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(count - repeats, 6)).astype(np.float32)
    return np.vstack([made, made[random.integers(0, len(made), repeats)]])


@pytest.mark.parametrize("settings", [WARD, AVERAGE, K_MEANS])
def test_pairs_far_apart_are_the_clusters(settings: Clustering) -> None:
    pairs = np.array([[0, 0], [0, 1], [50, 0], [50, 1], [0, 90], [1, 90]])
    labels = cluster(pairs, settings, clusters=3)
    assert labels.dtype == np.int64 and set(labels) == {0, 1, 2}
    assert labels[0] == labels[1] and labels[2] == labels[3] and labels[4] == labels[5]


def test_ward_and_average_linkage_differ_as_they_do_by_hand() -> None:
    # The costs of joining the two singles are 3² / 2 = 4.5 (Ward) and 3 (average); of joining a single, 2.6 away, to
    # the four points at 0: 4 / 5 * 2.6² = 5.4 and 2.6.
    line = np.array([[0], [0], [0], [0], [2.6], [5.6]])
    assert adjusted_rand_score([0, 0, 0, 0, 1, 1], find_clusters(line, WARD, clusters=2)) == 1
    assert adjusted_rand_score([0, 0, 0, 0, 0, 1], find_clusters(line, AVERAGE, clusters=2)) == 1


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("clusters", [2, 17, 150])
@pytest.mark.parametrize("repeats", [0, 150])
def test_linkages_equal_those_of_scikit_learn(method: Method, clusters: int, repeats: int) -> None:
    made = points(300, clusters, repeats)
    theirs = AgglomerativeClustering(clusters, linkage=method).fit_predict(made)
    assert adjusted_rand_score(theirs, find_clusters(made, EXACT[method], clusters=clusters)) == 1


@given(st.integers(2, 40), st.data())
def test_gives_as_many_clusters_as_asked_for_where_distances_tie(count: int, data: st.DataObject) -> None:
    grid = np.arange(count)[:, None].astype(np.float32)
    clusters = data.draw(st.integers(2, count))
    for settings in (WARD, AVERAGE):
        labels = find_clusters(grid, settings, clusters=clusters)
        assert sorted(set(labels)) == list(range(clusters))


def test_cut_undoes_the_last_merges() -> None:
    # 0 with 1, 2 with 3, then both: 6 = {0, 1}, 7 = {2, 3}, 8 = {0, 1, 2, 3}.
    merges = np.array([[0, 1, 1, 2], [2, 3, 1, 2], [5, 6, 4, 4], [4, 7, 9, 5]], float)
    assert cut(merges, 5).tolist() == [0, 1, 2, 3, 4]
    assert cut(merges, 3).tolist() == [0, 0, 1, 1, 2]
    assert cut(merges, 2).tolist() == [0, 0, 0, 0, 1]
    assert cut(merges, 1).tolist() == [0] * 5


def test_hdbscan_finds_dense_groups_and_noise() -> None:
    random = np.random.default_rng(0)
    dense = [random.normal(centre, 0.1, (20, 2)) for centre in (0, 10, 20)]
    labels = cluster(np.vstack([*dense, [[500, 0]]]), HDBSCAN, clusters=0)
    assert labels[-1] == -1 and labels.dtype == np.int64
    assert adjusted_rand_score(np.repeat([0, 1, 2], 20), labels[:60]) == 1
    larger = Clustering(reduction="none", method="hdbscan", min_cluster_size=21)
    assert (cluster(np.vstack(dense), larger, clusters=0) == -1).all()


def test_seed_decides_k_means() -> None:
    made = points(200, 0)
    first, again, other = (find_clusters(made, K_MEANS, clusters=20, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all() and adjusted_rand_score(first, other) < 1


def test_principal_components_come_before_the_clusters() -> None:
    # The groups are in the feature that varies most; the other tells others apart.
    made = np.array([[0, 0], [0, 9], [30, 0], [30, 9], [64, 0], [64, 9]])
    settings = Clustering(reduction="pca", dimensions=1)
    assert adjusted_rand_score([0, 0, 1, 1, 2, 2], cluster(made, settings, clusters=3)) == 1


@pytest.mark.parametrize("settings", [WARD, AVERAGE, K_MEANS])
def test_too_few_clusters_or_distinct_vectors_are_refused(settings: Clustering) -> None:
    with pytest.raises(ValueError, match="at least 2 clusters to find; got 1"):
        find_clusters(points(9, 0), settings, clusters=1)
    few = np.array([[0.0, 1], [-0.0, 1], [2, 1], [0, 1]])
    with pytest.raises(ValueError, match="3 clusters need as many distinct vectors; there are 2"):
        find_clusters(few, settings, clusters=3)


def test_distinct_vectors_are_counted_before_they_are_reduced() -> None:
    made = points(200, 0, repeats=190)
    with pytest.raises(ValueError, match="11 clusters need as many distinct vectors; there are 10"):
        cluster(made, Clustering(), clusters=11)


def test_too_few_points_for_hdbscan_are_refused() -> None:
    with pytest.raises(ValueError, match="`min_cluster_size` 5 needs as many points; got 4"):
        find_clusters(points(4, 0), HDBSCAN, clusters=2)


def test_average_linkage_says_before_that_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=39_599))
    made = points(100, 0)
    with pytest.raises(MemoryError, match=r"of 100 points needs 0\.0 GB .* Use method 'ward'"):
        find_clusters(made, AVERAGE, clusters=2)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=39_600))
    assert len(find_clusters(made, AVERAGE, clusters=2)) == 100


@pytest.mark.parametrize("settings", [WARD, AVERAGE])
def test_missing_fastcluster_is_named(monkeypatch: pytest.MonkeyPatch, settings: Clustering) -> None:
    monkeypatch.setitem(sys.modules, "fastcluster", None)
    with pytest.raises(ImportError, match=r"need fastcluster: `pip install 'bioscan-hf\[clustering\]'`"):
        find_clusters(points(9, 0), settings, clusters=2)
