import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTModel

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.benchmarks import retrieval_run
from bioscan_hf.evaluation.benchmarks.cross_modal_retrieval import METRICS
from bioscan_hf.evaluation.benchmarks.paper import HARMONIC, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import DEFAULT_PAIRS, RetrievalModel, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_run import run_retrieval
from bioscan_hf.evaluation.benchmarks.specimens import load_labelled
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import with_modalities
from bioscan_hf.evaluation.encoders.image_inputs import Preprocessing
from bioscan_hf.evaluation.encoders.images import ImageEncoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.encoders.pixels import PixelEncoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.evaluation.results import Result, read_results
from tests.evaluation.benchmarks.made_retrieval import ByTaxon, aligned_model, blank_picture, made_rows, write_photos
from tests.training.made_runs import write_table


def run(
    folder: Path, models: Sequence[RetrievalModel], source: str | Path, *pairs: str, **options: Any
) -> tuple[list[Result], list[str]]:
    said: list[str] = []
    results = run_retrieval(
        models,
        source,
        **{
            "settings": RetrievalSettings(pairs=pairs or None),
            "shown": 0,
            "cache": folder / "cache",
            "output": folder / "out",
            "command": "bioscan benchmark retrieval",
            "report": lambda task, done, total: None,
            "say": said.append,
            **options,
        },
    )
    return results, said


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_run, "accuracy_by_rank", blank_picture)


def kmers(k: int = 2) -> RetrievalModel:
    encoder = KmerCounts(k)
    return RetrievalModel(encoder.name, {"dna": encoder})


def pixels() -> RetrievalModel:
    encoder = PixelEncoder(2)
    return RetrievalModel(encoder.name, {"image": encoder})


def macro(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    return {(r.model, r.benchmark): r.value for r in results if r.metric == "macro_accuracy"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", made_rows())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "a.csv", made_rows())


def test_models_of_one_and_of_three_modalities(photos: Path, tmp_path: Path) -> None:
    results, said = run(tmp_path, [aligned_model(), kmers(), pixels()], photos, shown=2)
    counts = "4 queries of seen species, 2 queries of unseen species, 18 keys."
    assert said == [f"{name}: {counts}" for name in DEFAULT_PAIRS]
    found = macro(results)
    for pair in (("dna", "dna"), ("image", "image"), ("image", "dna"), ("image", "text"), ("joint", "dna")):
        for group in (SEEN, UNSEEN, HARMONIC):
            assert found["aligned", retrieval_name(*pair, "species", group)] == 1
    # The others are asked what they can be.
    own = {question for model, question in found if model == "2-mer counts"}
    assert {question.partition(" retrieval")[0] for question in own} == {"DNA to DNA"}
    assert found["2-mer counts", retrieval_name("dna", "dna", "species", UNSEEN)] == 1
    assert found["2x2 pixels", retrieval_name("image", "image", "species", UNSEEN)] == 1
    assert len({(r.model, r.benchmark, r.metric) for r in results}) == len(results)
    assert {r.metric for r in results} == set(METRICS)
    assert {(r.dataset, r.dataset_revision) for r in results} == {describe_anywhere(photos)}
    assert {(r.model, r.model_revision) for r in results} == {
        *(("aligned", "0123"), ("2-mer counts", None), ("2x2 pixels", None))
    }
    assert {r.split for r in results if r.benchmark.endswith(HARMONIC)} == {"test+test_unseen"}
    assert read_results(tmp_path / "out" / "results.json") == results
    pictures = {"accuracy_1.png", "accuracy_2.png", "accuracy_3.png"}
    pictures |= {"keys_1_image-image.png", "keys_1_image-dna.png", "keys_2_dna-dna.png", "keys_3_image-image.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "results.json",
        "settings.json",
        *pictures,
    }
    page = (tmp_path / "out" / "README.md").read_text()
    assert f"image-dna: {counts}" in page and "Joint: the mean of the vectors" in page and "Concat" not in page
    for heading in ("taxon of the nearest key", "per query", "among several keys"):
        assert page.count(f": {heading}\n") == len(DEFAULT_PAIRS)
    assert "CLIBD (image + DNA + text) (published) | 91.2 | 98.0 |" in page
    assert all(f"]({name})" in page for name in pictures)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]
    assert settings == {
        **{"keys": "train+key_unseen", "queries": "test", "pairs": None, "seed": 0},
        **{"limit": None, "shown": 2},
    }


def test_specimens_of_the_sample_without_image_are_left_out_where_it_is_needed(tmp_path: Path) -> None:
    model = aligned_model(noise=0.1)
    results, said = run(tmp_path, [model], "sample", "image-image", "dna-all", "text-image", limit=60)
    images, everything, texts = said
    specimens = load_labelled("sample", "train+key_unseen+test+test_unseen", image=True, limit=60, say=said.append)
    without = len(specimens) - len(with_modalities(specimens, ["image"]))
    assert 0 < without < 60 and len(specimens) == 240
    queries = "60 queries of seen species, 60 queries of unseen species"
    assert images == f"image-image: {queries}, {120 - without} keys; {without} keys without image left out."
    assert everything == f"dna-all: {queries}, 120 keys."
    assert texts == f"text-image: {queries}, {120 - without} keys; {without} keys without image left out."
    # Each image is embedded once, and only those that are there.
    encoder = model.encoders["image"]
    assert isinstance(encoder, ByTaxon) and [len(asked) for asked in encoder.asked] == [240 - without]
    count = {r.benchmark: r.count for r in results}
    assert count[retrieval_name("dna", "all", "order", HARMONIC)] == 120


def test_only_what_pairs_need_is_embedded(photos: Path, tmp_path: Path) -> None:
    model = aligned_model()
    run(tmp_path, [model], photos, "image-dna")
    rows = made_rows()
    queries = sorted(row["processid"] for row in rows if row["split"].startswith("test"))
    asked = {part: encoder.asked for part, encoder in model.encoders.items() if isinstance(encoder, ByTaxon)}
    assert asked["image"] == [queries] and asked["text"] == []
    assert asked["dna"] == [sorted(row["processid"] for row in rows if row["processid"] not in queries)]


def test_a_table_without_images(table: Path, tmp_path: Path) -> None:
    results, said = run(tmp_path, [aligned_model()], table)
    assert said[0] == f"'{table}' has no images; pairs that need them are left out." and len(said) == 2
    assert {r.benchmark.partition(" retrieval")[0] for r in results} == {"DNA to DNA"}
    with pytest.raises(ValueError, match="has no images"):
        run(tmp_path, [aligned_model()], table, "image-dna", "dna-dna")
    with pytest.raises(ValueError, match="has no images"):
        run(tmp_path, [pixels()], table)


def test_files_of_embeddings_need_no_images(table: Path, tmp_path: Path) -> None:
    rows = made_rows()
    names = [row["species"] for row in rows]
    vectors = np.eye(3, dtype=np.float32)[np.unique(names, return_inverse=True)[1]]
    for name in ("pictures", "barcodes"):
        np.savez(tmp_path / f"{name}.npz", processids=np.array([row["processid"] for row in rows]), embeddings=vectors)
    files = {"image": Precomputed(tmp_path / "pictures.npz"), "dna": Precomputed(tmp_path / "barcodes.npz")}
    results, said = run(tmp_path, [RetrievalModel("files", files)], table, "image-dna", "concat-concat", shown=2)
    assert len(said) == 2
    found = macro(results)
    assert found["files", retrieval_name("image", "dna", "species", UNSEEN)] == 1
    assert found["files", retrieval_name("concat", "concat", "species", HARMONIC)] == 1
    assert (tmp_path / "out" / "keys_1_image-dna.png").exists(), "cards, for there are no images"


def test_a_file_without_splits(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", made_rows(100, species=5, splits=False))
    results, said = run(tmp_path, [kmers()], path)
    assert said[0].startswith("The data have no splits") and said[1].startswith("Half of the barcodes")
    assert "10 queries of unseen species" in said[2]
    assert macro(results)["2-mer counts", retrieval_name("dna", "dna", "species", UNSEEN)] > 0


def test_data_without_queries_of_unseen_species(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", made_rows(40, species=2, splits=False))
    results, said = run(tmp_path, [kmers()], path)
    assert said[1] == "There are no queries of unseen species, for no specimen is of the split 'test_unseen'."
    assert {r.benchmark.rpartition(", ")[2] for r in results} == {SEEN}
    page = (tmp_path / "out" / "README.md").read_text()
    assert "Queries are of 'test' (seen species), keys of" in page and "species, unseen |" in page


def test_pairs_that_data_do_not_allow(tmp_path: Path) -> None:
    rows = made_rows()
    for row in rows:
        if row["split"] == "test_unseen":
            row["dna_barcode"] = ""
    source = write_photos(tmp_path / "photos", rows)
    results, said = run(tmp_path, [aligned_model(), kmers(), pixels()], source)
    # These two make no queries, and the aligned model is not asked to embed what is not there.
    assert "dna-dna cannot be measured: none of the 2 queries of unseen species has barcode." in said
    assert "joint-dna cannot be measured: none of the 2 queries of unseen species has image and barcode." in said
    assert not any(r.benchmark.startswith(("DNA", "joint")) for r in results)
    with pytest.raises(ValueError, match=r"dna-dna cannot be measured: none .* Choose data or splits .* `--pairs`\."):
        run(tmp_path, [aligned_model()], source, "image-image", "dna-dna")
    with pytest.raises(ValueError, match="dna-dna cannot be measured"):
        run(tmp_path, [kmers()], source)


def test_labels_that_are_missing(tmp_path: Path) -> None:
    rows = [{**row, "order": "", "genus": "", "species": ""} for row in made_rows()]
    with pytest.raises(ValueError, match=r"no query has a label \(order, family, genus, species\)"):
        run(tmp_path, [kmers()], write_table(tmp_path / "a.csv", rows))
    # Keys without labels, among which queries with labels find nothing.
    rows = [row if row["split"].startswith("test") else {**row, "species": ""} for row in made_rows()]
    results, _ = run(tmp_path, [kmers()], write_table(tmp_path / "b.csv", rows))
    assert {r.benchmark.split(", ")[1] for r in results} == {"order", "genus"}
    with pytest.raises(ValueError, match="5 keys are needed, and 4 have barcode"):
        run(tmp_path, [kmers()], write_table(tmp_path / "c.csv", made_rows()), limit=2)


def test_models_that_cannot_be_asked(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one model to measure; got none"):
        run(tmp_path, [], table)
    with pytest.raises(ValueError, match="Two models have the name '2-mer counts'"):
        run(tmp_path, [kmers(), kmers()], table)
    with pytest.raises(
        ValueError, match=r"image-dna needs one model of image and dna; '2-mer counts' embeds dna; '2x2"
    ):
        run(tmp_path, [kmers(), pixels()], table, "dna-dna", "image-dna")
    with pytest.raises(ValueError, match="'2x2 pixels' embeds image, and can do none of the pairs dna-dna"):
        run(tmp_path, [kmers(), pixels()], table, "dna-dna")
    with pytest.raises(ValueError, match="'texts' embeds text, and can do none of the pairs dna-dna, image-image"):
        run(tmp_path, [kmers(), RetrievalModel("texts", {"text": ByTaxon("t")})], table)
    assert not (tmp_path / "out").exists()


class Broken(ByTaxon):
    def embed(self, specimens: Any, *, report: Any = None) -> Any:
        vectors = super().embed(specimens)
        if self.name == "short":
            return vectors[1:]
        vectors[3:5, 0] = np.inf
        return vectors


def test_vectors_that_are_not_what_they_should_be(table: Path, tmp_path: Path) -> None:
    bad = RetrievalModel("bad", {"dna": Broken("bad")})
    with pytest.raises(ValueError, match="finite vectors of dna by 'bad'; 2 of 24 are not, the first is that of 'P03'"):
        run(tmp_path, [bad], table)
    with pytest.raises(ValueError, match="Expected 24 vectors of dna by 'short'; got 23"):
        run(tmp_path, [RetrievalModel("short", {"dna": Broken("short")})], table)
    widths = {"image": ByTaxon("a", dimension=4), "dna": ByTaxon("b", dimension=5)}
    source = write_photos(tmp_path / "photos", made_rows())
    with pytest.raises(ValueError, match="image to DNA needs embeddings of one width, in one space; got 4 of image, 5"):
        run(tmp_path, [RetrievalModel("two", widths)], source)
    results, _ = run(tmp_path, [RetrievalModel("two", widths)], source, "image-image", "dna-dna", "concat-concat")
    assert len({r.benchmark for r in results}) == 3 * 9


def test_other_queries(tmp_path: Path) -> None:
    rows = [{**row, "split": row["split"].replace("test", "val")} for row in made_rows()]
    path = write_table(tmp_path / "a.csv", rows)
    results, _ = run(tmp_path, [kmers()], path, settings=RetrievalSettings(queries="val"))
    assert {r.split for r in results} == {"val", "val_unseen", "val+val_unseen"}
    with pytest.raises(ValueError, match="and queries in 'test' and 'test_unseen'; got 18 keys and 0 queries"):
        run(tmp_path, [kmers()], path)


def test_what_models_compute_is_kept(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vit = ViTModel(
        ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=37, image_size=32),
        add_pooling_layer=False,
    ).eval()
    encoder = ImageEncoder(vit, Preprocessing(size=32), name="vit", revision="0123")
    first, _ = run(tmp_path, [RetrievalModel("vit", {"image": encoder})], photos)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(ImageEncoder, "embed", never)
    again, _ = run(tmp_path, [RetrievalModel("vit", {"image": encoder})], photos)
    assert again == first and {r.model_revision for r in first} == {"0123"}
