from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertModel, PreTrainedModel, pipeline
from transformers.pipelines.pt_utils import KeyDataset

import bioscan_hf
from bioscan_hf import BarcodeBertForMaskedLM, BarcodeBertModel, build_tokenizer
from bioscan_hf.evaluation import pipeline as pipeline_module
from bioscan_hf.tokenization.kmer import tokenizer_for
from tests.hub_server.fixture import LocalHub
from tests.tiny import tiny_config

TASK: Any = "barcode-embedding"  # a name that the types of transformers do not know
BARCODES = ["ACG", "ACGTACGTNNGT", "TTTTACGTA" * 73 + "TTTT", "TTTTACGTA" * 100]
"""One k-mer, with N, and two that are cut to 660 letters."""


def by_hand(model: PreTrainedModel, barcode: str) -> np.ndarray:
    ids, mask = bioscan_hf.KmerEncoder.from_config(model.config)([barcode])
    with torch.no_grad():
        return model(torch.from_numpy(ids), torch.from_numpy(mask)).pooler_output[0].numpy()


def embedder(model: PreTrainedModel, **options: Any) -> Any:
    options = {"tokenizer": tokenizer_for(model.config), "device": "cpu", **options}
    return pipeline(TASK, model=model, **options)


@pytest.fixture(scope="module")
def model() -> BarcodeBertModel:
    torch.manual_seed(0)
    # As large as trained weights, so that a wrong mask shows.
    return BarcodeBertModel(tiny_config(initializer_range=0.5)).eval()


@pytest.fixture
def folder(model: BarcodeBertModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    tokenizer_for(model.config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("batch_size", [1, 3])
def test_vectors_are_the_pooler_output(model: BarcodeBertModel, folder: Path, batch_size: int) -> None:
    embed = pipeline(TASK, model=str(folder), device="cpu")
    vectors = embed(BARCODES, batch_size=batch_size)
    assert isinstance(vectors, list) and len(vectors) == len(BARCODES)
    for barcode, vector in zip(BARCODES, vectors, strict=True):
        assert vector.shape == (16,) and vector.dtype == np.float32
        np.testing.assert_allclose(vector, by_hand(model, barcode), atol=1e-6)
        np.testing.assert_allclose(vector, embed(barcode), atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"pooling": "mean"},
        {"pooling": "mean", "attend_to_padding": True, "vocabulary": "acgt_2023"},
        {"pooling": "cls", "cls_token_id": 0},
        {"vocabulary": "acgnt"},
    ],
)
def test_every_pooling_and_vocabulary(fields: dict[str, Any]) -> None:
    torch.manual_seed(0)
    other = BarcodeBertModel(tiny_config(initializer_range=0.5, **fields)).eval()
    for barcode, vector in zip(BARCODES, embedder(other)(BARCODES, batch_size=4), strict=True):
        np.testing.assert_allclose(vector, by_hand(other, barcode), atol=1e-6)


def test_normalised_vectors(model: BarcodeBertModel) -> None:
    plain, unit = embedder(model)("ACGTTT"), embedder(model, normalise=True)("ACGTTT")
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain), atol=1e-6)
    assert not np.allclose(plain, unit)
    np.testing.assert_array_equal(embedder(model, normalise=True)("ACGTTT", normalise=False), plain)


def test_barcodes_are_cleaned(model: BarcodeBertModel) -> None:
    embed = embedder(model)
    np.testing.assert_array_equal(embed(" acg-uac\ngt"), embed("ACGTACGT"))


def test_tables_generators_and_datasets(model: BarcodeBertModel) -> None:
    embed = embedder(model)
    expected = embed(BARCODES)
    specimens = Dataset.from_dict({"dna_barcode": BARCODES})
    for inputs in (tuple(BARCODES), np.array(BARCODES), specimens["dna_barcode"]):
        vectors = embed(inputs)
        assert isinstance(vectors, list)
        np.testing.assert_array_equal(vectors, expected)

    asked_for = 0

    def count() -> Iterator[str]:
        nonlocal asked_for
        for barcode in BARCODES:
            asked_for += 1
            yield barcode

    for inputs in (count(), KeyDataset(specimens, "dna_barcode")):
        stream = embed(inputs, batch_size=2)
        assert asked_for in (1, len(BARCODES))  # transformers looks at the first
        np.testing.assert_allclose(list(stream), expected, atol=1e-6)
    assert embed([]) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing"),
        (3.5, "the number 3.5"),
        ("", "empty"),
        ("AC", "at least 3"),
        ("MKWLFTSNHKDIGTLYFIFGAWAGM", "protein"),
        ({"dna_barcode": "ACGT"}, "got dict"),
    ],
)
def test_what_is_no_barcode_is_refused_with_its_place(model: BarcodeBertModel, value: object, reason: str) -> None:
    embed = embedder(model)
    with pytest.raises(ValueError, match=f"The input cannot be embedded: .*{reason}"):
        embed(value)
    for inputs in (["ACGT", value], (one for one in ("ACGT", value))):
        with pytest.raises(ValueError, match=f"Input 1 cannot be embedded: .*{reason}"):
            list(embed(inputs))


def test_encoder_of_a_model_with_a_head_without_dropout(masked_lm: BarcodeBertForMaskedLM) -> None:
    expected = by_hand(masked_lm.bert, "ACGTTT")
    np.testing.assert_allclose(embedder(masked_lm.train())("ACGTTT"), expected, atol=1e-6)


def test_half_precision_gives_float32(model: BarcodeBertModel, folder: Path) -> None:
    embed = pipeline(TASK, model=str(folder), dtype=torch.bfloat16, device="cpu")
    vector = embed("ACGTTT")
    assert embed.model.dtype == torch.bfloat16 and vector.dtype == np.float32
    np.testing.assert_allclose(vector, by_hand(model, "ACGTTT"), atol=0.05)


def test_other_tokenizer_is_refused(model: BarcodeBertModel) -> None:
    for other in (
        build_tokenizer(2),  # 'AAA' is the first k-mer for it, too
        build_tokenizer(4),
        build_tokenizer(3, vocabulary="acgt_2023"),
        build_tokenizer(3, vocabulary="acgt_then_n"),
        build_tokenizer(3, cls_token_id=0),
    ):
        with pytest.raises(ValueError, match=r"k = 3 \(66 tokens.*tokenizer_for"):
            embedder(model, tokenizer=other)
    with pytest.raises(ValueError, match="give `tokenizer="):
        pipeline_module.BarcodeEmbeddingPipeline(model=model, device="cpu")


def test_other_model_is_refused() -> None:
    bert = BertModel(BertConfig(vocab_size=66, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(ValueError, match="needs a BarcodeBERT; got a model of type 'bert'"):
        pipeline_module.BarcodeEmbeddingPipeline(model=bert, tokenizer=build_tokenizer(3), device="cpu")


def test_saved_pipeline_loads_without_trust(model: BarcodeBertModel, tmp_path: Path) -> None:
    embedder(model).save_pretrained(tmp_path / "saved")
    assert "custom_pipelines" not in (tmp_path / "saved" / "config.json").read_text()
    vector = pipeline(TASK, model=str(tmp_path / "saved"), device="cpu")("ACGTTT")
    np.testing.assert_allclose(vector, by_hand(model, "ACGTTT"), atol=1e-6)


def test_model_on_the_hub_needs_no_more_than_the_import(
    hub: LocalHub, model: BarcodeBertModel, folder: Path, tmp_path: Path
) -> None:
    hub.api().create_repo("bioscan-ml/tiny-pipeline")
    hub.api().upload_folder(repo_id="bioscan-ml/tiny-pipeline", folder_path=folder)
    source = """
    import bioscan_hf
    from transformers import pipeline
    print(*pipeline("barcode-embedding", model="bioscan-ml/tiny-pipeline", device="cpu")("ACGTTT"))
    """
    home = tmp_path / "home"
    home.mkdir()
    (line,) = hub.run(source, home, token=False).stdout.splitlines()
    np.testing.assert_allclose([float(value) for value in line.split()], by_hand(model, "ACGTTT"), atol=1e-5)
