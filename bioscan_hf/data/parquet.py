"""Parquet files of unknown origin, read in memory that is in proportion to their size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.messages import shown
from bioscan_hf.data.raw_records import LARGEST_RATIO

_BUFFER_SIZE = 1 << 20
# Reading so few rows at once costs 2 microseconds a row.
_MOST_ROWS = 100
_MOST_BYTES = 1 << 24


def read_some(path: Path, size: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns, about `size` rows at a time.

    A value that is written once may stand for any number of rows, so a few kilobytes can hold what fills any memory.
    What is read at once takes at most a sixteenth of what the file may inflate to, `LARGEST_RATIO` times its size, if
    the file tells the truth about the sizes of its parts.

    Args:
        path: The file.
        size: Rows at a time; fewer if they are large.
        columns: Names of columns.

    Raises:
        ValueError: If the values are inflated beyond all measure, or there are two columns of a name.
    """
    left = LARGEST_RATIO * max(path.stat().st_size, 1 << 20)
    # Without a buffer, all of a column in a group of rows, which may be all rows, is read at once.
    with pq.ParquetFile(path, buffer_size=_BUFFER_SIZE, page_checksum_verification=True) as file:
        _check_names(file.schema_arrow.names, columns, path)
        largest = _largest_group(file.metadata)
        if largest > left:
            raise _bomb(path)
        waiting: list[pa.RecordBatch] = []
        rows = bytes_waiting = 0
        for packed in file.iter_batches(max(1, min(size, _MOST_ROWS, left // (16 * largest))), columns=columns):
            batch = _unpacked(packed)
            left -= batch.nbytes
            if left < 0:
                raise _bomb(path)
            waiting.append(batch)
            rows, bytes_waiting = rows + len(batch), bytes_waiting + batch.nbytes
            if rows >= size or bytes_waiting >= _MOST_BYTES:
                # In one piece: whoever works piece by piece would have a hundred rows at a time.
                yield pa.Table.from_batches(waiting).combine_chunks()
                waiting, rows, bytes_waiting = [], 0, 0
        if waiting:
            yield pa.Table.from_batches(waiting).combine_chunks()


def _check_names(names: Sequence[str], columns: Sequence[str], path: Path) -> None:
    for name in columns:
        if names.count(name) > 1:
            raise ValueError(f"'{path}' has the column '{shown(name)}' {names.count(name)} times; rename the others.")


def _largest_group(metadata: pq.FileMetaData) -> int:
    """Bytes of a group of rows, not compressed: no value is longer.

    Not of its columns: Arrow ends the process where the description of a column is damaged.
    """
    return max([1, *(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))])


def _unpacked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, each with its own values instead of numbers of values."""
    if not any(pa.types.is_dictionary(column.type) for column in batch.columns):
        return batch
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    return pa.record_batch(columns, names=batch.schema.names)


def _bomb(path: Path) -> ValueError:
    return ValueError(f"'{path}' inflates to more than {LARGEST_RATIO} times its size; refused.")
