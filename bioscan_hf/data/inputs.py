"""The user's own files, FASTA, CSV, TSV or Parquet, in the schema of BIOSCAN-5M."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Image

from bioscan_hf.data.fasta import FASTA_COLUMNS, FASTA_ENDINGS, read_fasta
from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_ALIASES, bioscan_features, resolve_split
from bioscan_hf.data.messages import shown
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.raw_records import OtherMarkers, RawRecords, ending, named_in_errors, schema_columns
from bioscan_hf.data.records import BadRecord, RecordChecker
from bioscan_hf.data.tables import FURTHER_COLUMNS, TABLE_ENDINGS, column_names, match_columns, read_table
from bioscan_hf.tokenization.letters import GAPS

SHOWN_REASONS = 5


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
    opened = open_records(path)
    if image and not opened.has_images:
        raise ValueError(f"'{path}' has no images: `image=True` needs a Parquet file with the column 'image'.")
    table = check_records(
        opened.records,
        str(path),
        opened.where,
        on_error=on_error,
        barcode_needed=not opened.has_images,
        skipped=skipped,
    )
    if not image:
        return table.select(COLUMN_NAMES)
    with named_in_errors(path):
        images = pq.read_table(path, columns=["image"])["image"]
        read = pa.chunked_array([Image().cast_storage(chunk) for chunk in images.chunks], Image().pa_type)
        return with_images(table, read.filter(pa.array(np.isin(np.arange(1, len(images) + 1), table["row"]))))


class OpenedFile(NamedTuple):
    """Records of a user's file, not checked yet.

    Attributes:
        records: Some at a time, read when asked for.
        columns: Those of the schema that the file has.
        has_images: Whether it is a Parquet file with the column `image`; then a specimen may lack its barcode.
        where: Says where in the file a record stands, as in `line 7`.
    """

    records: Iterator[RawRecords]
    columns: Collection[str]
    has_images: bool
    where: Callable[[int], str]


def open_records(path: Path, columns: Collection[str] | None = None, *, image: bool = False) -> OpenedFile:
    """Open a file of specimens.

    Args:
        path: As in `read_specimens`.
        columns: Those of the schema that are needed, or all; `marker_code` and `coord` are read in any case.
        image: Whether to read images, too, where there are some.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `read_specimens`, if it is not of a known kind, or lacks a column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file: '{path}'. Expected a FASTA, CSV, TSV or Parquet file of specimens.")
    _check_ending(path, (*FASTA_ENDINGS, *TABLE_ENDINGS))
    wanted = {*(COLUMN_NAMES if columns is None else columns), *FURTHER_COLUMNS}
    if ending(path) in FASTA_ENDINGS:
        found = [name for name in FASTA_COLUMNS if name in wanted]
        return OpenedFile(read_fasta(path, found), FASTA_COLUMNS, False, lambda place: f"line {place}")
    names = column_names(path)
    matched = match_columns(names)
    # Of specimens with images, some have no barcode yet.
    is_parquet = ending(path) == ".parquet"
    has_images = is_parquet and "image" in names
    if "processid" not in matched or not (has_images or "dna_barcode" in matched):
        raise ValueError(f"'{path}' needs the columns 'processid' and 'dna_barcode'; found {shown(names)}.")
    records = read_table(
        path, {name: source for name, source in matched.items() if name in wanted}, image=image and has_images
    )
    unit = "row" if is_parquet else "line"
    return OpenedFile(records, list(matched), has_images, lambda place: f"{unit} {place}")


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
    other_markers = OtherMarkers()
    for batch in batches:
        table, found = _check(checker, other_markers.leave_out(batch))
        good.append(table)
        bad += sorted([*batch.malformed, *found], key=lambda record: record.row)
        if bad and on_error == "raise":
            raise ValueError(f"'{name}', {_describe(bad[0], good, where)}")
    if skipped is not None:
        skipped += bad
    count = sum(len(table) for table in good)
    if message := other_markers.message(name):
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


def _check(checker: RecordChecker, batch: RawRecords) -> tuple[pa.Table, list[BadRecord]]:
    columns = schema_columns(batch, COLUMN_NAMES)
    for alias, released in SPLIT_ALIASES.items():
        columns["split"] = pc.if_else(pc.equal(columns["split"], alias.encode()), released.encode(), columns["split"])
    for pattern, replacement in ((f"[{re.escape(GAPS)}]".encode(), b""), (b"[uU]", b"T")):
        columns["dna_barcode"] = pc.replace_substring_regex(columns["dna_barcode"], pattern, replacement)
    return checker.check(pa.table(columns), batch.places)


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
        raise ValueError(f"'{path}' must have the column 'processid' and one with the split; got {shown(names)}.")
    splits: dict[str, str | None] = {}
    for batch in read_table(path, {"processid": "processid", "split": others[0]}):
        for bad in batch.malformed:
            raise ValueError(f"'{path}', line {bad.row} (process id {bad.processid!r}): {bad.reason}")
        processids, column = (batch.table[name].cast(pa.string()).to_pylist() for name in ("processid", "split"))
        for processid, value in zip(processids, column, strict=True):
            split = _one_split(value, path)
            if splits.setdefault(processid, split) != split:
                raise ValueError(
                    f"'{path}': the process id '{shown(processid)}' has two splits, {splits[processid]!r}, {split!r}."
                )
    return splits


def _one_split(value: str | None, path: Path) -> str | None:
    try:
        names = resolve_split(value) if value else (None,)
    except ValueError as error:
        raise ValueError(f"'{path}': {shown(error)}") from error
    if len(names) != 1:
        raise ValueError(f"'{path}' must name one split per specimen; got '{shown(value)}'.")
    return names[0]
