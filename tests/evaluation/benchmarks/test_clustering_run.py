import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.benchmarks.clustering_run import main_tables, run_clustering
from bioscan_hf.evaluation.benchmarks.paper import clustering_name
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import (
    DNA,
    IMAGES,
    JOINT,
    METRICS,
    ClusteringSettings,
)
from bioscan_hf.evaluation.clustering.settings import Clustering
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.encoders.pixels import PixelEncoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.evaluation.results import Result, read_results
from tests.tiny import CSV

AS_THEY_ARE = Clustering(reduction="none")
NO_SPLITS = "\n".join(line.rpartition(",")[0] for line in CSV.splitlines()) + "\n"


def run(
    folder: Path,
    encoders: Mapping[str, Sequence[Encoder]],
    source: str | Path,
    settings: ClusteringSettings,
    **more: Any,
) -> tuple[list[Result], list[str]]:
    said: list[str] = []
    results = run_clustering(
        encoders,
        source,
        settings,
        cache=folder / "cache",
        output=folder / "out",
        command="bioscan benchmark clustering",
        report=lambda task, done, total: None,
        say=said.append,
        **more,
    )
    return results, said


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    return path


def test_both_modalities_of_the_sample(tmp_path: Path) -> None:
    encoders: dict[str, list[Encoder]] = {DNA: [KmerCounts(2)], IMAGES: [PixelEncoder(2)]}
    recipe = Clustering("pca", dimensions=3, method="kmeans")
    settings = ClusteringSettings(split="train+test", seeds=(0, 1), recipe=recipe)
    results, said = run(tmp_path, encoders, "sample", settings, limit=40)
    # Some of the sample's specimens have no image.
    left_out, taken = said
    assert left_out.endswith("of 80 specimens are left out: they have no dna_barcode or no image.")
    count = int(taken.split()[0])
    assert int(left_out.split()[0]) + count == 80 and taken.endswith(" species.")
    names = {r.benchmark: r.model for r in results}
    for modality, model in ((DNA, "2-mer counts"), (IMAGES, "2x2 pixels"), (JOINT, "2x2 pixels + 2-mer counts")):
        assert names[clustering_name(modality, "species")] == model
    assert {r.metric for r in results} == set(METRICS) and all(r.spread is not None for r in results)
    assert {r.split for r in results} == {"train+test"} and max(r.count for r in results) == count
    assert {(r.dataset, r.dataset_revision) for r in results} == {describe_anywhere("sample")}
    assert read_results(tmp_path / "out" / "results.json") == results
    names_of_pictures = {f"{kind}_{of}.png" for kind in ("ami", "map") for of in ("dna", "images", "images_dna")}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"README.md", "results.json", "settings.json", *names_of_pictures}
    page = (tmp_path / "out" / "README.md").read_text()
    assert "are reduced to 3 principal components; then k-means finds" in page and "Means over 2 seeds" in page
    assert all(f"]({name})" in page for name in names_of_pictures) and "HyenaDNA (published)" in page
    for modality in (DNA, IMAGES, JOINT):
        assert f"## {modality}: agreement by rank" in page
        assert f"## {modality}: agreement with species, by several measures" in page
    [first] = [r for r in results if (r.benchmark, r.metric) == (clustering_name(DNA, "species"), "ami_true_entropy")]
    assert f"{100 * first.value:.1f} ± {100 * (first.spread or 0):.1f}" in page
    assert [table.heading for table in main_tables(results)] == [
        *("DNA: agreement by rank", "images: agreement by rank", "images + DNA: agreement by rank")
    ]
    written_settings = json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]
    assert written_settings["recipe"] == asdict(recipe) and written_settings["limit"] == 40


def test_modalities_are_not_joined_if_not_asked_to(table: Path, tmp_path: Path) -> None:
    ids = ["A1", "A2", "B1", "B2", "C1", "P1"]
    made = np.array([[0, 0], [0, 1], [9, 0], [9, 1], [0, 9], [5, 5]], np.float32)
    np.savez(tmp_path / "pictures.npz", processids=np.array(ids), embeddings=made)
    # The file of embeddings needs no images, which this table does not have.
    encoders: dict[str, list[Encoder]] = {DNA: [KmerCounts(2)], IMAGES: [Precomputed(tmp_path / "pictures.npz")]}
    settings = ClusteringSettings(split="train+test+test_unseen", recipe=AS_THEY_ARE)
    for both, modalities in ((True, {DNA, IMAGES, JOINT}), (False, {DNA, IMAGES})):
        results, said = run(tmp_path, encoders, table, settings, both=both)
        assert said == ["5 specimens, 3 species."]
        assert {r.benchmark for r in results} == {
            clustering_name(modality, rank) for modality in modalities for rank in ("genus", "species")
        }
    found = {(r.benchmark, r.metric): r for r in results}
    assert found[clustering_name(IMAGES, "species"), "ari"].value == 1
    assert found[clustering_name(IMAGES, "species"), "ari"].model == "pictures"


def test_file_without_splits_is_taken_whole_and_limit_and_barcodes_choose(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(NO_SPLITS + "A3,ACGTACGTACGTACGT,Aptera,Aus,Aus bus\n")
    encoders: dict[str, list[Encoder]] = {DNA: [KmerCounts(2)], IMAGES: []}
    results, said = run(tmp_path, encoders, path, ClusteringSettings(recipe=AS_THEY_ARE))
    assert said == ["7 specimens, 3 species."] and {r.count for r in results} == {6}
    _, said = run(tmp_path, encoders, path, ClusteringSettings(recipe=AS_THEY_ARE, one_per_barcode=True))
    assert said == ["6 specimens, 3 species."]
    assert (
        "6 specimens, one per barcode, of 3 species are taken as they are; then Ward's linkage finds 3 clusters."
        in (tmp_path / "out" / "README.md").read_text()
    )
    settings = ClusteringSettings(rank="genus", recipe=AS_THEY_ARE)
    _, said = run(tmp_path, encoders, path, settings, limit=6)
    assert said == ["6 specimens, 2 genera."]


def test_what_cannot_be_clustered_is_refused(table: Path, tmp_path: Path) -> None:
    settings = ClusteringSettings(split="train+test", recipe=AS_THEY_ARE)
    with pytest.raises(ValueError, match="at least one model to measure; got none"):
        run(tmp_path, {DNA: [], IMAGES: []}, table, settings)
    with pytest.raises(ValueError, match="Two models have the name '2-mer counts'"):
        run(tmp_path, {DNA: [KmerCounts(2), KmerCounts(2)]}, table, settings)
    with pytest.raises(ValueError, match="1 of 1 have one, always the same"):
        run(tmp_path, {DNA: [KmerCounts(2)]}, table, ClusteringSettings(split="test_unseen", recipe=AS_THEY_ARE))
    np.savez(tmp_path / "b.npz", processids=np.array(["A1", "A2"]), embeddings=np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="has no embedding of 'B1', 'B2'"):
        run(tmp_path, {DNA: [Precomputed(tmp_path / "b.npz")]}, table, settings)
    with pytest.raises(ValueError, match="image"):
        run(tmp_path, {IMAGES: [PixelEncoder(2)]}, table, settings)
    assert not (tmp_path / "out").exists()
