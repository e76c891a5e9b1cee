"""The released metadata table, CSV or JSON-LD, plain or inside the released archive, read in bounded memory."""

from __future__ import annotations

import errno
import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.json_records import json_records, record_fields
from bioscan_hf.data.messages import reason_of, shown
from bioscan_hf.data.records import BadRecord, RecordChecker
from bioscan_hf.data.release import METADATA_ARCHIVE, METADATA_MEMBERS

OnError = Literal["raise", "skip"]

ROWS_PER_TABLE = 20_000
BLOCK_BYTES = 16 << 20  # about as many rows of the released CSV
LONGEST_HEADER = 1 << 16
# Deflate cannot pack text tighter than about 1:1000; real metadata reach 1:15.
LARGEST_RATIO = 200
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BYTES_PER_TABLE = 1 << 26
_SHOWN = 40


@dataclass(frozen=True)
class MetadataSource:
    """Where the metadata lie.

    Attributes:
        path: CSV or JSON-LD file, or an archive.
        member: Name inside the archive, None for a plain file.
    """

    path: Path
    member: str | None = None

    @property
    def kind(self) -> str:
        """`csv` or `jsonld`."""
        return Path(self.member or self.path).suffix[1:].lower()

    def __str__(self) -> str:
        return f"'{self.path}'" if self.member is None else f"'{self.path}' ({shown(self.member)})"


@dataclass(frozen=True)
class Skipped:
    """A record that was left out.

    Attributes:
        file: Name of the file, or of the member of an archive.
        row: Its number in the file, from 0; None if it has none.
        processid: Its process id, if that can be read.
        reason: What is wrong with it.
    """

    file: str
    row: int | None
    processid: str | None
    reason: str


def find_metadata(root: Path) -> MetadataSource:
    """Find the metadata of a release.

    A plain file goes before the archive, CSV before JSON-LD.

    Args:
        root: Folder with the released archives, with the unpacked `bioscan5m/`, or `bioscan5m/` itself; or the file.

    Raises:
        FileNotFoundError: If nothing is found; the message says what was looked for.
        ValueError: If a file is of another kind, or damaged.
    """
    if root.is_file():
        given = _in_archive(root, "csv") or _in_archive(root, "jsonld") or MetadataSource(root)
        if given.kind not in METADATA_MEMBERS:
            raise ValueError(f"{given} is of an unknown kind; expected a CSV or JSON-LD file of metadata.")
        return given
    for kind, member in METADATA_MEMBERS.items():
        below = Path(member).relative_to("bioscan5m")
        for path in (root / member, root / below, root / below.name):
            if path.is_file():
                return MetadataSource(path)
        for folder in (root, root / "bioscan5m"):
            if found := _in_archive(folder / METADATA_ARCHIVE, kind):
                return found
    raise FileNotFoundError(
        f"No metadata in '{root}'; expected {METADATA_ARCHIVE}, or {METADATA_MEMBERS['csv']} as it unpacks."
    )


def _in_archive(path: Path, kind: str) -> MetadataSource | None:
    if not path.is_file() or path.suffix != ".zip":
        return None
    source = MetadataSource(path)
    with _named_in_errors(source), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(Path(METADATA_MEMBERS[kind]).name)]
    return MetadataSource(path, members[0]) if members else None


def read_metadata(
    source: MetadataSource, *, on_error: OnError = "raise", skipped: list[Skipped] | None = None
) -> Iterator[pa.Table]:
    """Read and check the records, about 20,000 at a time, in the order of the file.

    Empty fields are null, integers may be written as `146774.0`, barcodes in lower case are put in upper case.

    Args:
        source: What `find_metadata` found.
        on_error: Whether a bad record is an error, or is left out.
        skipped: Takes the records that were left out.

    Yields:
        The 23 columns of the schema and, last, `row` (int32): the number of the record in the file, from 0.

    Raises:
        ValueError: If the file cannot be read, lacks a column, or a record is bad: a broken number, an unknown split, a
            barcode or process id with other letters, a process id that occurs twice, too many or too few fields. The
            message names file, record and process id.
    """
    checker = RecordChecker()
    left_out = [] if skipped is None else skipped

    def handle(bad: BadRecord) -> None:
        if on_error == "raise":
            where = f"line {bad.row + 2}" if source.kind == "csv" else f"record {bad.row + 1}"
            raise ValueError(f"{source}, {where} (process id {bad.processid!r}): {bad.reason}")
        left_out.append(Skipped(source.member or source.path.name, bad.row, bad.processid, bad.reason))

    read = _csv_tables if source.kind == "csv" else _json_tables
    with _named_in_errors(source):
        for raw, rows, malformed in read(source, numbered=on_error == "skip"):
            for bad in malformed:
                handle(bad)
            table, found = checker.check(raw, rows)
            for bad in found:
                handle(bad)
            if len(table):
                yield table
        if not checker.count:
            raise ValueError(f"{source} holds no records.")


_DAMAGED = (
    *(pa.ArrowException, UnicodeDecodeError, EOFError, OSError, zlib.error, zipfile.BadZipFile),
    # What zipfile raises besides, on methods and passwords that it does not know and on nonsense.
    *(NotImplementedError, RuntimeError, OverflowError, struct.error),
)


@contextmanager
def _named_in_errors(source: MetadataSource) -> Iterator[None]:
    """Errors of the readers say what is wrong, but not in which file."""
    try:
        yield
    except _DAMAGED as error:
        # A number that is not EINVAL (a place before the file) is that of an error of the disk.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(f"{source} cannot be read: {reason_of(error)}") from error


@contextmanager
def open_metadata(source: MetadataSource) -> Iterator[BinaryIO]:
    """Open the file, or the member of the archive.

    Raises:
        ValueError: If the member would inflate beyond all measure, or is compressed by another method than deflate.
    """
    if source.member is None:
        with source.path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(source.path) as archive:
        info = archive.getinfo(source.member)
        if info.compress_type not in _METHODS:
            raise ValueError(f"{source} is compressed by method {info.compress_type}; expected stored or deflated.")
        if info.file_size > LARGEST_RATIO * max(info.compress_size, 1 << 20):
            raise ValueError(
                f"{source} would inflate from {info.compress_size:,} to {info.file_size:,} bytes; refused."
            )
        with archive.open(info) as member:
            yield io.BufferedReader(member, BLOCK_BYTES)  # type: ignore[type-var]


RawTables = Iterator[tuple[pa.Table, np.ndarray, list[BadRecord]]]


def _csv_tables(source: MetadataSource, *, numbered: bool) -> RawTables:
    """Read records as text; `numbered` gives malformed lines their numbers, which costs the second thread."""
    malformed: list[BadRecord] = []

    def note(line: pa.csv.InvalidRow) -> str:
        reason = f"expected {line.expected_columns} fields; got {line.actual_columns}."
        malformed.append(BadRecord((line.number or 2) - 2, line.text[:_SHOWN].split(",")[0], reason))
        return "skip"

    # As bytes: text that is not UTF-8 is then found in its record, not somewhere in a block.
    types = dict.fromkeys(COLUMN_NAMES, pa.binary())
    with open_metadata(source) as file, _unheard(note):
        if len(file.readline(LONGEST_HEADER)) == LONGEST_HEADER:
            raise ValueError(f"{source} has no line of column names in its first {LONGEST_HEADER:,} bytes.")
        file.seek(0)
        reader = pa.csv.open_csv(
            pa.PythonFile(file, "r"),
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=not numbered),
            parse_options=pa.csv.ParseOptions(invalid_row_handler=note),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
        )
        missing = [name for name in COLUMN_NAMES if name not in reader.schema.names]
        if missing:
            raise ValueError(f"{source} lacks the columns {missing}; found {shown(reader.schema.names)}.")
        next_row = 0
        for batch in reader:
            if malformed and not numbered:
                break
            # The reader is ahead of the batch: a malformed line may belong to a later one.
            rows = np.arange(next_row, next_row + len(batch) + len(malformed))
            rows = rows[~np.isin(rows, [bad.row for bad in malformed])][: len(batch)]
            next_row = int(rows[-1]) + 1 if len(rows) else next_row
            passed = [bad for bad in malformed if bad.row < next_row]
            del malformed[: len(passed)]
            yield pa.table(batch).select(COLUMN_NAMES), rows, passed
    if malformed and not numbered:
        # Lines have their numbers only when one thread reads.
        yield from (found for found in _csv_tables(source, numbered=True) if found[2])
    elif malformed:
        empty = pa.table({name: pa.array([], pa.binary()) for name in COLUMN_NAMES})
        yield empty, np.arange(0), malformed


@contextmanager
def _unheard(note: Callable[[pa.csv.InvalidRow], str]) -> Iterator[None]:
    """Let nothing be printed where Arrow cannot call `note`, for the line is not UTF-8; it refuses the file then."""
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.object is not note:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        if sys.unraisablehook is hook:
            sys.unraisablehook = before


def _json_tables(source: MetadataSource, *, numbered: bool) -> RawTables:
    """Read records as text; they have numbers anyway."""
    with open_metadata(source) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        records = json_records(text, str(source))
        row, exhausted = 0, False
        while not exhausted:
            chunk: list[list[bytes | None]] = []
            malformed: list[BadRecord] = []
            size = 0
            for record in records:
                try:
                    fields = record_fields(record)
                except ValueError as error:
                    processid = record.get("processid")
                    name = None if processid is None else shown(processid, _SHOWN)
                    malformed.append(BadRecord(row + len(chunk) + len(malformed), name, str(error)))
                else:
                    chunk.append(fields)
                    size += sum(map(len, filter(None, fields)))
                if len(chunk) + len(malformed) == ROWS_PER_TABLE or size > _BYTES_PER_TABLE:
                    break
            else:
                exhausted = True
            rows = np.arange(row, row + len(chunk) + len(malformed))
            rows = rows[~np.isin(rows, [bad.row for bad in malformed])]
            row += len(chunk) + len(malformed)
            columns = zip(*chunk, strict=True) if chunk else [()] * len(COLUMN_NAMES)
            arrays = [pa.array(column, pa.binary()) for column in columns]
            yield pa.table(arrays, names=list(COLUMN_NAMES)), rows, malformed
