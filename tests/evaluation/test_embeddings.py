from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertModel

from bioscan_hf import BarcodeBertForMaskedLM, KmerEncoder
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts

BARCODES = ["ACGTACGTACGTAC", "TTTGGGCCCAAA", "ACGTACGTACGTAC", "ACGNACG"]


@pytest.fixture
def specimens() -> Dataset:
    return Dataset.from_dict({"processid": list("abcd"), "dna_barcode": BARCODES})


@torch.no_grad()
def test_embeddings_equal_those_one_by_one(masked_lm: BarcodeBertForMaskedLM, specimens: Dataset) -> None:
    embeddings = embed(masked_lm.bert, specimens, batch_size=2)
    raw = embed(masked_lm, specimens, normalise=False).vectors
    assert embeddings.processids == list("abcd") and embeddings.vectors.dtype == raw.dtype == np.float32
    for i, barcode in enumerate(BARCODES):
        ids, mask = map(torch.from_numpy, KmerEncoder(3)([barcode]))
        expected = masked_lm.bert(ids, attention_mask=mask).pooler_output[0].numpy()
        np.testing.assert_allclose(raw[i], expected, atol=1e-6)
        np.testing.assert_allclose(embeddings.vectors[i], expected / np.linalg.norm(expected), atol=1e-6)


def test_encoders_models_and_names_are_taken(
    masked_lm: BarcodeBertForMaskedLM, specimens: Dataset, tmp_path: Path
) -> None:
    np.testing.assert_array_equal(embed("kmer:2", specimens).vectors, embed(KmerCounts(2), specimens).vectors)
    masked_lm.save_pretrained(tmp_path / "model")
    expected = embed(masked_lm, specimens, reading_frames=2).vectors
    np.testing.assert_array_equal(embed(tmp_path / "model", specimens, reading_frames=2).vectors, expected)
    with pytest.raises(TypeError, match=r"Options \['batch_size'\] are for a model or a name; '2-mer counts'"):
        embed(KmerCounts(2), specimens, batch_size=3)
    other = BertModel(BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(ValueError, match=r"Expected a BarcodeBERT; got a model of the type 'bert'"):
        embed(other, specimens)


def test_a_barcode_without_kmers_is_a_zero_vector_not_nan() -> None:
    specimens = Dataset.from_dict({"processid": ["a", "b"], "dna_barcode": ["NNNN", "ACGT"]})
    assert embed("kmer:2", specimens).vectors.sum(axis=1).tolist() == [0.0, pytest.approx(3 / np.sqrt(3))]


def test_nothing_to_embed_is_an_error(masked_lm: BarcodeBertForMaskedLM, specimens: Dataset) -> None:
    for encoder in ("kmer:4", masked_lm):
        with pytest.raises(ValueError, match="no specimens"):
            embed(encoder, specimens.select([]))
    with pytest.raises(ValueError, match=r"need the column 'processid'; they have \['dna_barcode'\]"):
        embed("kmer:4", specimens.remove_columns("processid"))
