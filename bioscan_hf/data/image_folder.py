"""A folder of photographs, with or without a table, in the schema of BIOSCAN-5M."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from datasets import Image

from bioscan_hf.data.files import digest
from bioscan_hf.data.inputs import check_records, match_columns, with_images
from bioscan_hf.data.messages import reason_of, shown
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.pixels import open_image
from bioscan_hf.data.raw_records import RawRecords, raw_records
from bioscan_hf.data.records import BadRecord
from bioscan_hf.data.tables import column_names, read_table

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
TABLE_NAMES = ("metadata.csv", "metadata.tsv", "metadata.parquet")
FILE_NAME = "file_name"
_SHOWN = 5
_ENDINGS_OF_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".xlsx", ".csv.gz", ".tsv.gz")


def read_image_folder(folder: Path, *, on_error: OnError = "raise", skipped: list[BadRecord] | None = None) -> pa.Table:
    """Read the specimens of a folder of photographs.

    Images may lie in folders of any depth; hidden files and folders are left out. The names of folders mean nothing:
    neither species nor split is taken from them, write these into a table. Without a table, each image is a specimen,
    its process id is the name of the file without ending, and all other columns are null.

    A table `metadata.csv`, `.tsv` or `.parquet` in the folder adds the other columns (names as for `read_specimens`;
    the barcode may be absent). It says by `file_name` which image is a row's, as a path below the folder (the
    convention of `datasets`' `imagefolder`), or by `processid`; with both, the process id need not be the name of the
    file. Each row must have its image and each image a row, so that nothing gets lost by a wrong name; for the same
    reason, a table of another name in the folder is refused.

    Images are not decoded, nor are their bytes kept: only their first bytes are read, to see that they are images. So
    a file that breaks off later is found when it is decoded.

    Args:
        folder: Holds the images.
        on_error: Whether a bad image or row is an error (`raise`), or is left out with a warning (`skip`); with
            `skip`, so is an image without row.
        skipped: Takes the records that were left out because they are bad.

    Returns:
        `image` (`datasets.Image`, as a path) and the 23 columns, one row per specimen, in the order of the paths or of
        the table.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder has no images or two tables, two images have the same process id, an image cannot be
            read, an image and the table do not fit, or a row of the table is bad.
    """
    images = find_images(folder)
    metadata = find_table(folder)
    if metadata is None:
        records, name, unit = records_of_images(folder, images), folder, "file"
        image_of = dict(enumerate(images, 1))
    else:
        records, image_of = records_of_rows(folder, images, metadata)
        name, unit = metadata, "row" if metadata.suffix == ".parquet" else "line"
    table = check_records(
        records,
        str(name),
        lambda place: f"'{shown(image_of[place])}'" if metadata is None else f"{unit} {place}",
        on_error=on_error,
        barcode_needed=False,
        skipped=skipped,
    )
    check_listed(set(images) - set(image_of.values()), metadata, on_error)
    paths = [str((folder / image_of[place]).absolute()) for place in table["row"].to_pylist()]
    return with_images(table, Image().cast_storage(pa.array(paths, pa.string())))


def folder_digest(folder: Path, *others: Path) -> str:
    """Short name of a folder's names and sizes of images, and of the content of its table and other files."""
    listing = [f"{file}\t{(folder / file).stat().st_size}" for file in find_images(folder)]
    table = find_table(folder)
    content = digest(*([] if table is None else [table]), *others)
    return hashlib.sha256(os.fsencode("\n".join([*listing, content]))).hexdigest()[:12]


def find_images(folder: Path) -> list[str]:
    """Paths below the folder, with `/`, sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"No such folder: '{folder}'. Expected a folder of images.")
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(root).relative_to(folder)
        found += [
            (below / name).as_posix()
            for name in files
            if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith(".")
        ]
    if not found:
        endings = ", ".join(IMAGE_ENDINGS)
        raise ValueError(
            f"'{folder}' holds no images; expected files that end in {endings}. BIOSCAN-5M is for `load_dataset`."
        )
    return sorted(found)


def find_table(folder: Path) -> Path | None:
    """The table of a folder of images, if it has one."""
    # A table of another name is most likely a mistake, and the images would go without what it says.
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    found = [name for name in files if name in TABLE_NAMES or name.lower().endswith(_ENDINGS_OF_TABLES)]
    if len(found) > 1 or not set(found) <= set(TABLE_NAMES):
        raise ValueError(
            f"'{folder}' must have one of the tables {', '.join(TABLE_NAMES)}, or none; found {shown(found)}."
        )
    return folder / found[0] if found else None


def records_of_images(folder: Path, images: Sequence[str]) -> list[RawRecords]:
    """One record per image; its place is its number, from 1."""
    reasons = {place: _why_unreadable(folder / image) for place, image in enumerate(images, 1)}
    stems = {place: Path(image).stem for place, image in enumerate(images, 1)}
    good = [place for place, reason in reasons.items() if reason is None]
    bad = [BadRecord(place, shown(stems[place]), reason) for place, reason in reasons.items() if reason is not None]
    return [raw_records({"processid": [stems[place] for place in good]}, good, bad)]


def records_of_rows(folder: Path, images: Sequence[str], metadata: Path) -> tuple[list[RawRecords], dict[int, str]]:
    """The rows of the table, and the image of each by the place of the row."""
    names = column_names(metadata)
    columns = match_columns(names, (FILE_NAME,))
    if not {"processid", FILE_NAME} & set(columns):
        raise ValueError(f"'{metadata}' needs the column '{FILE_NAME}' or 'processid'; found {shown(names)}.")
    by_path = {image: [image] for image in images}
    by_stem: dict[str, list[str]] = {}
    for image in images:
        by_stem.setdefault(Path(image).stem, []).append(image)
    records: list[RawRecords] = []
    image_of: dict[int, str] = {}
    for batch in read_table(metadata, columns):
        processids, reasons = [], {}
        for place, processid, file_name in zip(
            batch.places.tolist(), _texts(batch, "processid"), _texts(batch, FILE_NAME), strict=True
        ):
            # `PurePosixPath` takes the './' away.
            path = file_name and PurePosixPath(file_name.replace("\\", "/")).as_posix()
            found = by_path.get(path, []) if path else by_stem.get(processid or "", [])
            processids.append(processid or Path(path or "").stem)
            if len(found) == 1:
                image_of[place] = found[0]
            if reason := _why_bad(folder, found, path or processid):
                reasons[place] = reason
        records.append(_with_processids(batch, processids, reasons))
    return records, image_of


def _why_bad(folder: Path, found: list[str], name: str | None) -> str | None:
    if not found:
        return f"there is no image {None if name is None else shown(name)!r} in the folder."
    if len(found) > 1:
        return f"it has the images {shown(found[:_SHOWN])}; write which one into a column '{FILE_NAME}'."
    reason = _why_unreadable(folder / found[0])
    return reason and f"'{shown(found[0])}': {reason}"


def _with_processids(batch: RawRecords, processids: list[str], reasons: Mapping[int, str]) -> RawRecords:
    bad = [
        BadRecord(p, shown(name) or None, reasons[p])
        for p, name in zip(batch.places, processids, strict=True)
        if p in reasons
    ]
    table = batch.table.select([name for name in batch.table.column_names if name not in ("processid", FILE_NAME)])
    table = table.append_column("processid", pa.array(processids, pa.string()).cast(pa.binary()))
    good = ~np.isin(batch.places, list(reasons))
    return RawRecords(table.filter(pa.array(good)), batch.places[good], [*batch.malformed, *bad])


def _texts(batch: RawRecords, name: str) -> list[str | None]:
    if name not in batch.table.column_names:
        return [None] * len(batch.table)
    return batch.table[name].cast(pa.string()).to_pylist()


def check_listed(unlisted: set[str], metadata: Path | None, on_error: OnError) -> None:
    """Refuse images that the table has no row for, or warn of them."""
    if not unlisted or metadata is None:
        return
    message = f"'{metadata}' has no row for '{shown(min(unlisted))}' ({len(unlisted):,} images without row)"
    if on_error == "raise":
        raise ValueError(f"{message}; add rows, or leave such images out with `on_error='skip'`.")
    warnings.warn(f"{message}; left out.", stacklevel=3)


def _why_unreadable(path: Path) -> str | None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "the path of the image is not UTF-8; rename it."
    try:
        if not path.stat().st_size:
            return "the image is empty (0 bytes)."
        with open_image(path):  # reads the header only: 30 microseconds
            return None
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged files
        return f"the image cannot be read ({reason_of(error)})."
