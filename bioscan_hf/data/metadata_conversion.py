"""The released metadata to Parquet, with the vocabularies and the order of the released table."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bioscan_hf.data.features import published_name
from bioscan_hf.data.files import staged
from bioscan_hf.data.labels import LABEL_COLUMNS
from bioscan_hf.data.metadata import MetadataSource, OnError, Skipped, read_metadata
from bioscan_hf.data.plan import metadata_path
from bioscan_hf.data.shards import ROWS_PER_GROUP, parquet_writer


def convert_metadata(
    source: MetadataSource,
    folder: Path,
    *,
    on_error: OnError = "raise",
    skipped: list[Skipped] | None = None,
    compression_level: int = 3,
    report: Callable[[int], object] | None = None,
) -> None:
    """Write the metadata, the vocabularies and the order of the released table, in one pass and bounded memory.

    Nothing appears in `folder` unless all does: `metadata/<split>-00000-of-00001.parquet`, `labels/<rank>.txt` (the
    names of the whole table, one per line, sorted by code point), and `order/<split>.parquet`.

    Args:
        source: What `find_metadata` found.
        folder: Where to write.
        on_error: Whether a bad record is an error, or is left out.
        skipped: Takes the records that were left out.
        compression_level: Level of zstd: 3 to publish; 1 is faster.
        report: Called with the number of records since the last call.

    Raises:
        ValueError: If the source cannot be read, or a record is bad.
        OSError: If `folder` cannot be written.
    """
    names: dict[str, list[pa.Array]] = {column: [] for column in LABEL_COLUMNS}
    with staged(folder) as stage:
        for part in ("metadata", "labels", "order"):
            (stage / part).mkdir()
        writers: dict[str, _SplitWriter] = {}
        with ExitStack() as stack:
            for table in read_metadata(source, on_error=on_error, skipped=skipped):
                for split in pc.unique(table["split"]).to_pylist():
                    if split not in writers:
                        writers[split] = _SplitWriter(stage, split, stack, compression_level)
                    writers[split].add(table.filter(pc.equal(table["split"], split)))
                for column in LABEL_COLUMNS:
                    names[column].append(pc.unique(table[column]))
                if report is not None:
                    report(len(table))
            for writer in writers.values():
                writer.flush()
        for column, found in names.items():
            # Arrow compares the bytes of UTF-8, whose order is that of the code points.
            distinct = pc.unique(pa.chunked_array(found)).drop_null()
            lines = [f"{name}\n" for name in distinct.sort().to_pylist()]
            (stage / "labels" / f"{column}.txt").write_text("".join(lines), encoding="utf-8")
        for path in stage.glob("*/*"):
            with path.open("rb") as file:
                os.fsync(file.fileno())


class _SplitWriter:
    """Writes `metadata/` and `order/` of a split, in row groups of the same size whatever the size of the tables."""

    def __init__(self, stage: Path, split: str, stack: ExitStack, level: int) -> None:
        metadata = parquet_writer(metadata_path(stage, split), image=False, compression_level=level)
        self._metadata = stack.enter_context(metadata)
        order = pq.ParquetWriter(
            stage / "order" / f"{published_name(split)}.parquet",
            pa.schema([("row", pa.int32())]),
            compression="zstd",
            use_dictionary=False,
            column_encoding="DELTA_BINARY_PACKED",  # the numbers rise
        )
        self._order = stack.enter_context(order)
        self._pending: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._pending.append(table)
        while sum(map(len, self._pending)) >= ROWS_PER_GROUP:
            joined = pa.concat_tables(self._pending)
            self._write(joined.slice(0, ROWS_PER_GROUP))
            self._pending = [joined.slice(ROWS_PER_GROUP)]

    def flush(self) -> None:
        if joined := pa.concat_tables(self._pending):
            self._write(joined)

    def _write(self, table: pa.Table) -> None:
        self._metadata.write_table(table.drop_columns("row"))
        self._order.write_table(table.select(["row"]))
