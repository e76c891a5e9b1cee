from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from bioscan_hf import (
    BarcodeBertEncoder,
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    BarcodeBertModel,
    KmerEncoder,
    load_encoder,
)
from bioscan_hf.hub.push import save_model
from bioscan_hf.tokenization.kmer import build_tokenizer
from bioscan_hf.training.whitening import whiten, whiten_folder, whitening
from tests.tiny import TAXONOMY, tiny_config

RNG = np.random.default_rng(0)
BARCODES = ["".join(RNG.choice(list("ACGT"), size=60)) for _ in range(40)]
HEADS: dict[type, dict[str, Any]] = {
    BarcodeBertForSequenceClassification: {"num_labels": 7},
    BarcodeBertForTaxonomicClassification: TAXONOMY,
}


def vectors(spread: float = 3.0) -> np.ndarray:
    return (RNG.normal(size=(500, 4)) * [1, 1, 1, spread] @ RNG.normal(size=(4, 4)) + 5).astype(np.float32)


def mapped(given: np.ndarray, power: float) -> np.ndarray:
    weight, bias = whitening(given, power)
    return given @ weight.T + bias


def test_full_whitening_gives_the_unit_covariance() -> None:
    white = mapped(vectors(), 1.0)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=1e-4)


def test_half_whitening_takes_the_root_of_the_standard_deviations() -> None:
    given = vectors()
    before, after = np.linalg.eigvalsh(np.cov(given.T)), np.diag(np.cov(mapped(given, 0.5).T))
    np.testing.assert_allclose(np.sort(after), np.sqrt(before), rtol=1e-3)


def test_power_of_zero_turns_and_centres() -> None:
    given = vectors()
    distances = np.linalg.norm(given[0] - given, axis=1)
    turned = mapped(given, 0.0)
    np.testing.assert_allclose(np.linalg.norm(turned[0] - turned, axis=1), distances, rtol=1e-3)
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-4)


def test_direction_without_variance_is_not_blown_up() -> None:
    given = vectors() * [1, 1, 1, 0]
    assert np.abs(mapped(given, 1.0)).max() < 100


@pytest.mark.parametrize("given", [np.ones((5, 3), np.float32), np.ones((1, 3), np.float32)])
def test_embeddings_without_variance_are_refused(given: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needs embeddings that differ"):
        whitening(given, 0.5)


@pytest.mark.parametrize("cls", HEADS)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_classifier_says_the_same_and_the_embedding_is_white(cls: Any, norm: str) -> None:
    torch.manual_seed(0)
    model = cls(tiny_config(embedding_norm=norm, initializer_range=0.3, **HEADS[cls])).eval()
    if norm == "batch":
        model.bert.embedding_norm.running_mean.normal_()
        model.bert.embedding_norm.running_var.uniform_(0.5, 2)
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(BARCODES))
    with torch.no_grad():
        before = model(ids, attention_mask=mask).logits
        whiten(model, BARCODES, 1.0)
        after = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)
    assert model.config.embedding_norm == "linear"
    assert is_white(BarcodeBertEncoder(model).encode(BARCODES))


def is_white(found: np.ndarray) -> bool:
    """Whether all variances are 1 but that of one direction: what leaves a fresh LayerNorm adds up to zero."""
    return np.allclose(np.linalg.eigvalsh(np.cov(found.T))[1:], 1, atol=1e-2)


def test_folder_is_whitened_and_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BarcodeBertForMaskedLM(tiny_config(initializer_range=0.3)).eval()
    save_model(tmp_path, model, build_tokenizer(3))
    examples = Dataset.from_dict({"dna_barcode": BARCODES})
    whiten_folder(tmp_path, BarcodeBertForMaskedLM, examples, 1.0)
    assert is_white(load_encoder(tmp_path, device="cpu").encode(BARCODES))  # type: ignore[attr-defined]
    again = BarcodeBertForMaskedLM.from_pretrained(tmp_path).eval()
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(BARCODES))
    with torch.no_grad():
        torch.testing.assert_close(again(ids, attention_mask=mask).logits, model(ids, attention_mask=mask).logits)


def test_batch_norm_of_the_embedding_is_saved_and_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BarcodeBertModel(tiny_config(embedding_norm="batch", hidden_dropout_prob=0.0))
    ids, mask = map(torch.from_numpy, KmerEncoder(3)(BARCODES))
    for _ in range(60):
        model(ids, attention_mask=mask)
    model.eval().save_pretrained(tmp_path)
    again = BarcodeBertModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        together = again(ids, attention_mask=mask).pooler_output
        alone = again(ids[:1], attention_mask=mask[:1]).pooler_output
    torch.testing.assert_close(alone[0], together[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.mean(dim=0), torch.zeros(16), atol=0.2, rtol=0)
    assert 0.5 < together.var() < 2
