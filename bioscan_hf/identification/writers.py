"""Tables of results as files: CSV, TSV, JSON lines or Parquet, batch by batch."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bioscan_hf.data.whole_files import whole_file

TEXT_ENDINGS = (".csv", ".tsv", ".jsonl")
ENDINGS = (*TEXT_ENDINGS, *(f"{ending}.gz" for ending in TEXT_ENDINGS), ".parquet")
DECIMALS = 4
"""Of numbers in text; coordinates are written whole."""
COORDINATES = ("coord-lat", "coord-lon")
# Small row groups would make a Parquet file large and slow to read.
ROWS_PER_GROUP = 50_000
# Text is put together in pieces of this many rows, which bounds the memory.
ROWS_AT_A_TIME = 10_000

Write = Callable[[pa.Table], None]


def result_ending(path: Path) -> str:
    """Which of `ENDINGS` the name of a file has, in lower case.

    Raises:
        ValueError: If it has none of them.
    """
    name = path.name.lower()
    for ending in ENDINGS:
        if name.endswith(ending) and name != ending:
            return ending
    raise ValueError(
        f"'{path}' has none of the endings that results are written with; expected one of {', '.join(ENDINGS)}."
    )


@contextmanager
def result_writer(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Write tables of results to a file, which appears whole or not at all, in constant memory.

    In CSV and TSV, nulls are empty, and fields are quoted that hold a delimiter, a quotation mark or a line break. Text
    that begins as formulas of spreadsheets do (`=`, `+`, `-`, `@`, tab) has an apostrophe before it, for names in files
    from elsewhere are not to be run; JSON lines and Parquet have it as it was. In JSON lines, nulls are null. Numbers
    that are not finite are nulls in both. A missing folder is made.

    Args:
        path: Where to write; the ending, one of `ENDINGS`, tells the format.
        schema: Columns of all tables.

    Yields:
        A function that takes the next table.

    Raises:
        ValueError: If the ending is another, or a table has other columns.
        OSError: If the file cannot be written.
    """
    ending = result_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        if ending == ".parquet":
            with _parquet(file, schema) as write:
                yield write
        elif ending.endswith(".gz"):
            # Without name and time, the same results give the same file. Higher levels cost more time than they save.
            with gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) as zipped:
                yield _text(cast(BinaryIO, zipped), schema, ending.removesuffix(".gz"))
        else:
            yield _text(file, schema, ending)


@contextmanager
def _parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    waiting: list[pa.Table] = []

    def flush() -> None:
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS_PER_GROUP)
            waiting.clear()

    def write(table: pa.Table) -> None:
        waiting.append(_checked(table, schema))
        if sum(map(len, waiting)) >= ROWS_PER_GROUP:
            flush()

    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write
        flush()


def _text(file: BinaryIO, schema: pa.Schema, ending: str) -> Write:
    """Begin a text file, and give the function that adds tables to it."""
    delimiter = "\t" if ending == ".tsv" else ","
    if ending != ".jsonl":
        header = _delimited([pa.array([name]) for name in schema.names], delimiter)
        file.write(_content(header))

    def write(table: pa.Table) -> None:
        for batch in _checked(table, schema).combine_chunks().to_batches(max_chunksize=ROWS_AT_A_TIME):
            texts = [_as_text(batch[name], whole=name in COORDINATES) for name in schema.names]
            if ending == ".jsonl":
                lines = _json_lines(schema, texts)
            else:
                is_text = [pa.types.is_string(batch[name].type) for name in schema.names]
                shown = [_no_formula(text) if own else text for text, own in zip(texts, is_text, strict=True)]
                lines = _delimited(shown, delimiter)
            file.write(_content(lines))

    return write


def _checked(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.names != schema.names:
        raise ValueError(f"Expected a table with the columns {schema.names}; got {table.schema.names}.")
    return table.cast(schema)


def _as_text(values: pa.Array, *, whole: bool) -> pa.Array:
    """Values as text, null where there is none; numbers with `DECIMALS` decimals or whole."""
    if pa.types.is_floating(values.type):
        # In double precision the text of a rounded number has no more decimals than it was rounded to.
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_finite(values), values, None)
        values = values if whole else pc.add(pc.round(values, DECIMALS), 0.0)  # no -0
    return values.cast(pa.string())


def _delimited(columns: Sequence[pa.Array], delimiter: str) -> pa.Array:
    """Lines of a CSV or TSV file."""
    quoted = [_quoted(column, delimiter) for column in columns]
    lines = pc.binary_join_element_wise(*quoted, delimiter, null_handling="replace", null_replacement="")
    return pc.binary_join_element_wise(lines, "\n", "")


def _quoted(column: pa.Array, delimiter: str) -> pa.Array:
    letters = _content(column)
    if not any(letter in letters for letter in (delimiter.encode(), b'"', b"\n", b"\r")):
        return column
    doubled = pc.replace_substring(column, '"', '""')
    unsafe = pc.match_substring_regex(column, f'[{delimiter}"\n\r]')
    return pc.if_else(unsafe, pc.binary_join_element_wise('"', doubled, '"', ""), column)


def _no_formula(column: pa.Array) -> pa.Array:
    is_formula = pc.match_substring_regex(column, r"^[=+@\t\r-]")
    if not pc.any(is_formula).as_py():
        return column
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", column, ""), column)


def _json_lines(schema: pa.Schema, columns: Sequence[pa.Array]) -> pa.Array:
    parts: list[pa.Array | str] = []
    for field, column in zip(schema, columns, strict=True):
        bare = pa.types.is_boolean(field.type) or pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        values = column if bare else _json_strings(column)
        parts += [f"{', ' if parts else '{'}{json.dumps(field.name)}: ", pc.fill_null(values, "null")]
    return pc.binary_join_element_wise(*parts, "}\n", "")


def _json_strings(column: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(column, r'[\x00-\x1f"\\\x7f]')).as_py():
        texts = column.to_pylist()
        return pa.array([None if text is None else json.dumps(text, ensure_ascii=False) for text in texts], pa.string())
    return pc.binary_join_element_wise('"', column, '"', "")


def _content(column: pa.Array) -> bytes:
    """All letters of a column of text, one value after the other."""
    # A column may be part of a longer one, and begins with its first offset.
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return b""
    places = memoryview(offsets).cast("i")[column.offset : column.offset + len(column) + 1]
    return bytes(memoryview(data)[places[0] : places[-1]])
