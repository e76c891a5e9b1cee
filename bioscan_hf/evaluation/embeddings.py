"""One embedding per specimen, from a model or from k-mer counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from bioscan_hf.tokenization.kmer import FIRST_KMER_ID, KmerEncoder


@dataclass(frozen=True)
class Embeddings:
    """Vectors of specimens.

    Attributes:
        processids: N process ids.
        vectors: float32 (N, D), each of length 1.
    """

    processids: list[str]
    vectors: NDArray[np.float32]


def embed(
    model: PreTrainedModel,
    dataset: Dataset,
    *,
    reading_frames: int = 1,
    batch_size: int = 256,
    report: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Compute one embedding per specimen with a BarcodeBERT.

    Each distinct barcode is computed once (BIOSCAN-5M holds every barcode twice on average), short ones together.

    Args:
        model: A `BarcodeBertModel`, whose `pooler_output` is the embedding.
        dataset: Needs the columns `processid` and `dna_barcode`.
        reading_frames: The embedding is the mean over this many starts: the barcode as it is, without its first letter,
            without its first two … With k of them it no longer depends on the letter at which a barcode starts, which
            differs between laboratories and shifts all k-mers.
        batch_size: Barcodes in a forward pass.
        report: Called after each batch with the number of barcodes done and of all.

    Returns:
        Process ids and L2-normalised embeddings, in the order of `dataset`.

    Raises:
        ValueError: If `dataset` is empty.
    """
    barcodes, inverse = np.unique(np.array(_barcodes(dataset), dtype=object), return_inverse=True)
    order = np.argsort([len(barcode) for barcode in barcodes], kind="stable")
    encoder = KmerEncoder(model.config.kmer_size, max_nucleotides=model.config.max_nucleotides)
    vectors = np.empty((len(barcodes), model.config.hidden_size), dtype=np.float32)
    training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = list(barcodes[chosen])
            frames = [encoder(batch, [offset] * len(batch)) for offset in range(reading_frames)]
            pooled = [
                model(torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)).pooler_output
                for ids, mask in frames
            ]
            vectors[chosen] = torch.stack(pooled).mean(dim=0).float().cpu().numpy()
            if report:
                report(min(start + batch_size, len(order)), len(order))
    model.train(training)
    return _normalised(dataset, vectors[inverse])


def kmer_counts(dataset: Dataset, *, k: int = 4) -> Embeddings:
    """Count the overlapping k-mers of each barcode: the baseline that needs no training.

    Args:
        dataset: Needs the columns `processid` and `dna_barcode`.
        k: Letters in a k-mer; the vectors have 4**k entries. k-mers with other letters than A, C, G, T do not count.

    Returns:
        Process ids and L2-normalised counts, in the order of `dataset`.

    Raises:
        ValueError: If `dataset` is empty.
    """
    encoder = KmerEncoder(k, stride=1)
    ids, _ = encoder(_barcodes(dataset))
    rows = np.arange(len(ids))[:, None] * encoder.vocab_size
    counts = np.bincount((rows + ids).ravel(), minlength=len(ids) * encoder.vocab_size)
    return _normalised(dataset, counts.reshape(len(ids), -1)[:, FIRST_KMER_ID:].astype(np.float32))


def _barcodes(dataset: Dataset) -> list[str]:
    if not len(dataset):
        raise ValueError("There are no specimens to embed.")
    return dataset["dna_barcode"][:]


def _normalised(dataset: Dataset, vectors: NDArray[np.float32]) -> Embeddings:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(dataset["processid"][:], vectors / np.maximum(lengths, np.finfo(np.float32).tiny))
