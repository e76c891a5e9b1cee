"""The encoder that comes with the package."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from safetensors import safe_open

import bioscan_hf
from bioscan_hf.evaluation.results import read_results, results_markdown
from bioscan_hf.models.pretrained import DEFAULT_ENCODER, packaged_encoder
from bioscan_hf.training.probes import VALIDATION_PROBES, probe_accuracies

FOLDER = packaged_encoder()
ROOT = Path(__file__).parents[2]


def test_is_small_and_no_pickle() -> None:
    assert {path.suffix for path in FOLDER.iterdir()} == {".json", ".md", ".png", ".safetensors"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype.is_floating_point for name in file.keys()} == {True}  # noqa: SIM118


def test_is_the_encoder_that_is_used_where_none_is_named(sample: Dataset) -> None:
    specimens = sample.select(range(0, len(sample), 4000))
    encoder = bioscan_hf.load_encoder(DEFAULT_ENCODER)
    assert encoder.name == DEFAULT_ENCODER
    by_name = bioscan_hf.embed(DEFAULT_ENCODER, specimens).vectors
    np.testing.assert_allclose(by_name, bioscan_hf.embed(FOLDER, specimens).vectors, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(by_name, axis=1), 1, atol=1e-5)


def test_where_a_barcode_begins_hardly_matters(sample: Dataset) -> None:
    barcode = sample[0]["dna_barcode"]
    other = sample[len(sample) - 1]["dna_barcode"]
    named = {"processid": ["A", "B", "C"], "dna_barcode": [barcode, barcode[7:], other]}
    whole, cut, different = bioscan_hf.embed(DEFAULT_ENCODER, Dataset.from_dict(named)).vectors
    assert whole @ cut > 0.95 > whole @ different


def test_card_tells_results_data_and_labels() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    # Columns of other runs may follow.
    for row in results_markdown(read_results(FOLDER / "results.json")).splitlines():
        assert any(line.startswith(row) for line in card.splitlines())
    assert "Labels were used: order, family and genus" in card and "Barcode of Life Data System" in card
    assert f"# {DEFAULT_ENCODER}\n" in card and "/work" not in card


def test_is_clearly_above_4_mer_counts_in_the_open_world() -> None:
    results = read_results(FOLDER / "results.json")
    ours, four, six = (r for r in results if r.benchmark == "1-NN genus, unseen species")
    assert (ours.model, four.model, six.model) == (DEFAULT_ENCODER, "4-mer counts", "6-mer counts")
    assert ours.value > four.value + 0.2 and ours.value > six.value + 0.08 and ours.count == four.count == six.count
    assert json.loads((FOLDER / "run.json").read_text())["finished"] is True


@pytest.mark.slow  # embeds 12,000 barcodes
def test_figures_are_those_of_the_weights(shared: Path) -> None:
    real = shared / "data" / "real"
    specimens = bioscan_hf.load_specimens(real / "barcodes.parquet", splits=real / "suggested_splits.csv.gz")
    chosen = bioscan_hf.select_split(specimens, "train+val+val_unseen")
    model = bioscan_hf.BarcodeBertModel.from_pretrained(FOLDER).eval()
    found = probe_accuracies(model, chosen, VALIDATION_PROBES, 64)
    assert found["1nn_genus_unseen"] > 0.8 and found["1nn_species"] > 0.98
