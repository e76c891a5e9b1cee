import numpy as np
import pytest
import torch
from datasets import Dataset

from bioscan_hf import BarcodeBertForMaskedLM, KmerEncoder
from bioscan_hf.evaluation.embeddings import embed, kmer_counts

BARCODES = ["ACGTACGTACGTAC", "TTTGGGCCCAAA", "ACGTACGTACGTAC", "ACGNACG"]


@pytest.fixture
def dataset() -> Dataset:
    return Dataset.from_dict({"processid": list("abcd"), "dna_barcode": BARCODES})


@torch.no_grad()
def test_embeddings_equal_those_one_by_one(masked_lm: BarcodeBertForMaskedLM, dataset: Dataset) -> None:
    embeddings = embed(masked_lm.bert, dataset, batch_size=2)
    assert embeddings.processids == list("abcd") and embeddings.vectors.dtype == np.float32
    for barcode, vector in zip(BARCODES, embeddings.vectors, strict=True):
        ids, mask = map(torch.from_numpy, KmerEncoder(3)([barcode]))
        expected = masked_lm.bert(ids, attention_mask=mask).pooler_output[0].numpy()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


@torch.no_grad()
def test_reading_frames_are_averaged(masked_lm: BarcodeBertForMaskedLM, dataset: Dataset) -> None:
    vectors = embed(masked_lm.bert, dataset, reading_frames=3).vectors
    frames = []
    for offset in range(3):
        ids, mask = map(torch.from_numpy, KmerEncoder(3)([BARCODES[1][offset:]]))
        frames.append(masked_lm.bert(ids, attention_mask=mask).pooler_output[0].numpy())
    expected = np.mean(frames, axis=0)
    np.testing.assert_allclose(vectors[1], expected / np.linalg.norm(expected), atol=1e-6)


def test_each_distinct_barcode_is_computed_once(masked_lm: BarcodeBertForMaskedLM, dataset: Dataset) -> None:
    done: list[tuple[int, int]] = []
    masked_lm.train()
    embed(masked_lm.bert, dataset, batch_size=2, report=lambda *counts: done.append(counts))
    assert done == [(2, 3), (3, 3)]
    assert masked_lm.bert.training, "the mode of the model is given back"


def test_kmer_counts_equal_a_count_by_hand(dataset: Dataset) -> None:
    vectors = kmer_counts(dataset, k=2).vectors
    kmers = [a + b for a in "ACGT" for b in "ACGT"]
    for barcode, vector in zip(BARCODES, vectors, strict=True):
        counts = np.array([sum(barcode[i : i + 2] == kmer for i in range(len(barcode))) for kmer in kmers], float)
        np.testing.assert_allclose(vector, counts / np.linalg.norm(counts), rtol=1e-6)


def test_nothing_to_embed_is_an_error(masked_lm: BarcodeBertForMaskedLM, dataset: Dataset) -> None:
    empty = dataset.select([])
    for embedder in (kmer_counts, lambda data: embed(masked_lm.bert, data)):
        with pytest.raises(ValueError, match="no specimens"):
            embedder(empty)
