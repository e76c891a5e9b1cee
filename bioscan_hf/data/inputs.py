"""The user's own files, FASTA, CSV, TSV or Parquet, in the schema of BIOSCAN-5M."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Image

from bioscan_hf.data.fasta import FASTA_COLUMNS, FASTA_ENDINGS, read_fasta
from bioscan_hf.data.features import COLUMN_NAMES, RANKS, SPLIT_ALIASES, bioscan_features, resolve_split
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.raw_records import RawRecords, ending, named_in_errors
from bioscan_hf.data.records import BadRecord, RecordChecker
from bioscan_hf.data.tables import TABLE_ENDINGS, column_names, read_table
from bioscan_hf.tokenization.letters import GAPS

MARKER = "COI-5P"
SHOWN_REASONS = 5

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
# Not part of the schema: which records to keep, and latitude and longitude in one field.
_FURTHER_COLUMNS = ("marker_code", "coord")


def read_specimens(
    path: Path, *, image: bool = False, on_error: OnError = "raise", skipped: list[BadRecord] | None = None
) -> pa.Table:
    """Read specimens from a FASTA, CSV, TSV or Parquet file.

    Barcodes are put in upper case, U is written T, and gaps (`-`, `.`) and white space are left out. Columns that are
    not part of the schema are dropped, absent ones are null, and so are empty fields, `None`, `NA` and `nan`. Exports
    of BOLD 4 and 5 are understood, tables (see `match_columns`) and FASTA (see `bioscan_hf.data.fasta.read_fasta`): of
    their records those of the marker COI-5P are read, and a warning counts the others.

    Args:
        path: File with one of the endings `.fasta`, `.fas`, `.fa`, `.fna`, `.csv`, `.tsv`, `.txt` (tab-separated) or
            `.parquet`; all but the last may be followed by `.gz`.
        image: Whether to read the column `image` of a Parquet file, too, into memory.
        on_error: Whether a bad record is an error (`raise`), or is left out with a warning (`skip`).
        skipped: Takes the records that were left out because they are bad.

    Returns:
        The 23 columns of `bioscan_hf.data.features.COLUMNS`, one row per specimen; before them `image`, if asked for.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not of a known kind, cannot be read, lacks the process id, the barcode or the image,
            or holds no specimens; or if a record is bad: too many or too few fields, a process id that is empty, not
            ASCII or repeated, a barcode that is empty (a Parquet file with images may have such) or has other letters,
            a broken number, a latitude or longitude that is none, an unknown split. The message names file, line (row,
            in Parquet) and process id.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file: '{path}'. Expected a FASTA, CSV, TSV or Parquet file of specimens.")
    _check_ending(path, (*FASTA_ENDINGS, *TABLE_ENDINGS))
    if ending(path) in FASTA_ENDINGS:
        names: Sequence[str] = FASTA_COLUMNS
        batches, has_images = read_fasta(path), False
    else:
        names = column_names(path)
        columns = match_columns(names)
        # Of specimens with images, some have no barcode yet.
        has_images = ending(path) == ".parquet" and "image" in names
        if "processid" not in columns or not (has_images or "dna_barcode" in columns):
            raise ValueError(f"'{path}' needs the columns 'processid' and 'dna_barcode'; found {names}.")
        batches = read_table(path, columns)
    if image and (ending(path) != ".parquet" or "image" not in names):
        raise ValueError(f"'{path}' has no images: `image=True` needs a Parquet file with the column 'image'.")
    unit = "row" if ending(path) == ".parquet" else "line"
    table = check_records(
        batches,
        str(path),
        lambda place: f"{unit} {place}",
        on_error=on_error,
        barcode_needed=not has_images,
        skipped=skipped,
    )
    if not image:
        return table.select(COLUMN_NAMES)
    with named_in_errors(path):
        images = pq.read_table(path, columns=["image"])["image"]
        read = pa.chunked_array([Image().cast_storage(chunk) for chunk in images.chunks], Image().pa_type)
        return with_images(table, read.filter(pa.array(np.isin(np.arange(1, len(images) + 1), table["row"]))))


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
    for column in (*COLUMN_NAMES, *_FURTHER_COLUMNS, *others):
        for candidate in (column.lower(), *_SYNONYMS.get(column, ())):
            if candidate in by_name:
                columns.setdefault(column, by_name[candidate])
    if "coord-lat" in columns or "coord-lon" in columns:
        columns.pop("coord", None)
    return columns


def check_records(
    batches: Iterable[RawRecords],
    name: str,
    where: Callable[[int], str],
    *,
    on_error: OnError,
    barcode_needed: bool = True,
    skipped: list[BadRecord] | None = None,
) -> pa.Table:
    """Bring records into the schema, and check them.

    Args:
        batches: Records with columns of the schema, `marker_code` and `coord`.
        name: Names their source in errors.
        where: Says in errors where in it a record stands.
        on_error: As in `read_specimens`.
        barcode_needed: Whether a record without barcode is bad.
        skipped: As in `read_specimens`.

    Returns:
        The 23 columns of the schema and, last, `row` (int32): the place of each record.

    Raises:
        ValueError: As `read_specimens`.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"`on_error` must be one of {list(get_args(OnError))}; got {on_error!r}.")
    checker = RecordChecker(optional=["split"] if barcode_needed else ["split", "dna_barcode"])
    good: list[pa.Table] = []
    bad: list[BadRecord] = []
    other_markers: Counter[str] = Counter()
    for batch in batches:
        table, found = _check(checker, _of_the_marker(batch, other_markers))
        good.append(table)
        bad += sorted([*batch.malformed, *found], key=lambda record: record.row)
        if bad and on_error == "raise":
            raise ValueError(f"'{name}', {_describe(bad[0], good, where)}")
    if skipped is not None:
        skipped += bad
    count = sum(len(table) for table in good)
    if other_markers:
        summary = ", ".join(f"{marker}: {n:,}" for marker, n in other_markers.most_common())
        message = f"'{name}': left out {other_markers.total():,} that are not of the marker {MARKER} ({summary})"
        if not count and not bad:
            raise ValueError(f"{message}; nothing is left.")
        warnings.warn(f"{message}.", stacklevel=3)
    if bad:
        reasons = [_describe(record, good, where) for record in bad[:SHOWN_REASONS]]
        more = f" ... and {len(bad) - SHOWN_REASONS:,} more." if len(bad) > SHOWN_REASONS else ""
        message = f"'{name}': left out {len(bad):,} of {len(bad) + count:,} because they are bad:"
        warnings.warn(f"{message} {' '.join(reasons)}{more}", stacklevel=3)
    if not count:
        raise ValueError(f"'{name}' holds no specimens.")
    return pa.concat_tables(good)


def _describe(bad: BadRecord, good: list[pa.Table], where: Callable[[int], str]) -> str:
    processid = "" if bad.processid is None else f" (process id {bad.processid!r})"
    reason = bad.reason
    for table in good if bad.processid else ():
        at = pc.index(table["processid"], bad.processid).as_py()
        if at >= 0:
            reason = f"{reason.removesuffix('.')}; {where(table['row'][at].as_py())} has the same process id."
    return f"{where(bad.row)}{processid}: {reason}"


def _of_the_marker(batch: RawRecords, other_markers: Counter[str]) -> RawRecords:
    """Leave out the records of other markers, and BOLD's records without any sequence, and count them."""
    if "marker_code" not in batch.table.column_names:
        return batch
    markers = batch.table["marker_code"].to_pylist()
    has_barcode = batch.table["dna_barcode"].is_valid().to_pylist() if "dna_barcode" in batch.table.column_names else []
    keep = []
    for i, marker in enumerate(markers):
        keep.append(marker.upper() == MARKER.encode() if marker else not has_barcode or has_barcode[i])
        if not keep[-1]:
            other_markers[marker.decode() if marker else "no sequence"] += 1
    return RawRecords(batch.table.filter(pa.array(keep, pa.bool_())), batch.places[np.array(keep, bool)], [])


def _check(checker: RecordChecker, batch: RawRecords) -> tuple[pa.Table, list[BadRecord]]:
    columns = dict(zip(batch.table.column_names, batch.table.columns, strict=True))
    if "coord" in columns:
        columns["coord-lat"], columns["coord-lon"] = _split_coordinates(columns["coord"])
    nothing = pa.chunked_array([pa.nulls(len(batch.table), pa.binary())])
    columns = {name: columns.get(name, nothing) for name in COLUMN_NAMES}
    for alias, released in SPLIT_ALIASES.items():
        columns["split"] = pc.if_else(pc.equal(columns["split"], alias.encode()), released.encode(), columns["split"])
    for pattern, replacement in ((f"[{re.escape(GAPS)}]".encode(), b""), (b"[uU]", b"T")):
        columns["dna_barcode"] = pc.replace_substring_regex(columns["dna_barcode"], pattern, replacement)
    return checker.check(pa.table(columns), batch.places)


def _split_coordinates(column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """Latitude and longitude of `(-35.02, 149.1)`, in brackets of any kind or none."""
    pairs = [(value or b"").strip(b"[]() ").partition(b",") for value in column.to_pylist()]
    return [pa.chunked_array([[pair[i].strip() or None for pair in pairs]], pa.binary()) for i in (0, 2)]


def with_images(table: pa.Table, images: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Put a column `image` before the 23 columns.

    Args:
        table: Has the 23 columns.
        images: One per row, as `datasets.Image` stores them (bytes and path).
    """
    columns = [images, *(table[name] for name in COLUMN_NAMES)]
    return pa.table(columns, schema=bioscan_features(image=True).arrow_schema)


def _check_ending(path: Path, endings: Sequence[str]) -> None:
    """Refuse a file of another kind.

    Raises:
        ValueError: If its name has none of the endings.
    """
    if ending(path) not in endings:
        raise ValueError(f"'{path}' is of an unknown kind; expected one of the endings {', '.join(endings)}.")


def read_splits(path: Path) -> dict[str, str | None]:
    """Read which specimen belongs to which split.

    Args:
        path: CSV or Parquet file (`.csv`, `.csv.gz`, `.tsv`, `.parquet`) with the column `processid` and one other,
            which holds names of BIOSCAN-5M's splits.

    Returns:
        The split of each process id; None where the field is empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the columns are others, a row has too many or too few fields, a split is not known, or a process
            id has two.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file: '{path}'. Expected a table with `processid` and a split.")
    _check_ending(path, TABLE_ENDINGS)
    names = column_names(path)
    others = [name for name in names if name != "processid"]
    if len(others) != 1 or len(names) != 2:
        raise ValueError(f"'{path}' must have the column 'processid' and one with the split; got {names}.")
    splits: dict[str, str | None] = {}
    for batch in read_table(path, {"processid": "processid", "split": others[0]}):
        for bad in batch.malformed:
            raise ValueError(f"'{path}', line {bad.row} (process id {bad.processid!r}): {bad.reason}")
        processids, column = (batch.table[name].cast(pa.string()).to_pylist() for name in ("processid", "split"))
        for processid, value in zip(processids, column, strict=True):
            split = _one_split(value, path)
            if splits.setdefault(processid, split) != split:
                raise ValueError(
                    f"'{path}': the process id {processid!r} has two splits, {splits[processid]!r}, {split!r}."
                )
    return splits


def _one_split(value: str | None, path: Path) -> str | None:
    try:
        names = resolve_split(value) if value else (None,)
    except ValueError as error:
        raise ValueError(f"'{path}': {error}") from error
    if len(names) != 1:
        raise ValueError(f"'{path}' must name one split per specimen; got {value!r}.")
    return names[0]
