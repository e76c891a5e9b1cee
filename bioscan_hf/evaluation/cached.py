"""Embeddings that are computed once, and looked up afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
from datasets import Dataset
from huggingface_hub import constants
from numpy.typing import NDArray

from bioscan_hf import __version__
from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.evaluation.bulk.run import embed_to_parquet
from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Encoder, Report, column
from bioscan_hf.evaluation.encoders.images import ImageEncoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed

# Images that are embedded before the result is kept: one to two minutes of a ViT-B on two cores.
_IMAGES_AT_A_TIME = 512


def default_cache() -> Path:
    """Folder of embeddings in the cache of Hugging Face (`HF_HOME`)."""
    return Path(constants.HF_HOME) / "bioscan_hf" / "embeddings"


def embed_cached(
    encoder: Encoder, specimens: Dataset, cache: Path | None, *, data_revision: str, report: Report | None = None
) -> NDArray[np.float32]:
    """Embed specimens, or look up what was computed for them before.

    What a model has computed is kept under a name made of all that it depends on: the model with its revision and
    settings, the specimens, and this package's version. Killed, the next call goes on where it was. K-mer counts, files
    of embeddings, and what models of barcodes without a revision compute are not kept.

    Args:
        encoder: The encoder.
        specimens: N specimens with `processid` and what the encoder needs.
        cache: Folder; None for none, and then nothing is kept.
        data_revision: Of the data, which says whether images are the same.
        report: As for `Encoder.embed`.

    Returns:
        (N, D), as the encoder gives them.

    Raises:
        ValueError: As `Encoder.embed`.
        OSError: If the cache cannot be written.
    """
    if cache is None:
        return encoder.embed(specimens, report=report)
    if isinstance(encoder, BarcodeEncoder):
        if encoder.revision is None:
            return encoder.embed(specimens, report=report)
        content = (column(specimens, "processid"), column(specimens, "dna_barcode"))
        path = cache / f"{_name(encoder, content)}.parquet"
        embed_to_parquet(encoder, specimens, path, normalise=False, report=report)
        return Precomputed(path).embed(specimens)
    if isinstance(encoder, ImageEncoder):
        content_of_images = (column(specimens, "processid"), data_revision)
        return _embed_images(encoder, specimens, cache / _name(encoder, content_of_images), report)
    return encoder.embed(specimens, report=report)


def _embed_images(
    encoder: ImageEncoder, specimens: Dataset, folder: Path, report: Report | None
) -> NDArray[np.float32]:
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(specimens), _IMAGES_AT_A_TIME):
        path = folder / f"{start:08d}.npy"
        if not path.exists():
            rows = range(start, min(start + _IMAGES_AT_A_TIME, len(specimens)))

            def within(done: int, _: int, start: int = start) -> None:
                if report:
                    report(start + done, len(specimens))

            buffer = io.BytesIO()
            np.save(buffer, encoder.embed(specimens.select(rows), report=within), allow_pickle=False)
            with whole_file(path) as file:
                file.write(buffer.getvalue())
        parts.append(np.load(path, allow_pickle=False))
    return np.concatenate(parts)


def _name(encoder: BarcodeEncoder | ImageEncoder, content: object) -> str:
    """Readable, and different for whatever gives different vectors."""
    total = hashlib.sha256(json.dumps([__version__, encoder.description, content]).encode())
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', encoder.name)}-{total.hexdigest()[:16]}"
