from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks import zero_shot_clustering
from bioscan_hf.evaluation.benchmarks.paper import clustering_name
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import (
    DNA,
    JOINT,
    METRICS,
    Clustered,
    ClusteringSettings,
    Task,
    joint,
    one_per_barcode,
    with_modalities,
)
from bioscan_hf.evaluation.clustering.clusters import cluster
from bioscan_hf.evaluation.clustering.settings import Clustering
from bioscan_hf.evaluation.metrics.cluster_agreement import ClusterAgreement

# Three species of four specimens each, in two genera of one order; the last specimen has no species.
SPECIES = ["Aus bus"] * 4 + ["Cus dus"] * 4 + ["Cus eus"] * 3 + [None]
GENERA = ["Aus"] * 4 + ["Cus"] * 8
GROUPS = np.repeat([0, 1, 2], 4)
AS_THEY_ARE = ClusteringSettings(recipe=Clustering(reduction="none"))


def made_specimens(**columns: list[Any]) -> Dataset:
    ranks = {**dict.fromkeys((*RANKS, "dna_bin"), [None] * 12), "order": ["Aptera"] * 12}
    return Dataset.from_dict({**ranks, "genus": GENERA, "species": SPECIES, **columns})


def made_vectors(spread: float = 0.01) -> np.ndarray:
    centres = np.array([[10, 0, 0], [0, 10, 0], [0, 0, 10]])[GROUPS]
    return (centres + spread * np.random.default_rng(0).normal(size=(12, 3))).astype(np.float32)


def by_question(measured: Iterable[Clustered]) -> dict[tuple[str, str], Clustered]:
    listed = list(measured)
    found = {(c.benchmark, c.metric): c for c in listed}
    assert len(found) == len(listed)
    return found


def test_well_separated_species_are_found() -> None:
    task = Task(made_specimens())
    assert task.classes == 3
    found = by_question(task.measure(made_vectors(), DNA, AS_THEY_ARE))
    # The order is the same for all, and there are no other ranks or BINs: nothing to compare with.
    assert {name for name, _ in found} == {clustering_name(DNA, "species"), clustering_name(DNA, "genus")}
    for metric in METRICS:
        species = found[clustering_name(DNA, "species"), metric]
        assert species.value == pytest.approx(0 if metric == "noise" else 1) and species.spread is None
        assert species.count == 11
    # Both species of Cus have a cluster of their own: pure, but not complete.
    genus = {metric: found[clustering_name(DNA, "genus"), metric] for metric in METRICS}
    assert (genus["purity"].value, genus["purity"].count) == (1, 12) and genus["homogeneity"].value == pytest.approx(1)
    # H(genus) / H(cluster), each of the three clusters having a third of the specimens
    assert genus["completeness"].value == pytest.approx((np.log(3) - 2 / 3 * np.log(2)) / np.log(3))
    assert genus["ami_true_entropy"].value == pytest.approx(1) and genus["ami_arithmetic"].value < 0.9


def test_values_are_means_over_seeds_with_their_deviation() -> None:
    vectors = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
    recipe = Clustering(reduction="none", method="kmeans")
    settings = ClusteringSettings(seeds=(0, 1, 2, 3), recipe=recipe)
    task = Task(made_specimens())
    found = by_question(task.measure(vectors, JOINT, settings))[clustering_name(JOINT, "species"), "ari"]
    labels = [0] * 4 + [1] * 4 + [2] * 3 + [-1]
    scores = [
        ClusterAgreement().compute(predictions=cluster(vectors, recipe, clusters=3, seed=seed), references=labels)[
            "ari"
        ]
        for seed in range(4)
    ]
    assert len(set(scores)) > 1
    assert found.value == pytest.approx(np.mean(scores)) and found.spread == pytest.approx(np.std(scores, ddof=1))


def test_noise_is_a_share_of_the_specimens_and_hdbscan_counts_its_clusters_itself() -> None:
    vectors = made_vectors()
    vectors[3] = [-50, 0, 0]
    settings = ClusteringSettings(recipe=Clustering(reduction="none", method="hdbscan", min_cluster_size=3))
    found = by_question(Task(made_specimens()).measure(vectors, DNA, settings))
    assert found[clustering_name(DNA, "genus"), "noise"].value == pytest.approx(1 / 12)
    assert found[clustering_name(DNA, "species"), "homogeneity"].value == pytest.approx(1)


def test_bins_are_compared_with() -> None:
    bins = ["B1", "B1", "B2", "B2", *["B3"] * 8]
    found = by_question(Task(made_specimens(dna_bin=bins)).measure(made_vectors(), DNA, AS_THEY_ARE))
    assert 0 < found[clustering_name(DNA, "dna_bin"), "ami_arithmetic"].value < 1


def test_as_many_clusters_as_labels_of_the_rank() -> None:
    task = Task(made_specimens(), "genus")
    assert task.classes == 2
    settings = ClusteringSettings(rank="genus", recipe=Clustering(reduction="none"))
    assert settings.named_rank == "genera"
    vectors = made_vectors()
    vectors[8:] += [0, 8, -8]  # Cus eus beside Cus dus
    found = by_question(task.measure(vectors, DNA, settings))
    assert found[clustering_name(DNA, "genus"), "ari"].value == 1
    assert found[clustering_name(DNA, "species"), "completeness"].value == pytest.approx(1)
    assert found[clustering_name(DNA, "species"), "homogeneity"].value < 0.9


@pytest.mark.parametrize(
    ("species", "message"),
    [
        ([None] * 12, r"two different labels of the rank species; 0 of 12 have one\. Choose a labelled `--split`"),
        (["Aus bus"] * 3 + [None] * 9, r"3 of 12 have one, always the same\. Choose a labelled `--split`"),
    ],
)
def test_specimens_without_labels_of_the_rank_are_refused(species: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(made_specimens(species=species))


def test_vectors_that_cannot_be_clustered_are_refused() -> None:
    task, bad = Task(made_specimens()), made_vectors()
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 12 vectors hold NaN or infinite values, the first in row 4"):
        list(task.measure(bad, DNA, AS_THEY_ARE))
    with pytest.raises(ValueError, match="3 clusters need as many distinct vectors; there are 2"):
        list(task.measure(np.repeat(np.eye(2, dtype=np.float32), 6, axis=0), DNA, AS_THEY_ARE))
    with pytest.raises(ValueError, match="each of the 12 specimens; got 11"):
        list(task.measure(made_vectors()[1:], DNA, AS_THEY_ARE))
    with pytest.raises(ValueError, match="at least one seed; got none"):
        ClusteringSettings(seeds=())
    with pytest.raises(ValueError, match="as the rank; got 'phylum'"):
        ClusteringSettings(rank="phylum")


def test_features_of_both_modalities_count_alike() -> None:
    images = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    barcodes = np.array([[0.0], [1000.0]], np.float32)
    assert joint(images, barcodes).tolist() == [[-1, 0, -1], [1, 0, 1]]


def test_one_specimen_of_each_barcode_is_drawn() -> None:
    long = "ACGT" * 165
    barcodes = ["AC", "ACNN", "ACG", "AC", long, long + "TT", long[:-1] + "A", "NAC", "ACG", "A", "AC", "ACN"]
    groups = [0, 0, 1, 0, 2, 2, 3, 4, 1, 5, 0, 0]
    specimens = Dataset.from_dict({"dna_barcode": barcodes})
    chosen = {seed: one_per_barcode(specimens, seed=seed).tolist() for seed in range(20)}
    for rows in chosen.values():
        assert rows == sorted(rows) and sorted(groups[row] for row in rows) == list(range(6))
    assert one_per_barcode(specimens).tolist() == chosen[0]
    # Each of the five that share a barcode has its turn.
    assert {row for rows in chosen.values() for row in rows if groups[row] == 0} == {0, 1, 3, 10, 11}


def test_specimens_with_all_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_shot_clustering, "_ROWS_AT_A_TIME", 2)
    specimens = Dataset.from_dict({"image": ["a", None, "b", "c", None], "dna_barcode": ["A", "C", None, "G", None]})
    assert with_modalities(specimens, ["image"]).tolist() == [0, 2, 3]
    assert with_modalities(specimens, ["image", "dna_barcode"]).tolist() == [0, 3]
    assert with_modalities(specimens.select([4, 3, 2]), ["image"]).tolist() == [1, 2]
    assert with_modalities(specimens, []).tolist() == [0, 1, 2, 3, 4]
