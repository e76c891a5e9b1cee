from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertModel, PreTrainedModel

from bioscan_hf import BarcodeBertForMaskedLM, BarcodeBertModel, KmerEncoder, build_tokenizer
from bioscan_hf.hub.push import save_model
from bioscan_hf.hub.sentence_transformers import FILES
from bioscan_hf.tokenization.kmer import tokenizer_for
from tests.hub_server.fixture import LocalHub
from tests.tiny import tiny_config, tiny_heads

library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")

# Unequal lengths: one k-mer, the longest, a rest at the end, and two that are cut.
BARCODES = ["ACG", "ACGTACGTNNGT", "TTTTACGTAA" * 66, "TTTTACGTAA" * 65 + "ACGTACGT", "TTTTACGTAA" * 66 + "CCC"]
POOLINGS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean"},
    {"attend_to_padding": True},
    {"pooling": "mean", "attend_to_padding": True, "vocabulary": "acgt_2023"},
    {"pooling": "cls", "cls_token_id": 0},
]
WITHOUT_PACKAGE = """
import sys
sys.modules["bioscan_hf"] = None  # any import of the package now fails
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], trust_remote_code=True, device="cpu")
for vector in model.encode(sys.argv[2:]):
    print(*vector)
"""


def saved(folder: Path, model: PreTrainedModel) -> Path:
    save_model(folder, model, tokenizer_for(model.config))
    return folder


def one_by_one(model: PreTrainedModel, barcodes: Sequence[str]) -> NDArray[np.float32]:
    encoder = KmerEncoder.from_config(model.config)
    with torch.no_grad():
        return np.concatenate(
            [model.base_model(*map(torch.from_numpy, encoder([barcode]))).pooler_output for barcode in barcodes]
        )


@pytest.mark.parametrize("fields", POOLINGS)
def test_vectors_are_the_pooler_output(tmp_path: Path, fields: dict[str, Any]) -> None:
    torch.manual_seed(0)
    # Weights as large as trained ones, so that a wrong mask shows.
    model = BarcodeBertModel(tiny_config(initializer_range=0.5, **fields)).eval()
    opened = library.SentenceTransformer(str(saved(tmp_path / "model", model)), device="cpu")
    vectors = opened.encode(BARCODES)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, one_by_one(model, BARCODES), atol=1e-6)
    assert opened.max_seq_length == model.config.max_tokens
    assert opened.get_embedding_dimension() == model.config.hidden_size
    assert opened.similarity_fn_name == "cosine"


@pytest.mark.parametrize("model", tiny_heads(), ids=lambda model: type(model).__name__)
def test_encoder_of_a_model_with_a_head(model: PreTrainedModel, tmp_path: Path) -> None:
    opened = library.SentenceTransformer(str(saved(tmp_path / "model", model.eval())), device="cpu")
    np.testing.assert_allclose(opened.encode(BARCODES), one_by_one(model, BARCODES), atol=1e-6)


def test_opens_without_the_package(hub: LocalHub, tmp_path: Path) -> None:
    model = BarcodeBertForMaskedLM(tiny_config()).eval()
    result = hub.run(WITHOUT_PACKAGE, tmp_path, str(saved(tmp_path / "model", model)), *BARCODES)
    vectors = [[float(value) for value in line.split()] for line in result.stdout.splitlines()]
    np.testing.assert_allclose(vectors, one_by_one(model, BARCODES), atol=1e-5)


def test_saved_again_by_sentence_transformers(tmp_path: Path) -> None:
    model = BarcodeBertModel(tiny_config(pooling="mean")).eval()
    opened = library.SentenceTransformer(str(saved(tmp_path / "model", model)), device="cpu")
    opened.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    again = library.SentenceTransformer(str(tmp_path / "again"), device="cpu")
    np.testing.assert_allclose(again.encode(BARCODES), one_by_one(model, BARCODES), atol=1e-6)


def test_barcodes_of_a_batch_are_never_joined(tmp_path: Path) -> None:
    opened = library.SentenceTransformer(str(saved(tmp_path / "model", BarcodeBertModel(tiny_config()))), device="cpu")
    # What flash attention would allow, and what would mix the barcodes in `pooler_output`.
    assert opened[0].unpad_inputs is False


def test_other_models_get_no_such_files(tmp_path: Path) -> None:
    other = BertModel(BertConfig(vocab_size=66, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    save_model(tmp_path, other, build_tokenizer(3))
    assert not {path.name for path in tmp_path.iterdir()} & set(FILES)
