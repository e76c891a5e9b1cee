"""Specimens as columns, some at a time: those of a dataset, or of the file of a library."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from bioscan_hf.data.features import COLUMN_NAMES

DAMAGED = "'{}' is damaged ({}); copy or build the library again."


class Specimens(Protocol):
    """Specimens with the 23 columns of the schema."""

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns, whole."""

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.Table]:
        """Some columns, so many rows at a time."""

    def dataset(self) -> Dataset:
        """All of them."""


class Held:
    """Those of a dataset."""

    def __init__(self, specimens: Dataset) -> None:
        self._specimens = specimens.select_columns(list(COLUMN_NAMES))

    def columns(self, names: Sequence[str]) -> pa.Table:
        """See `Specimens`."""
        return self._specimens.select_columns(list(names)).with_format("arrow")[:]

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.Table]:
        """See `Specimens`."""
        yield from self._specimens.select_columns(list(names)).with_format("arrow").iter(size)

    def dataset(self) -> Dataset:
        """See `Specimens`."""
        return self._specimens


class Stored:
    """Those of a Parquet file, read from the disk each time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def columns(self, names: Sequence[str]) -> pa.Table:
        """See `Specimens`.

        Raises:
            ValueError: If the file is damaged.
        """
        return read_table(self._path, names)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.Table]:
        """See `Specimens`.

        Raises:
            ValueError: If the file is damaged.
        """
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(size, columns=list(names)):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._path, error) from error

    def dataset(self) -> Dataset:
        """See `Specimens`."""
        return Dataset(self.columns(COLUMN_NAMES), fingerprint=uuid.uuid4().hex)


def read_table(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Read columns of a Parquet file, by default all.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        return pq.read_table(path, columns=None if names is None else list(names))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(DAMAGED.format(path, str(error).strip().splitlines()[0].rstrip(".")))
