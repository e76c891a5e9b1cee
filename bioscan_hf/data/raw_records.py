"""What the readers of users' files share: records as text, with their places, and text files that open or say why."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioscan_hf.data.messages import reason_of, shown
from bioscan_hf.data.records import BadRecord

# Python's garbage collector looks at every record that is held: ten times as many take a third longer.
RECORDS_PER_BATCH = 2_000
NO_VALUE = frozenset({"", "None", "NA", "nan", "NaN"})
"""Fields without a value: empty, or as BOLD's data packages (`None`), R (`NA`) and pandas (`nan`) write them."""

MARKER = "COI-5P"

LONGEST_RECORD = 1 << 22
"""Characters that a record of a text file may have: more than any barcode with its labels, or a mitochondrion."""
CHARACTERS_PER_BATCH = 1 << 23
"""Records are read together until they have so many characters, or are `RECORDS_PER_BATCH`."""
LARGEST_RATIO = 200
"""Times its size that a file may inflate to; text reaches 15, unless it is made to fill the memory."""

_NOTHING = pa.array(sorted(NO_VALUE))
_SHOWN, _MARKERS_SHOWN = 40, 10
_HEAD_BYTES, _BUFFER_BYTES = 1 << 12, 1 << 16
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class RawRecords(NamedTuple):
    """Some records of a file, not checked yet.

    Attributes:
        table: Columns of text (binary), null where there is no value.
        places: Where each record stands: the line of a text file, the row of a Parquet file, from 1.
        malformed: Records that have no place in the table, with `row` as their place.
    """

    table: pa.Table
    places: np.ndarray
    malformed: list[BadRecord]

    def filter(self, keep: np.ndarray) -> RawRecords:
        """Keep some records of the table, and all malformed ones.

        Args:
            keep: bool (N,), one per row of the table.
        """
        return self._replace(table=self.table.filter(pa.array(keep)), places=self.places[keep])


def raw_records(
    columns: Mapping[str, Sequence[str | None] | pa.Array], places: Sequence[int], malformed: Sequence[BadRecord] = ()
) -> RawRecords:
    """Make records of columns of text: white space around it goes, one of `NO_VALUE` becomes null."""
    arrays = {}
    for name, column in columns.items():
        text = pc.utf8_trim_whitespace(pa.array(column, pa.string()))
        arrays[name] = pc.if_else(pc.is_in(text, value_set=_NOTHING), None, text).cast(pa.binary())
    return RawRecords(pa.table(arrays), np.array(places, np.int32), list(malformed))


def schema_columns(batch: RawRecords, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Some columns of the schema: what a batch lacks is null, and `coord` is split into latitude and longitude."""
    columns = dict(zip(batch.table.column_names, batch.table.columns, strict=True))
    if "coord" in columns:
        columns["coord-lat"], columns["coord-lon"] = _split_coordinates(columns["coord"])
    nothing = pa.chunked_array([pa.nulls(len(batch.table), pa.binary())])
    return {name: columns.get(name, nothing) for name in names}


def _split_coordinates(column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """Latitude and longitude of `(-35.02, 149.1)`, in brackets of any kind or none."""
    pairs = [(value or b"").strip(b"[]() ").partition(b",") for value in column.to_pylist()]
    return [pa.chunked_array([[pair[i].strip() or None for pair in pairs]], pa.binary()) for i in (0, 2)]


class OtherMarkers:
    """Leaves out the records of other markers, and BOLD's records without any sequence, and counts them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def leave_out(self, batch: RawRecords) -> RawRecords:
        """Keep the records of the marker COI-5P, and all if there is no column `marker_code`."""
        if "marker_code" not in batch.table.column_names:
            return batch
        markers = batch.table["marker_code"].to_pylist()
        columns = batch.table.column_names
        has_barcode = batch.table["dna_barcode"].is_valid().to_pylist() if "dna_barcode" in columns else []
        keep = []
        for i, marker in enumerate(markers):
            keep.append(marker.upper() == MARKER.encode() if marker else not has_barcode or has_barcode[i])
            if not keep[-1]:
                self._counts[shown(marker.decode(), _SHOWN) if marker else "no sequence"] += 1
        return batch.filter(np.array(keep, bool))

    def message(self, name: str) -> str | None:
        """Say what was left out of a source, without full stop; None if nothing was."""
        if not self._counts:
            return None
        summary = ", ".join(f"{marker}: {n:,}" for marker, n in self._counts.most_common(_MARKERS_SHOWN))
        summary += ", ..." if len(self._counts) > _MARKERS_SHOWN else ""
        return f"'{name}': left out {self._counts.total():,} that are not of the marker {MARKER} ({summary})"


def ending(path: Path) -> str:
    """Ending of a file's name in lower case, without `.gz`."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Errors of the readers say what is wrong, but not in which file.

    Raises:
        ValueError: In their place, naming the file.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}'{_first_line_not_in_utf8(path)}: not UTF-8; save the file in UTF-8, or convert it: "
            f"`iconv -f ISO-8859-1 -t UTF-8` is for Western European text."
        ) from error
    except (pa.ArrowException, EOFError, OSError, OverflowError, zlib.error) as error:
        # What gzip and Arrow find damaged are errors without number; the others are those of the disk.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"'{path}' cannot be read: {reason_of(error)}") from error


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file in UTF-8, gzipped if its name ends in `.gz`; a byte order mark is left out.

    Args:
        path: The file.
        newline: As in `open`.

    Raises:
        ValueError: While it is open, too: if the file is damaged, or not in UTF-8, a line is longer than
            `LONGEST_RECORD`, or it is inflated beyond all measure.
    """
    with named_in_errors(path), _Content(path) as content:
        head = content.read(_HEAD_BYTES)
    if head.startswith(_UTF_16) or b"\0" in head:
        raise ValueError(f"'{path}' is UTF-16, or no text; save it as UTF-8 text (in Excel: 'CSV UTF-8').")
    with (
        named_in_errors(path),
        io.BufferedReader(_Content(path), _BUFFER_BYTES) as buffer,
        io.TextIOWrapper(buffer, encoding="utf-8-sig", newline=newline) as lines,
    ):
        yield lines


class _Content(io.RawIOBase):
    """Bytes of a text file, inflated if need be, whose lines take no more memory than those of text."""

    def __init__(self, path: Path) -> None:
        is_gzip = path.suffix.lower() == ".gz"
        self._path = path
        self._file = (gzip.open if is_gzip else open)(path, "rb")
        self._left = LARGEST_RATIO * max(path.stat().st_size, 1 << 20) if is_gzip else None
        self._since_line_end = 0

    def readable(self) -> bool:
        return True

    def readinto(self, memory: Any, /) -> int:
        data = self._file.read1(len(memory))
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError(f"'{self._path}' inflates to more than {LARGEST_RATIO} times its size; refused.")
        end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._since_line_end = len(data) - end - 1 if end >= 0 else self._since_line_end + len(data)
        if self._since_line_end > LONGEST_RECORD:
            raise too_long(self._path)
        memory[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def too_long(path: Path, line: int | None = None) -> ValueError:
    """The error for a record that is longer than `LONGEST_RECORD`.

    Args:
        path: Its file.
        line: Where it starts.
    """
    place = "" if line is None else f", line {line}"
    return ValueError(
        f"'{path}'{place}: a record has more than {LONGEST_RECORD:,} characters; expected barcodes, one in each record."
    )


def _first_line_not_in_utf8(path: Path) -> str:
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as lines:
            some = iter(partial(lines.readline, LONGEST_RECORD), b"")
            return f", line {next(number for number, line in enumerate(some, 1) if not _is_utf8(line))}"
    except (EOFError, OSError, zlib.error):  # damaged, too
        return ""


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
