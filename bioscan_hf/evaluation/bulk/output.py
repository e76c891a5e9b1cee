"""The output of a bulk embedding: Parquet files with one row per specimen, in the order of the input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.evaluation.bulk.plan import Plan

METADATA_KEY = b"bioscan_hf"
"""Key, in the metadata of the schema, of a JSON object: the plan (see `Plan.content`)."""

SHARD_BYTES = 500_000_000
"""Size of a shard: what the Hub recommends."""

_ROWS_PER_GROUP = 4096  # 12 MB of 768 numbers each
_PROCESSID_BYTES = 20  # of a process id and its length, about


def read_plan(output: Path) -> dict[str, Any] | None:
    """Read what made an output.

    Args:
        output: A Parquet file, or a folder of shards.

    Returns:
        The content of the plan; None if there is no such file, or the folder is empty.

    Raises:
        FileExistsError: If something else lies there, shards are missing, or one is damaged.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    advice = f"remove '{output}', or choose another output."
    files = sorted(output.glob("embeddings-*.parquet")) if output.is_dir() else [output]
    plan, rows = None, 0
    for file in files:
        try:
            plan = dict(json.loads(pq.read_schema(file).metadata[METADATA_KEY]))
            rows += _rows(file)
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise FileExistsError(
                f"'{file}' exists and holds something else, or is damaged ({error}); {advice}"
            ) from error
    if plan is None or rows != plan["specimens"]:
        raise FileExistsError(f"'{output}' exists and holds something else, or shards of it are missing; {advice}")
    return plan


def _rows(file: Path) -> int:
    """Number of rows, all of which are read, and compared with their checksums."""
    with pq.ParquetFile(file, page_checksum_verification=True) as content:
        return sum(len(batch) for batch in content.iter_batches(_ROWS_PER_GROUP))


def write_output(plan: Plan, chunks: Sequence[Path]) -> None:
    """Write the output, which appears whole or not at all.

    Args:
        plan: The plan, whose specimens are written.
        chunks: Paths of all chunks.

    Raises:
        OSError: If it cannot be written.
    """
    vectors = [np.load(path, mmap_mode="r", allow_pickle=False) for path in chunks]
    specimens = plan.specimen_table()
    if plan.output.suffix == ".parquet":
        _write(plan, plan.output, specimens, vectors)
        return
    stage = plan.folder / "output"
    shutil.rmtree(stage, ignore_errors=True)  # of a process that was killed
    stage.mkdir()
    count = _count_shards(plan)
    for number in range(count):
        start, stop = (plan.specimens * n // count for n in (number, number + 1))
        name = f"embeddings-{number:05d}-of-{count:05d}.parquet"
        _write(plan, stage / name, specimens.slice(start, stop - start), vectors)
    stage.rename(plan.output)


def _count_shards(plan: Plan) -> int:
    row = plan.dimension * np.dtype(plan.dtype).itemsize + _PROCESSID_BYTES
    return max(1, round(plan.specimens * row / SHARD_BYTES))


def _write(plan: Plan, path: Path, specimens: pa.Table, chunks: list[np.ndarray]) -> None:
    entry = pa.from_numpy_dtype(plan.dtype)
    schema = pa.schema(
        {"processid": pa.string(), "embedding": pa.list_(entry, plan.dimension)},
        metadata={METADATA_KEY: json.dumps(plan.content())},
    )
    # Numbers of a model do not compress, and hardly two are equal.
    options = {"compression": "none", "use_dictionary": False, "write_statistics": ["processid"]}
    options["write_page_checksum"] = True
    with whole_file(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
        for start in range(0, len(specimens), _ROWS_PER_GROUP):
            group = specimens.slice(start, _ROWS_PER_GROUP)
            vectors = _gather(plan, chunks, group["barcode"].to_numpy())
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), entry), plan.dimension)
            writer.write_table(pa.table([group["processid"], column], schema=schema))


def _gather(plan: Plan, chunks: Sequence[np.ndarray], numbers: np.ndarray) -> np.ndarray:
    """Embeddings of the barcodes with these numbers, (len(numbers), D)."""
    vectors = np.empty((len(numbers), plan.dimension), plan.dtype)
    chunk, row = np.divmod(numbers, plan.chunk_size)
    for number in np.unique(chunk):
        here = chunk == number
        vectors[here] = chunks[number][row[here]]
    return vectors
