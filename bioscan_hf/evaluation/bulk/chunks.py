"""Chunks of a bulk embedding: files that appear whole, and whose names tell whether they are as they were written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.evaluation.bulk.plan import Plan

if TYPE_CHECKING:
    from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report


def write_chunk(plan: Plan, encoder: BarcodeEncoder, number: int, *, report: Report | None = None) -> int:
    """Compute a chunk, unless it is there.

    Every way to embed in bulk calls this function, in any order and in any number of processes.

    Args:
        plan: The plan, whose specimens are written.
        encoder: The encoder that the plan was made for.
        number: Number of the chunk.
        report: Called with the number of barcodes of the chunk that are done and of all.

    Returns:
        Number of barcodes that were computed; 0 if the chunk was there.

    Raises:
        ValueError: If the encoder is another one, or gives what is no embedding.
        OSError: If the chunk cannot be written.
    """
    if find_chunk(plan, number) is not None:
        return 0
    batch = plan.chunk(number)
    vectors = encoder.encode(batch["dna_barcode"].to_pylist(), report=report)
    if vectors.shape != (len(batch), plan.dimension):
        raise ValueError(
            f"The encoder gave embeddings of the shape {vectors.shape} for {len(batch)} barcodes; expected "
            f"{(len(batch), plan.dimension)}."
        )
    if plan.normalise:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    with np.errstate(over="ignore"):
        vectors = vectors.astype(plan.dtype)
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        processid = batch["processid"][int(np.argmin(finite))].as_py()
        raise ValueError(
            f"The embedding of the barcode of {processid!r} is not finite in {plan.dtype}; look at the weights of the "
            "model, or take float32."
        )
    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    with whole_file(plan.folder / f"{number:05d}-{_digest(plan, content.getvalue())}.npy") as file:
        file.write(content.getvalue())
    return len(batch)


def find_chunk(plan: Plan, number: int) -> Path | None:
    """Path of a finished chunk, an array (barcodes, D) of the plan's type; None if it is not there, or damaged."""
    for path in plan.folder.glob(f"{number:05d}-*.npy"):
        if path.stem == f"{number:05d}-{_digest(plan, path.read_bytes())}":
            return path
    return None


def find_chunks(plan: Plan) -> list[Path]:
    """Paths of all chunks.

    Raises:
        ValueError: If one is not there, or damaged.
    """
    found = [find_chunk(plan, number) for number in range(plan.chunks)]
    paths = [path for path in found if path is not None]
    if len(paths) < len(found):
        raise ValueError(
            f"{found.count(None):,} of {plan.chunks:,} chunks of '{plan.output}' are missing, such as number "
            f"{found.index(None)}; run the same command again, which computes these alone."
        )
    return paths


def count_barcodes(plan: Plan) -> int:
    """Number of barcodes in the chunks that are there, without a look into them."""
    numbers = {int(path.name.split("-")[0]) for path in plan.folder.glob("[0-9]*-*.npy")}
    return sum(min(plan.chunk_size, plan.barcodes - number * plan.chunk_size) for number in numbers)


def _digest(plan: Plan, content: bytes) -> str:
    """Of the plan, too: what another one left behind, such as half-removed parts, is no chunk of this one."""
    return str(xxhash.xxh3_64_hexdigest(plan.key + content))
