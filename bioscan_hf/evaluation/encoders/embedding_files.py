"""Files of embeddings: process ids and vectors, read a part at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

EMBEDDING_ENDINGS = (".parquet", ".npz", ".safetensors")

_ROWS_AT_A_TIME = 4096
# By the checksums that `bioscan embed` writes; other files mostly have none.
_CHECKED = {"page_checksum_verification": True}


class EmbeddingFile(NamedTuple):
    """What a file, or a folder of them, holds.

    Attributes:
        processids: N process ids.
        dimension: D, the numbers of an embedding.
        blocks: Reads the embeddings, some rows after the others, each part (rows, D).
    """

    processids: pa.Array
    dimension: int
    blocks: Callable[[], Iterator[NDArray[Any]]]


def holds_embeddings(path: Path) -> bool:
    """Whether this looks like a file of embeddings, or a folder of such Parquet files."""
    if path.is_dir():
        return next(path.glob("*.parquet"), None) is not None
    return path.suffix.lower() in EMBEDDING_ENDINGS


def find_files(path: Path) -> list[Path]:
    """Find the files of embeddings.

    Args:
        path: One file, or a folder of Parquet files.

    Returns:
        The files, in the order in which they belong together.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind.
    """
    kinds = f"a file with one of the endings {', '.join(EMBEDDING_ENDINGS)}, or a folder of Parquet files"
    if not path.exists():
        raise FileNotFoundError(f"No such file: '{path}'. Expected {kinds}.")
    if not holds_embeddings(path):
        raise ValueError(f"'{path}' is of an unknown kind; expected {kinds}.")
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def open_embeddings(files: Sequence[Path]) -> EmbeddingFile:
    """Open what `find_files` found.

    Raises:
        ValueError: If a file is damaged or laid out otherwise; `says_which` names it.
    """
    kind = files[0].suffix.lower()
    if kind == ".parquet":
        return _open_parquet(files)
    return _open_npz(files[0]) if kind == ".npz" else _open_safetensors(files[0])


@contextmanager
def says_which(path: Path) -> Iterator[None]:
    """Name the file in the errors of those who read it."""
    try:
        yield
    except (ValueError, KeyError, EOFError, OSError, pa.ArrowException, SafetensorError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, and not Arrow's word for damage
            raise
        raise ValueError(f"'{path}' cannot be used: {error}") from error


def _open_parquet(files: Sequence[Path]) -> EmbeddingFile:
    processids: list[pa.Array] = []
    widths = set()
    for file in files:
        schema = pq.read_schema(file)
        if not {"processid", "embedding"} <= set(schema.names):
            raise ValueError(f"expected the columns 'processid' and 'embedding'; found {schema.names}")
        kind = schema.field("embedding").type
        if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            raise ValueError(f"the column 'embedding' must hold lists of numbers; it holds {kind}")
        if not pa.types.is_floating(kind.value_type):
            raise ValueError(f"embeddings must be of floating-point numbers; these are of {kind.value_type}")
        processids += pq.read_table(file, columns=["processid"], **_CHECKED)["processid"].cast(pa.string()).chunks
        widths.add(kind.list_size if pa.types.is_fixed_size_list(kind) else _first_width(file))
    if len(widths) > 1:
        raise ValueError(f"embeddings must be of one length; there are {sorted(widths)}")
    (width,) = widths
    names = pa.chunked_array(processids, pa.string()).combine_chunks()

    def blocks() -> Iterator[NDArray[Any]]:
        for file in files:
            for batch in pq.ParquetFile(file, **_CHECKED).iter_batches(_ROWS_AT_A_TIME, columns=["embedding"]):
                yield _vectors(batch["embedding"], width)

    return _checked(EmbeddingFile(names, width, blocks))


def _first_width(file: Path) -> int:
    first = next(pq.ParquetFile(file).iter_batches(1, columns=["embedding"]), None)
    return len(first["embedding"][0]) if first and first["embedding"][0].is_valid else 0


def _vectors(lists: pa.Array, width: int) -> NDArray[Any]:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), -1))
    if (lengths != width).any():
        raise ValueError(f"embeddings must be of one length; expected {width}, got {set(lengths.tolist()) - {width}}")
    # A missing number becomes NaN.
    return np.asarray(pc.list_flatten(lists).to_numpy(zero_copy_only=False)).reshape(len(lists), width)


def _open_npz(file: Path) -> EmbeddingFile:
    with np.load(file, allow_pickle=False) as content:
        if not {"processids", "embeddings"} <= set(content.files):
            raise ValueError(f"expected the arrays 'processids' and 'embeddings'; found {content.files}")
        names, vectors = content["processids"], content["embeddings"]
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ValueError(f"'processids' must be texts in one dimension; got {names.dtype} {names.shape}")
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(f"'embeddings' must be floating-point numbers (N, D); got {vectors.dtype} {vectors.shape}")
    processids = pa.array(names.astype(np.str_).tolist(), pa.string())
    return _checked(EmbeddingFile(processids, vectors.shape[1], lambda: iter([vectors])), rows=len(vectors))


def _open_safetensors(file: Path) -> EmbeddingFile:
    with safe_open(file, framework="pt") as content:
        if "embeddings" not in content.keys():  # noqa: SIM118 (no dict)
            raise ValueError(f"expected the tensor 'embeddings'; found {sorted(content.keys())}")
        shape = content.get_slice("embeddings").get_shape()
        names = json.loads((content.metadata() or {}).get("processids", "null"))
    if not isinstance(names, list):
        raise ValueError("the metadata need 'processids', a JSON list")
    if len(shape) != 2:
        raise ValueError(f"'embeddings' must be numbers (N, D); got the shape {tuple(shape)}")

    def blocks() -> Iterator[NDArray[Any]]:
        with safe_open(file, framework="pt") as content:
            rows = content.get_slice("embeddings")
            for start in range(0, shape[0], _ROWS_AT_A_TIME):
                yield rows[start : start + _ROWS_AT_A_TIME].to(torch.float32).numpy()

    return _checked(EmbeddingFile(pa.array(map(str, names), pa.string()), shape[1], blocks), rows=shape[0])


def _checked(stored: EmbeddingFile, *, rows: int | None = None) -> EmbeddingFile:
    names, dimension, _ = stored
    if rows is not None and rows != len(names):
        raise ValueError(f"expected an embedding for each process id; got {rows:,} and {len(names):,}")
    if not len(names) or not dimension:
        raise ValueError("there are no embeddings in it")
    if names.null_count:
        raise ValueError(f"row {pc.index(names.is_null(), True).as_py()} has no process id")
    return stored
