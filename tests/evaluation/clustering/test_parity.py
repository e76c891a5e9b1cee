"""Partitions of the reference's own code, on made embeddings (see the README.md of the vectors)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from bioscan_hf.evaluation.clustering.clusters import cluster, find_clusters
from bioscan_hf.evaluation.clustering.reduction import reduce, z_score
from bioscan_hf.evaluation.clustering.settings import Clustering

PARITY = Path(__file__).parents[1] / "parity"
CASES = json.loads((PARITY / "pipeline_results.json").read_text())


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(PARITY / name) as file:
        return dict(file)


@pytest.fixture(scope="module")
def embeddings() -> dict[str, np.ndarray]:
    """Seen species first, then the unseen ones, as the reference joins its splits."""
    made = arrays("embeddings.npz")
    order = np.argsort(made["unseen"], kind="stable")
    return {name: array[order] for name, array in made.items()}


def prepared(embeddings: dict[str, np.ndarray], modalities: list[str], scaled: str) -> np.ndarray:
    """The modalities side by side, with z-scores within each split, of all, or without."""
    parts = [embeddings[modality] for modality in modalities]
    if scaled == "elementwise":
        splits = [np.flatnonzero(embeddings["unseen"] == unseen) for unseen in (False, True)]
        parts = [np.vstack([z_score(part[rows]) for rows in splits]) for part in parts]
    joint = np.hstack(parts)
    return z_score(joint) if scaled == "global" else joint


@pytest.mark.parametrize("name", CASES)
def test_equals_the_partition_of_the_reference(embeddings: dict[str, np.ndarray], name: str) -> None:
    case: dict[str, Any] = CASES[name]
    if name.startswith("imgconst"):
        embeddings = {**embeddings, "image": embeddings["image"].copy()}
        embeddings["image"][:, 7] = 1.25
    vectors = prepared(embeddings, case["modalities"], case["z_score"])
    components = case["components"]
    settings = Clustering(reduction="pca" if components else "none", dimensions=components or 50, method=case["method"])
    labels = cluster(vectors, settings, clusters=case["clusters"])
    theirs = arrays("predictions.npz")[name]
    if case["method"] in ("ward", "average"):
        assert adjusted_rand_score(theirs, labels) == 1
    else:
        assert adjusted_mutual_info_score(theirs, labels) > 0.98
    assert adjusted_mutual_info_score(embeddings["species"], labels) == pytest.approx(case["AMI"], abs=0.02)


@pytest.mark.parametrize("name", ["dna", "fused_ezs"])
def test_ward_after_umap_equals_that_of_the_reference(name: str) -> None:
    stored = arrays("umap_reduced.npz")
    labels = find_clusters(stored[f"{name}_umap"], Clustering(), clusters=36)
    assert adjusted_rand_score(stored[f"{name}_ward"], labels) == 1


def assert_as_good(embeddings: dict[str, np.ndarray], name: str, modalities: list[str], scaled: str) -> None:
    band = json.loads((PARITY / "umap_band.json").read_text())
    labels = cluster(prepared(embeddings, modalities, scaled), Clustering(), clusters=band["n_clusters"])
    score = adjusted_mutual_info_score(embeddings["species"], labels)
    assert abs(score - band[name]["mean"]) < max(4 * band[name]["std"], 0.03)


# The numbers of UMAP depend on the machine, so scores must be within those of several seeds of the reference.
# numba compiles UMAP for half a minute in every process: the quick tests have but one that runs it.
def test_umap_is_as_good_as_that_of_the_reference_and_depends_on_nothing_but_the_seed(
    embeddings: dict[str, np.ndarray], capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    assert_as_good(embeddings, "fused_ezs", ["image", "dna"], "elementwise")

    # More equal vectors than neighbours: every group is a piece of the graph.
    centres = np.random.default_rng(0).normal(size=(4, 5))
    equal = np.repeat(centres, 13, axis=0).astype(np.float32)
    settings = Clustering(dimensions=3, neighbours=10)
    points = reduce(equal, settings, seed=1)
    assert points.shape == (52, 3) and points.dtype == np.float32
    assert adjusted_rand_score(np.repeat(range(4), 13), find_clusters(points, settings, clusters=4)) == 1
    np.testing.assert_array_equal(reduce(equal, settings, seed=1), points)
    assert not np.allclose(reduce(equal, settings, seed=2), points)

    fewest = np.random.default_rng(0).normal(size=(52, 4))
    assert np.isfinite(reduce(fewest, Clustering(neighbours=5))).all()
    assert capfd.readouterr() == ("", "")
    # Python may find what earlier tests left open at any time.
    assert not [str(warning) for warning in recwarn if warning.category is not ResourceWarning]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image", "dna"])
def test_umap_of_one_modality_is_as_good_as_that_of_the_reference(embeddings: dict[str, np.ndarray], name: str) -> None:
    assert_as_good(embeddings, name, [name], "none")
