"""One embedding per specimen, from whatever encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
from bioscan_hf.evaluation.encoders.base import Encoder, Report, column
from bioscan_hf.evaluation.encoders.loading import load_encoder
from bioscan_hf.evaluation.unit_length import unit_length


@dataclass(frozen=True)
class Embeddings:
    """Vectors of specimens.

    Attributes:
        processids: N process ids.
        vectors: float32 (N, D), each of length 1 unless it was said otherwise, or zero.
    """

    processids: list[str]
    vectors: NDArray[np.float32]


def embed(
    encoder: Encoder | PreTrainedModel | str | Path,
    specimens: Dataset,
    *,
    normalise: bool = True,
    report: Report | None = None,
    **options: Any,
) -> Embeddings:
    """Compute one embedding per specimen.

    Args:
        encoder: An encoder; a BarcodeBERT, which becomes a `BarcodeBertEncoder`; or what `load_encoder` loads: a
            folder, a Hub repository, a file of embeddings, `kmer:4`.
        specimens: N specimens with the column `processid` and what the encoder needs, mostly `dna_barcode`.
        normalise: Whether vectors get length 1.
        report: Called with what is done and what there is in all, in distinct barcodes for most encoders.
        **options: For `BarcodeBertEncoder` or `load_encoder`: `precision`, `reading_frames`, `batch_size`, `device` ...

    Returns:
        Process ids and vectors, in the order of `specimens`.

    Raises:
        TypeError: If options are given with an encoder that is made already.
        ValueError: If there are no specimens, a barcode is bad, or an option is out of range; see `load_encoder` and
            `BarcodeEncoder.embed`.
        OSError: If an encoder cannot be loaded.

    >>> from bioscan_hf import load_specimens
    >>> specimens = load_specimens().select(range(3))
    >>> embed("kmer:2", specimens).vectors.shape
    (3, 16)
    """
    if not len(specimens):
        raise ValueError("There are no specimens to embed.")
    processids = column(specimens, "processid")
    if isinstance(encoder, str | Path):
        encoder = load_encoder(encoder, **options)
    elif isinstance(encoder, PreTrainedModel):
        encoder = BarcodeBertEncoder(encoder, **options)
    elif options:
        raise TypeError(f"Options {sorted(options)} are for a model or a name; {encoder.name!r} is an encoder already.")
    vectors = encoder.embed(specimens, report=report)
    return Embeddings(processids, unit_length(vectors) if normalise else vectors)
