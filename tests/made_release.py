"""A made release: simulated specimens in the files and folders of the released archives of BIOSCAN-5M."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pyarrow.compute as pc

from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES
from bioscan_hf.data.release import METADATA_ARCHIVE, METADATA_MEMBERS, PARTS, image_member
from bioscan_hf.data.specimens import load_specimens

# Columns that pandas wrote as floats in the released CSV, because they have gaps.
WRITTEN_AS_FLOAT = ("image_measurement_value", "index_bioscan_1M_insect")
Row = dict[str, object]


def made_rows(per_split: int = 20) -> list[Row]:
    """Specimens of every split of the embedded sample, in the order of their process ids; `image` holds JPEG bytes."""
    chosen = [row for rows in _candidates().values() for row in rows[:per_split]]
    return sorted(map(dict, chosen), key=lambda row: str(row["processid"]))


@cache
def _candidates() -> dict[str, list[Row]]:
    """Twenty specimens of each split, with an image each; `other_heldout` has none in the sample and borrows some."""
    table = load_specimens(image=True).with_format("arrow")[:]
    with_image = table.filter(pc.is_valid(pc.struct_field(table["image"], "bytes")))
    images = with_image["image"].slice(0, 20).to_pylist()
    found = {}
    for split in SPLIT_NAMES:
        own = with_image.filter(pc.equal(with_image["split"], split)).slice(0, 20)
        own = own if len(own) else table.filter(pc.equal(table["split"], split)).slice(0, 20)
        found[split] = [
            {**row, "image": (row["image"] or images[number])["bytes"]} for number, row in enumerate(own.to_pylist())
        ]
    return found


def write_csv(path: Path, rows: Iterable[Row]) -> Path:
    """Write the metadata as the released CSV has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMN_NAMES)
        writer.writerows([_text(name, row[name]) for name in COLUMN_NAMES] for row in rows)
    return path


def write_jsonld(path: Path, rows: Iterable[Row]) -> Path:
    """Write the metadata as a list of objects, as the released JSON-LD has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [{name: _text(name, row[name]) for name in COLUMN_NAMES} for row in rows]
    path.write_text(json.dumps(records, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    return str(float(str(value))) if name in WRITTEN_AS_FLOAT else str(value)


def make_release(root: Path, rows: list[Row] | None = None, *, package: str = "cropped_256") -> list[Row]:
    """Write the archives of a release: the metadata, one image archive per part, and the whole package in one.

    Args:
        root: Folder for the archives.
        rows: Specimens, those of `made_rows` unless given.
        package: Image package.

    Returns:
        The specimens.
    """
    rows = made_rows() if rows is None else rows
    root.mkdir(parents=True, exist_ok=True)
    stage = root / "stage"
    with zipfile.ZipFile(root / METADATA_ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(write_csv(stage / "metadata.csv", rows), METADATA_MEMBERS["csv"])
        archive.write(write_jsonld(stage / "metadata.jsonld", rows), METADATA_MEMBERS["jsonld"])
    shutil.rmtree(stage)
    for part, splits in {"": SPLIT_NAMES, **{f"_{part}": splits for part, splits in PARTS.items()}}.items():
        with zipfile.ZipFile(root / f"BIOSCAN_5M_{package}{part}.zip", "w") as archive:
            for split in splits:
                archive.mkdir(f"bioscan5m/images/{package}/{split}")
            for row in rows:
                if row["split"] in splits:
                    archive.writestr(member(row, package), _bytes(row))
    return rows


def unpack_release(root: Path) -> None:
    """Unpack all archives of a folder into it, as their users do, and remove them."""
    for path in sorted(root.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(root)
        path.unlink()


def member(row: Row, package: str = "cropped_256") -> str:
    """Path of a specimen's image inside the archives."""
    chunk = None if row["chunk"] is None else str(row["chunk"])
    return image_member(package, str(row["split"]), chunk, str(row["processid"]))


def _bytes(row: Row) -> bytes:
    assert isinstance(row["image"], bytes)
    return row["image"]
