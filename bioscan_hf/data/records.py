"""Checks of metadata records, a table at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioscan_hf.data.features import COLUMNS, SPLIT_NAMES, bioscan_features
from bioscan_hf.data.messages import shown
from bioscan_hf.tokenization.letters import IUPAC_LETTERS, why_no_barcode

# A process id is the name of an image file, too: printable ASCII without slashes.
_PROCESSID = r"^[!-.0-\[\]-~]+$"
# As the name of a folder of images.
_CHUNK = r"^[0-9a-f]{1,2}$"
_LIMITS = {"coord-lat": 90.0, "coord-lon": 180.0}
_LONGEST_NAME = 32
_SHOWN = 40
# Names stand in lists of one name per line.
_LINE_BREAKS, _CONTROL = r"[\t-\r\x{85}\x{2028}\x{2029}]+", r"\p{Cc}"
_SCHEMA = bioscan_features(image=False).arrow_schema


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used: its number in the file, from 0, its process id, and why."""

    row: int
    processid: str | None
    reason: str


class RecordChecker:
    """Turns tables of text into tables of the schema, and finds the records that do not fit it.

    It remembers the process ids of good records, to find repeated ones.

    Args:
        optional: Of `split` and `dna_barcode`, those that a record may lack.

    Attributes:
        count: Number of good records so far.
    """

    def __init__(self, optional: Collection[str] = ()) -> None:
        self.count = 0
        self._optional = optional
        self._seen = Names()

    def check(self, raw: pa.Table, rows: np.ndarray) -> tuple[pa.Table, list[BadRecord]]:
        """Check some records.

        Args:
            raw: The 23 columns as binary, empty fields as null.
            rows: Number of each record in its file.

        Returns:
            The good records with the types of the schema and the column `row`, and the bad ones.
        """
        reasons: dict[int, str] = {}
        columns = {column.name: typed_column(column.name, raw[column.name], reasons) for column in COLUMNS}
        columns["dna_barcode"] = self._barcodes(raw["dna_barcode"], columns["dna_barcode"], reasons)
        for name, column in columns.items():
            if pa.types.is_string(column.type):
                columns[name] = _in_one_line(name, column, reasons)
            elif pa.types.is_floating(column.type):
                for i in _where(pc.invert(pc.is_finite(column))):
                    reasons.setdefault(i, f"{name!r} must be a finite number; got {column[i].as_py()}.")
        self._check_text(columns, reasons)
        check_coordinates(columns, reasons)
        # Last, for the id of a bad record is not taken.
        names = [None if i in reasons else name for i, name in enumerate(raw["processid"].to_pylist())]
        for i in self._seen.repeated(names):
            reasons[i] = "the process id occurs more than once."

        table = pa.table([*columns.values(), pa.array(rows, pa.int32())], names=[*columns, "row"])
        bad = [BadRecord(int(rows[i]), _readable(raw["processid"][i]), reasons[i]) for i in sorted(reasons)]
        if bad:
            table = table.take(np.setdiff1d(np.arange(len(table)), list(reasons)))
        self.count += len(table)
        return table.cast(_SCHEMA.append(pa.field("row", pa.int32()))), bad

    def _check_text(self, columns: dict[str, pa.ChunkedArray], reasons: dict[int, str]) -> None:
        processids, splits, chunks = (columns[name] for name in ("processid", "split", "chunk"))
        for i in _where(pc.is_null(processids)):
            reasons.setdefault(i, "the process id is empty; every specimen needs one.")
        for i in _where(pc.invert(pc.match_substring_regex(processids, _PROCESSID))):
            reasons.setdefault(i, f"the process id must be ASCII without slashes; got {_quoted(processids[i])}.")
        unknown = pc.invert(pc.is_in(splits, value_set=pa.array(SPLIT_NAMES)))
        if "split" in self._optional:
            unknown = pc.and_(unknown, pc.is_valid(splits))
        for i in _where(unknown):
            reasons.setdefault(i, f"`split` must be one of {list(SPLIT_NAMES)}; got {_quoted(splits[i])}.")
        for i in _where(pc.invert(pc.match_substring_regex(chunks, _CHUNK))):
            reasons.setdefault(i, f"`chunk` must be one or two hexadecimal digits; got {_quoted(chunks[i])}.")

    def _barcodes(self, barcodes: pa.ChunkedArray, typed: pa.ChunkedArray, reasons: dict[int, str]) -> pa.ChunkedArray:
        """Put barcodes in upper case, and find those with other letters."""
        if _only_nucleotides(typed):
            return typed
        cleaned = []
        for i, value in enumerate(barcodes.to_pylist()):
            letters = (value or b"").upper()
            other = letters.translate(None, IUPAC_LETTERS.encode())
            if other or (not letters and "dna_barcode" not in self._optional):
                reasons.setdefault(i, f"{why_no_barcode(letters.decode(errors='replace'))}.")
            cleaned.append(letters.decode() if letters and not other else None)
        return pa.chunked_array([pa.array(cleaned, pa.string())])


def typed_column(name: str, column: pa.ChunkedArray, reasons: dict[int, str]) -> pa.ChunkedArray:
    """Give a column of text its type in the schema.

    Args:
        name: Which column of the schema it is.
        column: Binary, empty fields as null.
        reasons: Takes what is wrong, by row, unless something is wrong with the row already.

    Returns:
        The values, null where the text is wrong.
    """
    dtype = _SCHEMA.field(name).type
    try:
        return _cast(column, dtype)
    except pa.ArrowInvalid:
        kind = "text in UTF-8" if pa.types.is_string(dtype) else f"a number ({dtype})"
        values = []
        for i, value in enumerate(column):
            try:
                values.append(_cast(pa.array([value.as_py()], pa.binary()), dtype)[0])
            except pa.ArrowInvalid:
                reasons.setdefault(i, f"{name!r} must be {kind}; got {_quoted(value)}.")
                values.append(pa.scalar(None, dtype))
        return pa.chunked_array([pa.array([value.as_py() for value in values], dtype)])


def check_coordinates(columns: Mapping[str, pa.ChunkedArray], reasons: dict[int, str]) -> None:
    """Find latitudes and longitudes that are none, NaN among them.

    Args:
        columns: `coord-lat` and `coord-lon` as numbers.
        reasons: As in `typed_column`.
    """
    for name, limit in _LIMITS.items():
        for i in _where(pc.invert(pc.less_equal(pc.abs(columns[name]), limit))):
            reasons.setdefault(i, f"{name!r} must be within {limit:g} degrees; got {columns[name][i].as_py():g}.")


class Names:
    """Names seen so far, in a few sorted arrays: 5 million process ids take 100 MB, a tenth of what a set takes."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def repeated(self, names: Sequence[bytes | None]) -> list[int]:
        """Add names; return the positions of those that were there before, in earlier calls or in this one."""
        if not names:
            return []
        # All names of an array take as much room as the longest of them.
        new = np.array([_shortened(name) if name else b"" for name in names], dtype=np.bytes_)
        old = np.zeros(len(new), bool)
        for known in self._sorted:
            place = np.minimum(np.searchsorted(known, new), len(known) - 1)
            old |= known[place] == new
        if len(set(names)) < len(names):
            _, first = np.unique(new, return_index=True)
            old[np.setdiff1d(np.arange(len(new)), first)] = True
        self._sorted.append(np.sort(new))
        # Merging arrays of like size only keeps them few, and the work in proportion to n log n.
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            last, before = self._sorted.pop(), self._sorted.pop()
            self._sorted.append(np.sort(np.concatenate([before, last]), kind="stable"))
        return [int(i) for i in np.flatnonzero(old & (new != b""))]


def _shortened(name: bytes) -> bytes:
    return name if len(name) <= _LONGEST_NAME else hashlib.blake2b(name, digest_size=_LONGEST_NAME).digest()


def _cast(column: pa.ChunkedArray | pa.Array, dtype: pa.DataType) -> pa.ChunkedArray | pa.Array:
    text = column.cast(pa.string())
    if pa.types.is_integer(dtype):
        # The released CSV writes integers as '146774.0', as pandas does in a column with gaps.
        return text.cast(pa.float64()).cast(dtype)
    return text if pa.types.is_string(dtype) else text.cast(dtype)


def _only_nucleotides(barcodes: pa.ChunkedArray) -> bool:
    """Whether no barcode is empty or has another letter; trimming is the fastest way to look at 3 GB of them."""
    if barcodes.null_count or pc.min(pc.binary_length(barcodes)).as_py() == 0:
        return False
    return not pc.max(pc.binary_length(pc.ascii_trim(barcodes, characters=IUPAC_LETTERS))).as_py()


def _in_one_line(name: str, column: pa.ChunkedArray, reasons: dict[int, str]) -> pa.ChunkedArray:
    """Put spaces in the place of line breaks and tabs, and find other control characters."""
    if pc.all(pc.ascii_is_printable(column)).as_py() is not False:
        return column
    column = pc.replace_substring_regex(column, _LINE_BREAKS, " ")
    for i in _where(pc.match_substring_regex(column, _CONTROL)):
        reasons.setdefault(i, f"{name!r} has a control character; got {_quoted(column[i])}.")
    return column


def _where(mask: pa.ChunkedArray) -> list[int]:
    """Positions of true values; null counts as false, but for nothing here can be null and true."""
    return [int(i) for i in np.flatnonzero(np.asarray(pc.fill_null(mask, False)))]


def _readable(value: pa.Scalar) -> str | None:
    data = value.as_py()
    return None if data is None else data[:_SHOWN].decode("utf-8", "backslashreplace")


def _quoted(value: pa.Scalar) -> str:
    """The first letters of a text, str or bytes, or `None`."""
    data = value.as_py()
    text = data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    return "None" if text is None else f"'{shown(text, _SHOWN)}'"
