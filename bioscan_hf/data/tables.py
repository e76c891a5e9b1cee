"""Tables that users have, CSV, TSV or Parquet, as records of text."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Image

from bioscan_hf.data.features import COLUMN_NAMES, RANKS
from bioscan_hf.data.messages import shown
from bioscan_hf.data.parquet import read_some
from bioscan_hf.data.raw_records import (
    CHARACTERS_PER_BATCH,
    LONGEST_RECORD,
    RECORDS_PER_BATCH,
    RawRecords,
    ending,
    named_in_errors,
    open_text,
    raw_records,
    too_long,
)
from bioscan_hf.data.records import BadRecord

if TYPE_CHECKING:
    import _csv  # names the type of `csv.reader`

TABLE_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
TABLE_ENDINGS = (*TABLE_DELIMITERS, ".parquet")
# Names of the same columns in BOLD exports (version 4, and 5 with its Barcode Core Data Model, as BOLDconnectR has
# them, too), BIOSCAN-1M and the files of the BarcodeBERT repository.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "processid": ("process_id", "id"),
    "sampleid": ("sample_id",),
    "taxon": ("identification",),
    "dna_barcode": ("nucleotides", "nuc", "nucraw", "sequence", "barcode"),
    "dna_bin": ("bin_uri", "uri"),
    "country": ("country/ocean", "country.ocean"),
    "province_state": ("province", "province/state", "province.state"),
    "coord-lat": ("lat", "latitude"),
    "coord-lon": ("lon", "longitude"),
    "marker_code": ("markercode",),
    **{rank: (f"{rank}_name",) for rank in RANKS},
}
FURTHER_COLUMNS = ("marker_code", "coord")
"""Not part of the schema: which records to keep, and latitude and longitude in one field."""

_IMAGES_PER_BATCH = 100
_SHOWN = 40


def match_columns(names: Sequence[str], others: Sequence[str] = ()) -> dict[str, str]:
    """Find the columns of the schema in a table, by name or by the names that BOLD and others give them.

    Args:
        names: Columns of the table, in any letter case.
        others: Further columns to find.

    Returns:
        Name in the schema, or in `others`, and name in the table, of each column that is there. Of BOLD also
        `marker_code`, and `coord` if latitude and longitude have no columns of their own.

    >>> match_columns(["processid", "nuc", "country/ocean", "collectors"])
    {'processid': 'processid', 'dna_barcode': 'nuc', 'country': 'country/ocean'}
    """
    by_name = {name.lower(): name for name in reversed(names)}
    columns: dict[str, str] = {}
    for column in (*COLUMN_NAMES, *FURTHER_COLUMNS, *others):
        for candidate in (column.lower(), *_SYNONYMS.get(column, ())):
            if candidate in by_name:
                columns.setdefault(column, by_name[candidate])
    if "coord-lat" in columns or "coord-lon" in columns:
        columns.pop("coord", None)
    return columns


def column_names(path: Path) -> list[str]:
    """Names of a table's columns.

    Args:
        path: File with one of `TABLE_ENDINGS`; a text file may be gzipped (`.gz`).

    Raises:
        ValueError: If the file is empty, damaged or not in UTF-8.
    """
    if ending(path) == ".parquet":
        with named_in_errors(path):
            return list(pq.read_schema(path).names)
    with _delimited(path) as text:
        return text.names


def read_table(path: Path, columns: Mapping[str, str], *, image: bool = False) -> Iterator[RawRecords]:
    """Read some columns as text.

    In text files, a quoted field may hold line breaks, lines without any text are passed over, and white space around
    a field is left out. BOLD's own exports, which quote nothing, are read as they are.

    Args:
        path: File with one of `TABLE_ENDINGS`.
        columns: The columns to read: the name that each shall have, and its name in the file.
        image: Whether to read the column `image` of a Parquet file, too, as `datasets.Image` stores it (bytes and
            path).

    Yields:
        Some records at a time; those with too many or too few fields are among the malformed ones.

    Raises:
        ValueError: If the file cannot be read; the message names file and line.
    """
    return _parquet_records(path, columns, image) if ending(path) == ".parquet" else _text_records(path, columns)


def _parquet_records(path: Path, columns: Mapping[str, str], image: bool) -> Iterator[RawRecords]:
    first = 1
    wanted = [*columns.values(), *(["image"] if image else [])]
    with named_in_errors(path):
        for table in read_some(path, _IMAGES_PER_BATCH if image else RECORDS_PER_BATCH, wanted):
            arrays = {name: table[name_in_file].cast(pa.string()) for name, name_in_file in columns.items()}
            records = raw_records(arrays, range(first, first + len(table)))
            if image:
                images = [Image().cast_storage(chunk) for chunk in table["image"].chunks]
                records = records._replace(table=records.table.append_column("image", pa.chunked_array(images)))
            yield records
            first += len(table)


class _Delimited(NamedTuple):
    names: list[str]
    records: Iterator[tuple[int, list[str]]]
    lines: _Lines


class _Lines:
    """Lines of a file, of which a record may have several, but not without end.

    Attributes:
        characters: How many were read.
        number: How many lines were read.
    """

    def __init__(self, file: TextIO, path: Path) -> None:
        self.characters = self.number = 0
        self._file, self._path = file, path
        self.begin_record()

    def begin_record(self) -> None:
        """Say that the next line is the first of a record."""
        self._start, self._first = self.characters, self.number + 1

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.characters += len(line)
            self.number += 1
            if self.characters - self._start > LONGEST_RECORD:
                raise too_long(self._path, self._first)
            yield line


@contextmanager
def _delimited(path: Path) -> Iterator[_Delimited]:
    """Open a CSV or TSV file: its column names, and the fields of each record with the line where it starts."""
    delimiter = TABLE_DELIMITERS[ending(path)]
    with open_text(path, newline="") as file:
        lines = _Lines(file, path)
        header = next(iter(lines), "")
        # BOLD quotes nothing, and some of its fields hold a lone quotation mark.
        is_bold = delimiter == "\t" and '"' not in header and {"marker_code", "markercode"} & set(header.split())
        quoting: Literal[0, 3] = csv.QUOTE_NONE if is_bold else csv.QUOTE_MINIMAL
        reader = csv.reader(itertools.chain([header], lines), delimiter=delimiter, quoting=quoting, strict=True)
        records = _numbered(reader, lines, path)
        _, names = next(records, (1, []))
        if not names:
            raise ValueError(f"'{path}' is empty; expected a line of column names and one line per specimen.")
        yield _Delimited([name.strip() for name in names], records, lines)


def _numbered(reader: _csv.Reader, lines: _Lines, path: Path) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = reader.line_num + 1
        lines.begin_record()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"'{path}', line {line}: {shown(error)}; is a quotation mark left open?") from error
        if fields is None:
            return
        if any(map(str.strip, fields)):
            yield line, fields


def _text_records(path: Path, columns: Mapping[str, str]) -> Iterator[RawRecords]:
    with _delimited(path) as text:
        positions = {name: text.names.index(name_in_file) for name, name_in_file in columns.items()}
        for batch in _batches(text):
            whole = [(line, fields) for line, fields in batch if len(fields) == len(text.names)]
            yield raw_records(
                {name: [fields[at] for _, fields in whole] for name, at in positions.items()},
                [line for line, _ in whole],
                [_malformed(*record, text.names, positions) for record in batch if len(record[1]) != len(text.names)],
            )


def _batches(text: _Delimited) -> Iterator[list[tuple[int, list[str]]]]:
    batch: list[tuple[int, list[str]]] = []
    start = text.lines.characters
    for record in text.records:
        batch.append(record)
        if len(batch) == RECORDS_PER_BATCH or text.lines.characters - start >= CHARACTERS_PER_BATCH:
            yield batch
            batch, start = [], text.lines.characters
    if batch:
        yield batch


def _malformed(line: int, fields: list[str], names: list[str], positions: dict[str, int]) -> BadRecord:
    at = positions.get("processid", len(fields))
    processid = fields[at].strip()[:_SHOWN] if at < len(fields) else None
    return BadRecord(line, processid or None, f"expected {len(names)} fields; got {len(fields)}.")
