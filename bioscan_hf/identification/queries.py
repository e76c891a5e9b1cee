"""Queries from wherever specimens may lie, some at a time; a bad record becomes a row with a note."""

from __future__ import annotations

import string
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset, Image, IterableDataset
from numpy.typing import NDArray

from bioscan_hf.data.anywhere import SAMPLE, is_own, load_anywhere
from bioscan_hf.data.features import SPLIT_ALIASES, resolve_split
from bioscan_hf.data.image_folder import (
    check_listed,
    find_images,
    find_table,
    records_of_images,
    records_of_rows,
)
from bioscan_hf.data.inputs import OpenedFile, open_records, read_splits
from bioscan_hf.data.raw_records import RECORDS_PER_BATCH, OtherMarkers, RawRecords, schema_columns
from bioscan_hf.data.records import Names, check_coordinates, typed_column
from bioscan_hf.tokenization.letters import GAPS, IUPAC_LETTERS, MAX_LETTERS, why_no_barcode

_COLUMNS = ("processid", "dna_barcode", "coord-lat", "coord-lon")
_CLEAN = bytes.maketrans((string.ascii_lowercase + "Uu").encode(), (string.ascii_uppercase + "TT").encode())
_MOST_BYTES = 1 << 28
_GAPS, _LETTERS = GAPS.encode(), IUPAC_LETTERS.encode()


class Queries(NamedTuple):
    """N queries, in the order of the input.

    Attributes:
        processids: Their names; of a record without one its place, such as `line 7`.
        barcodes: Upper-case IUPAC letters, U as T, without gaps; None where a barcode is absent or bad.
        images: Undecoded images, dictionaries of `bytes` and `path` as `SpecimenCollator` takes them, or None where
            there is none; None if the source has no images, or they were not asked for.
        notes: What is wrong with a record, in lower case and without full stop, joined by `; `; None if nothing is.
        latitudes: (N,) in degrees; NaN where a place is not given, or is none.
        longitudes: (N,), likewise.
    """

    processids: list[str]
    barcodes: list[str | None]
    images: list[Any] | None
    notes: list[str | None]
    latitudes: NDArray[np.float64]
    longitudes: NDArray[np.float64]


def read_queries(
    source: str | Path,
    *,
    split: str | None = None,
    splits: Path | None = None,
    image: bool = True,
    batch_size: int = 1024,
) -> Iterator[Queries]:
    """Read queries, holding no more than some thousand of them, and about 15 bytes for each process id.

    A bad record (its barcode is empty, has other letters or more than `MAX_LETTERS`, its place is none, its image
    cannot be read, it has too many or too few fields) does not stop the others: it is a row with a note, and with None
    for what is bad. So are rows without process id, and the later ones of those that share theirs. Of the other columns
    none is looked at. Of a BOLD export the records of the marker COI-5P are read, and a warning at the end counts the
    others.

    Args:
        source: As in `load_anywhere`: a FASTA, CSV, TSV or Parquet file (see `read_specimens`), a folder of images with
            or without a table (see `read_image_folder`), whose names, and the table, are held in memory, a folder with
            the released archives or a repository on the Hub, both streamed, or `sample`. Bad records of a release are
            left out, with a warning.
        split: Which queries to take, as in `load_anywhere`; by default all. A record that cannot be read as far as its
            split stays, with its note.
        splits: Table that replaces the column `split` of a file or folder (see `read_splits`), if `split` is given.
        image: Whether to read images where there are some. Of a repository on the Hub they would be downloaded.
        batch_size: Queries at a time; the last ones may be fewer.

    Returns:
        Batches of queries, read when asked for.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: At once, or from the iterator, if the source is not of a known kind, cannot be read, lacks a column,
            or holds no specimens, or none of the split; if an argument is wrong.
        OSError: If the Hub does not answer.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
    path = Path(source).expanduser()
    chosen = None
    if not is_own(source) or source == SAMPLE:
        columns = [*_COLUMNS, "image"] if image else list(_COLUMNS)
        opened = _open_loaded(
            load_anywhere(source, columns, split=split, splits=splits, streaming=source != SAMPLE, on_error="skip")
        )
    else:
        opened = _open_folder(path, image) if path.is_dir() else open_records(path, (*_COLUMNS, "split"), image=image)
        if split is not None:
            if splits is None and "split" not in opened.columns:
                raise ValueError(f"'{source}' has no specimens of the split {split!r}; it has no splits.")
            chosen = _Chosen(split, None if splits is None else read_splits(Path(splits)))
    seen = Names()
    return (
        _queries(table, opened.where, seen) for table in _resized(_selected(str(source), opened, chosen), batch_size)
    )


class _Chosen:
    """Keeps the records of a split."""

    def __init__(self, split: str, split_of: dict[str, str | None] | None) -> None:
        self.split = split
        self.found: set[str] = set()
        self._wanted = set(resolve_split(split))
        self._split_of = split_of

    def keep(self, batch: RawRecords) -> RawRecords:
        columns = schema_columns(batch, ("processid", "split"))
        if self._split_of is None:
            named = [_text(name) for name in columns["split"].to_pylist()]
            splits = [SPLIT_ALIASES.get(name, name) for name in named]
        else:
            splits = [self._split_of.get(_text(processid)) or "" for processid in columns["processid"].to_pylist()]
        self.found.update(splits)
        return batch.filter(np.array([name in self._wanted for name in splits], bool))


def _selected(name: str, opened: OpenedFile, chosen: _Chosen | None) -> Iterator[pa.Table]:
    """Rows of what is to be read, as `_table` makes them."""
    markers, count = OtherMarkers(), 0
    for batch in opened.records:
        kept = markers.leave_out(batch)
        table = _table(chosen.keep(kept) if chosen else kept)
        count += len(table)
        yield table
    if message := markers.message(name):
        if not count and not (chosen and chosen.found):
            raise ValueError(f"{message}; nothing is left.")
        warnings.warn(f"{message}.", stacklevel=4)
    if not count and chosen:
        found = sorted(filter(None, chosen.found)) or "no splits"
        raise ValueError(f"'{name}' has no specimens of the split {chosen.split!r}; it has {found}.")
    if not count:
        raise ValueError(f"'{name}' holds no specimens.")


def _table(batch: RawRecords) -> pa.Table:
    """The columns that are needed, places, and notes on malformed records, which take their places among the others."""
    columns = schema_columns(batch, _COLUMNS)
    if "image" in batch.table.column_names:
        columns["image"] = batch.table["image"]
    columns |= {"place": pa.array(batch.places, pa.int64()), "note": pa.nulls(len(batch.places), pa.string())}
    if not batch.malformed:
        return pa.table(columns)
    malformed = [
        {
            "processid": record.processid and record.processid.encode(errors="backslashreplace"),
            "place": record.row,
            "note": record.reason,
        }
        for record in batch.malformed
    ]
    schema = pa.schema([("processid", pa.binary()), ("place", pa.int64()), ("note", pa.string())])
    more = pa.Table.from_pylist(malformed, schema)
    return pa.concat_tables([pa.table(columns), more], promote_options="default").sort_by("place")


def _resized(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of one size, the last one but for, and fewer where they take much memory."""
    waiting: list[pa.Table] = []
    for table in tables:
        whole = pa.concat_tables([*waiting, table])
        while len(whole) >= size:
            yield whole.slice(0, size)
            whole = whole.slice(size)
        if whole.nbytes > _MOST_BYTES:
            yield whole
            whole = whole.slice(len(whole))
        waiting = [whole]
    if waiting and len(waiting[0]):
        yield waiting[0]


def _queries(table: pa.Table, where: Callable[[int], str], seen: Names) -> Queries:
    """Check some records."""
    ids, places = table["processid"].to_pylist(), table["place"].to_pylist()
    notes: list[list[str]] = [[note.removesuffix(".")] if note else [] for note in table["note"].to_pylist()]
    images = None
    if "image" in table.column_names:
        images = [image if image and any(image.values()) else None for image in table["image"].to_pylist()]
    barcodes = []
    for i, raw in enumerate(table["dna_barcode"].to_pylist()):
        barcode, reason = _clean(raw or b"")
        barcodes.append(barcode)
        if reason and not notes[i]:
            if raw or images is None:
                notes[i].append(reason)
            elif images[i] is None:
                notes[i].append("there is neither a barcode nor an image")
    for i, name in enumerate(ids):
        if not name:
            notes[i].append("the process id is empty")
    latitudes, longitudes = _coordinates(table, notes)
    for i in seen.repeated(ids):
        notes[i].append("the process id occurs more than once")
    return Queries(
        [_text(name) or where(place) for name, place in zip(ids, places, strict=True)],
        barcodes,
        images,
        # Reasons may hold the mark between notes.
        ["; ".join(reason.replace("; ", ", ") for reason in reasons) or None for reasons in notes],
        latitudes,
        longitudes,
    )


def _clean(raw: bytes) -> tuple[str | None, str | None]:
    """A barcode as `clean_barcode` writes it, in a fifth of the time, or what is wrong with it."""
    letters = raw.translate(_CLEAN, _GAPS)
    if 0 < len(letters) <= MAX_LETTERS and not letters.translate(None, _LETTERS):
        return letters.decode(), None
    return None, why_no_barcode(letters.decode(errors="replace"))


def _coordinates(table: pa.Table, notes: list[list[str]]) -> list[NDArray[np.float64]]:
    """Latitudes and longitudes; NaN in both where one is none."""
    reasons: dict[int, str] = {}
    typed = {name: typed_column(name, table[name], reasons) for name in ("coord-lat", "coord-lon")}
    check_coordinates(typed, reasons)
    values = [np.array(column.fill_null(np.nan).to_numpy()) for column in typed.values()]
    for i, reason in reasons.items():
        notes[i].append(reason.removesuffix("."))
        for column in values:
            column[i] = np.nan
    return values


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


def _open_folder(folder: Path, image: bool) -> OpenedFile:
    """Open a folder of images, with or without a table."""
    images, metadata = find_images(folder), find_table(folder)
    if metadata is None:
        return OpenedFile(_images_alone(folder, images, image), ("processid",), True, lambda place: f"file {place}")
    records, image_of = records_of_rows(folder, images, metadata)
    check_listed(set(images) - set(image_of.values()), metadata, "skip")
    unit = "row" if metadata.suffix == ".parquet" else "line"
    with_images = (_with_images(batch, folder, image_of) for batch in records) if image else iter(records)
    names = records[0].table.column_names if records else ()
    return OpenedFile(with_images, names, True, lambda place: f"{unit} {place}")


def _images_alone(folder: Path, images: list[str], image: bool) -> Iterator[RawRecords]:
    for first in range(0, len(images), RECORDS_PER_BATCH):
        some = images[first : first + RECORDS_PER_BATCH]
        (batch,) = records_of_images(folder, some)
        yield _with_images(batch, folder, dict(enumerate(some, 1))) if image else batch


def _with_images(batch: RawRecords, folder: Path, image_of: dict[int, str]) -> RawRecords:
    paths = [str((folder / image_of[place]).absolute()) for place in batch.places.tolist()]
    images = Image().cast_storage(pa.array(paths, pa.string()))
    return batch._replace(table=batch.table.append_column("image", images))


def _open_loaded(specimens: Dataset | IterableDataset) -> OpenedFile:
    """Open the sample or a release."""
    return OpenedFile(_loaded(specimens), (), False, lambda place: f"row {place}")


def _loaded(specimens: Dataset | IterableDataset) -> Iterator[RawRecords]:
    first = 1
    for table in specimens.with_format("arrow").iter(RECORDS_PER_BATCH):
        columns = {name: table[name].cast(pa.string()).cast(pa.binary()) for name in _COLUMNS}
        if "image" in table.column_names:
            columns["image"] = table["image"]
        yield RawRecords(pa.table(columns), np.arange(first, first + len(table)), [])
        first += len(table)
