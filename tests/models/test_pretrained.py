"""The models that come with the package."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset
from safetensors import safe_open
from transformers import AutoModel, AutoProcessor

import bioscan_hf
from bioscan_hf import load_specimens, select_split
from bioscan_hf.data.multimodal import image_column_undecoded
from bioscan_hf.evaluation.benchmarks.pages import table_markdown
from bioscan_hf.evaluation.benchmarks.retrieval_tables import main_tables
from bioscan_hf.evaluation.results import read_results, results_markdown
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.identification.image_space import rows_with_images
from bioscan_hf.models.pretrained import DEFAULT_ENCODER, PACKAGED, SMALL_CLIBD, find_packaged, packaged_model
from bioscan_hf.training.probes import VALIDATION_PROBES, probe_accuracies

FOLDER, CLIBD = packaged_model(), packaged_model(SMALL_CLIBD)


@pytest.mark.parametrize("name", PACKAGED)
def test_is_small_and_no_pickle(name: str) -> None:
    folder = packaged_model(name)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".png", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 9e6
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype.is_floating_point for name in file.keys()} == {True}  # noqa: SIM118
    assert json.loads((folder / "run.json").read_text())["finished"] is True


@pytest.mark.parametrize("name", PACKAGED)
def test_card_tells_results_and_names_no_place_of_a_machine(name: str) -> None:
    folder = packaged_model(name)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"# {name}\n" in card
    for path in folder.iterdir():
        if path.suffix in (".json", ".md"):
            assert not any(place in path.read_text(encoding="utf-8") for place in ("/work", "/tmp/", "/root", "/home"))


def test_card_of_the_encoder_tells_results_data_and_labels() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    # Columns of other runs may follow.
    for row in results_markdown(read_results(FOLDER / "results.json")).splitlines():
        assert any(line.startswith(row) for line in card.splitlines())
    assert "Labels were used: order, family and genus" in card and "Barcode of Life Data System" in card


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert packaged_model() == packaged_model("barcodebert-small") and packaged_model("clibd-small").is_dir()
    assert bioscan_hf.packaged_model is packaged_model
    assert find_packaged("clibd-small") == str(CLIBD) and find_packaged("my-clibd") == "my-clibd"
    with pytest.raises(
        ValueError, match="No model 'clibd-large' comes with the package; there are barcodebert-small, c"
    ):
        packaged_model("clibd-large")
    monkeypatch.chdir(tmp_path)
    Path("clibd-small").mkdir()
    assert find_packaged("clibd-small") == "clibd-small", "a folder of the user's own goes first"


class TestEncoder:
    """barcodebert-small."""

    def test_is_the_one_that_is_used_where_none_is_named(self, sample: Dataset) -> None:
        specimens = sample.select(range(0, len(sample), 4000))
        encoder = bioscan_hf.load_encoder(DEFAULT_ENCODER)
        assert encoder.name == DEFAULT_ENCODER
        by_name = bioscan_hf.embed(DEFAULT_ENCODER, specimens).vectors
        np.testing.assert_allclose(by_name, bioscan_hf.embed(FOLDER, specimens).vectors, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(by_name, axis=1), 1, atol=1e-5)

    def test_where_a_barcode_begins_hardly_matters(self, sample: Dataset) -> None:
        barcode = sample[0]["dna_barcode"]
        other = sample[len(sample) - 1]["dna_barcode"]
        named = {"processid": ["A", "B", "C"], "dna_barcode": [barcode, barcode[7:], other]}
        whole, cut, different = bioscan_hf.embed(DEFAULT_ENCODER, Dataset.from_dict(named)).vectors
        assert whole @ cut > 0.95 > whole @ different

    def test_is_a_classifier_too(self) -> None:
        assert bioscan_hf.load_classifier(DEFAULT_ENCODER).config.ranks == ["order", "family", "genus"]

    def test_is_clearly_above_4_mer_counts_in_the_open_world(self) -> None:
        results = read_results(FOLDER / "results.json")
        ours, four, six = (r for r in results if r.benchmark == "1-NN genus, unseen species")
        assert (ours.model, four.model, six.model) == (DEFAULT_ENCODER, "4-mer counts", "6-mer counts")
        assert ours.value > four.value + 0.2 and ours.value > six.value + 0.08
        assert ours.count == four.count == six.count

    @pytest.mark.slow  # embeds 12,000 barcodes
    def test_figures_are_those_of_the_weights(self, shared: Path) -> None:
        real = shared / "data" / "real"
        specimens = load_specimens(real / "barcodes.parquet", splits=real / "suggested_splits.csv.gz")
        chosen = select_split(specimens, "train+val+val_unseen")
        model = bioscan_hf.BarcodeBertModel.from_pretrained(FOLDER).eval()
        found = probe_accuracies(model, chosen, VALIDATION_PROBES, 64)
        assert found["1nn_genus_unseen"] > 0.8 and found["1nn_species"] > 0.98


class TestClibd:
    """clibd-small, on the embedded sample, whose specimens it was trained on, of other splits."""

    def test_each_tower_is_found_by_the_name(self, sample: Dataset) -> None:
        towers = bioscan_hf.load_clibd(SMALL_CLIBD)
        assert list(towers) == ["image", "dna", "text"]
        alone = {"image": bioscan_hf.load_image_encoder(SMALL_CLIBD), "dna": bioscan_hf.load_encoder(SMALL_CLIBD)}
        specimens = sample.select(range(3))
        for name, encoder in alone.items():
            assert encoder.name == towers[name].name == SMALL_CLIBD and encoder.revision == towers[name].revision
        np.testing.assert_allclose(alone["dna"].embed(specimens), towers["dna"].embed(specimens), atol=1e-6)

    @torch.inference_mode()
    def test_is_a_model_of_transformers(self) -> None:
        model, processor = AutoModel.from_pretrained(CLIBD), AutoProcessor.from_pretrained(CLIBD)
        image = PIL.Image.new("RGB", (96, 96), "white")
        outputs = model(**processor(images=[image], dna=["ACGT" * 100], text=["Diptera Sciaridae"]))
        assert outputs.image_embeds.shape == outputs.dna_embeds.shape == outputs.text_embeds.shape == (1, 128)

    def test_card_says_that_the_specimens_are_simulated(self) -> None:
        card = (CLIBD / "README.md").read_text(encoding="utf-8")
        assert "**The specimens are simulated; nothing can be concluded about real insects.**" in card
        results = read_results(CLIBD / "results.json")
        assert {result.model for result in results} == {SMALL_CLIBD}
        for table in main_tables(results):
            lines = table_markdown(results, table._replace(published=()))
            assert lines and "\n".join(lines) in card

    def test_was_trained_on_no_specimen_that_asks_or_calibrates(self, sample: Dataset) -> None:
        run = json.loads((CLIBD / "run.json").read_text())
        assert run["arguments"]["train_split"] is None, "pretrain and train"
        # All with a photograph: the specimens of the two splits, and no others.
        trained = len(select_split(sample, "pretrain+train"))
        assert f", on {trained:,} specimens of " in (CLIBD / "README.md").read_text(encoding="utf-8")

    def test_photographs_find_their_relatives(self) -> None:
        keys, queries = with_photographs("train"), with_photographs("test")
        tower = bioscan_hf.load_image_encoder(SMALL_CLIBD)
        vectors, others = (unit_length(tower.embed(part)) for part in (queries, keys))
        found = keys.select((vectors @ others.T).argmax(axis=1))
        for rank, least in (("order", 0.92), ("family", 0.88), ("genus", 0.78), ("species", 0.6)):
            assert np.mean([one == other for one, other in zip(queries[rank], found[rank], strict=True)]) > least, rank


def with_photographs(split: str) -> Dataset:
    chosen = image_column_undecoded(select_split(load_specimens(image=True), split))
    return chosen.select(rows_with_images(chosen))
