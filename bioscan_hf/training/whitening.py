"""Whitening: the last step of an encoder, computed once from the embeddings of the specimens it was trained on.

Embeddings of a transformer have most of their variance in few directions, which then decide who is near to whom (Su et
al. 2021, arXiv 2103.15316). No labels are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
from bioscan_hf.hub.push import save_model

# More do not change the statistics of some hundred dimensions.
_MAX_SPECIMENS = 20_000
# Relative to the largest variance: directions with less have hardly any information, and are not blown up.
_SMALLEST = 1e-6


def whitening(vectors: NDArray[np.float32], power: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A linear map that makes the variances of vectors more alike.

    Args:
        vectors: (N, D).
        power: 0 only centres and turns them; with 1 all principal components have variance 1 afterwards, and with 0.5
            the standard deviation is the square root of what it was.

    Returns:
        Weight (D, D) and bias (D,): `weight @ vector + bias`.

    Raises:
        ValueError: If there are fewer than 2 vectors, or all are the same.
    """
    if len(vectors) < 2 or not vectors.var(axis=0).any():
        raise ValueError(f"Whitening needs embeddings that differ; got {len(vectors)} without any variance.")
    mean = vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(vectors.T, dtype=np.float64))
    scale = np.maximum(variances, _SMALLEST * variances[-1]) ** (-power / 2)
    weight = directions.T * scale[:, None]
    return weight, -weight @ mean


def whiten(model: PreTrainedModel, barcodes: list[str], power: float) -> None:
    """Let a BarcodeBERT whiten its embeddings; a classifier on top of it says the same as before.

    Args:
        model: With any head.
        barcodes: Whose embeddings count.
        power: See `whitening`.
    """
    encoder: Any = model.base_model
    weight, bias = whitening(BarcodeBertEncoder(model).encode(barcodes), power)
    new = nn.Linear(len(bias), len(bias))
    with torch.no_grad():
        head = getattr(model, "score", None)
        if head is not None:
            # The head is to read what the map was made of: z = weight**-1 (y - bias).
            inverse = np.linalg.inv(weight)
            own = head.weight.double().numpy()
            head.bias += torch.from_numpy(own @ inverse @ -bias).to(head.bias)
            head.weight.copy_(torch.from_numpy(own @ inverse))
        # What was done to the pooled states so far is affine, too: the images of zero and of the unit vectors tell it.
        images = encoder.embedding_norm(torch.cat([torch.zeros(1, len(bias)), torch.eye(len(bias))])).double().numpy()
        weight, bias = weight @ (images[1:] - images[0]).T, weight @ images[0] + bias
        new.weight.copy_(torch.from_numpy(weight))
        new.bias.copy_(torch.from_numpy(bias))
    encoder.embedding_norm = new
    model.config.embedding_norm = "linear"


def whiten_folder(folder: Path, model_class: type[PreTrainedModel], examples: Dataset, power: float) -> None:
    """Whiten the embeddings of the model in a folder.

    Args:
        folder: Of a whole model; its files are written anew.
        model_class: Its class.
        examples: Specimens that it was trained on, with `dna_barcode`; of many, some are drawn, the same each time.
        power: See `whitening`.
    """
    model = model_class.from_pretrained(folder).eval()
    rows = np.random.default_rng(0).permutation(len(examples))[:_MAX_SPECIMENS]
    whiten(model, examples.select(np.sort(rows))["dna_barcode"][:], power)
    save_model(folder, model, AutoTokenizer.from_pretrained(folder))
