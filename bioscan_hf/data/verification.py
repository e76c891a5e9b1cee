"""Is it whole, and what was published? Checks of a release, and of what it was converted to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bioscan_hf.data.archives import find_images
from bioscan_hf.data.features import SPLIT_NAMES, published_name
from bioscan_hf.data.messages import reason_of, shown
from bioscan_hf.data.metadata import MetadataSource, Skipped, find_metadata, read_metadata
from bioscan_hf.data.metadata_checks import CHECKED_COLUMNS, Check, MetadataChecker
from bioscan_hf.data.parquet import read_some
from bioscan_hf.data.plan import Report, find_packages, image_members, metadata_path, part_of, silent
from bioscan_hf.data.release import IMAGE_MD5, MD5, METADATA_ARCHIVE, PACKAGES
from bioscan_hf.data.shards import left_out_of

_PACKAGE_WITH_MD5 = "cropped_256"
_BLOCK_BYTES = 1 << 20
_ROWS_AT_A_TIME = 20_000
_SHOWN = 3
# What reading a file that is damaged, or that somebody made, may raise.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException)


def verify(path: Path, *, report: Report | None = None) -> list[Check]:
    """Check a converted folder, or a release.

    Args:
        path: What `bioscan data convert` wrote; or a folder with released archives or with what they unpack to, or one
            of these files.
        report: Called while it works.

    Returns:
        The checks, in the order in which they were made.

    Raises:
        FileNotFoundError: If there is nothing to check.
        ValueError: If the metadata cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such file or folder: '{path}'.")
    if path.is_dir() and any(path.glob("metadata/*.parquet")):
        return list(_check_converted(path, report or silent))
    return list(_check_release(path, report or silent))


def md5_of(path: Path, report: Report = silent) -> str:
    """MD5 of a file, in hexadecimal digits."""
    digest, done, size = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            report(f"MD5 of {path.name}", done, size)
    return digest.hexdigest()


def published_md5(path: Path) -> str | None:
    """The published MD5 of a released file, None if none is."""
    return next((md5 for name, md5 in MD5.items() if Path(name).name == path.name), None)


def _check_release(path: Path, report: Report) -> Iterator[Check]:
    files = [path] if path.is_file() else sorted([*path.glob("*.zip"), *path.glob("bioscan5m/*.zip")])
    source = _metadata(path, files)
    if source is not None and source.path not in files:
        files.append(source.path)
    yield from _check_md5(files, report)
    if source is None:
        yield Check("records", None, "no metadata here")
        return
    checker = MetadataChecker()
    packages = [] if path.is_file() else [_Package(path, name, splits) for name, splits in find_packages(path).items()]
    skipped: list[Skipped] = []
    for table in read_metadata(source, on_error="skip", skipped=skipped):
        checker.add(table)
        for package in packages:
            package.look_for(table)
        report("Reading records", checker.count, None)
    bad = "".join(f"; {record.processid}: {record.reason}" for record in skipped[:_SHOWN])
    yield Check("records", not skipped, f"{checker.count:,} good, {len(skipped):,} bad{bad}")
    yield from checker.checks()
    for package in packages:
        yield from package.checks()


class _Package:
    """An image package of a release, and the specimens whose images are in it."""

    def __init__(self, root: Path, name: str, splits: Sequence[str]) -> None:
        self.name = name
        self._splits = splits
        self._images = {held: find_images(root, name, held) for held in dict.fromkeys(map(part_of, splits))}
        self._there = 0
        self._missing: list[str] = []

    def look_for(self, table: pa.Table) -> None:
        for held, images in self._images.items():
            own = table.filter(pc.is_in(table["split"], pa.array(held)))
            absent = np.flatnonzero(images.sizes(image_members(own, self.name)) < 0)
            self._missing += own["processid"].take(pa.array(absent)).to_pylist()
            self._there += len(own) - len(absent)

    def checks(self) -> Iterator[Check]:
        listed = f", such as {', '.join(self._missing[:_SHOWN])}" if self._missing else ""
        detail = f"{self._there:,} of {', '.join(self._splits)}; {len(self._missing):,} missing{listed}"
        yield Check(f"{self.name}: an image of every specimen", not self._missing, detail)
        if self.name == _PACKAGE_WITH_MD5:
            members = [f"bioscan5m/images/{self.name}/{name}" for name in IMAGE_MD5]
            contents: dict[str, bytes] = {}
            for images in self._images.values():
                read = zip(IMAGE_MD5, images.read(members), strict=True)
                contents |= {name: content for name, content in read if content is not None}
            yield _check_images(contents)


def _metadata(path: Path, files: Sequence[Path]) -> MetadataSource | None:
    if path.suffix == ".zip" and path.name != METADATA_ARCHIVE:
        return None
    try:
        return find_metadata(path)
    except FileNotFoundError:
        if not files:
            raise
        return None


def _check_md5(files: Sequence[Path], report: Report) -> Iterator[Check]:
    known = [(file, md5) for file in files if (md5 := published_md5(file))]
    for file, expected in known:
        found = md5_of(file, report)
        detail = found if found == expected else f"{found} instead of {expected}: damaged, or packed anew"
        yield Check(f"MD5 of {file.name}", found == expected, detail)
    if not known:
        yield Check("MD5 of archives", None, "no file here has a published MD5")


def _check_images(contents: Mapping[str, bytes]) -> Check:
    wrong = [name for name, content in contents.items() if hashlib.md5(content).hexdigest() != IMAGE_MD5[name]]
    detail = f"{len(contents)} of {len(IMAGE_MD5)} are here"
    if wrong:
        detail += f"; other content: {', '.join(wrong)}"
    return Check(f"{_PACKAGE_WITH_MD5}: MD5 of known images", not wrong if contents else None, detail)


def _check_converted(folder: Path, report: Report) -> Iterator[Check]:
    checker = MetadataChecker()
    faults: list[str] = []
    for split in SPLIT_NAMES:
        if metadata_path(folder, split).exists():
            try:
                faults += _read_split(folder, split, checker, report)
            except _UNREADABLE as error:
                faults.append(f"{split} cannot be read: {reason_of(error)}")
    yield Check("metadata and order", not faults, "; ".join(faults) or f"{checker.count:,} specimens")
    yield from checker.checks()
    for package in PACKAGES:
        if (folder / package).is_dir():
            yield from _check_package(folder, package, checker.processids, report)


def _read_split(folder: Path, split: str, checker: MetadataChecker, report: Report) -> list[str]:
    """Read the metadata of a split; returns what is wrong with the files."""
    path, before = metadata_path(folder, split), checker.count
    splits: set[str] = set()
    for table in read_some(path, _ROWS_AT_A_TIME, CHECKED_COLUMNS):
        if table["processid"].null_count or table["split"].null_count:
            raise ValueError("specimens without process id or split")
        checker.add(table)
        splits.update(pc.unique(table["split"]).to_pylist())
        report("Reading records", checker.count, None)
    faults = [] if splits == {split} else [f"{path.name} has rows of {shown(', '.join(sorted(splits)))}"]
    rows = checker.count - before
    order_path = folder / "order" / f"{published_name(split)}.parquet"
    in_order = pq.read_metadata(order_path).num_rows == rows
    if not in_order or (np.diff(pq.read_table(order_path, columns=["row"])["row"].to_numpy()) <= 0).any():
        faults.append(f"order/{published_name(split)}.parquet does not number the {rows:,} rows of {path.name}")
    return faults


def _check_package(
    folder: Path, package: str, processids: Mapping[str, Sequence[pa.Array]], report: Report
) -> Iterator[Check]:
    faults: list[str] = []
    counts: dict[str, int] = {}
    contents: dict[str, bytes] = {}
    for split in SPLIT_NAMES:
        files = sorted((folder / package).glob(f"{published_name(split)}-*.parquet"))
        if not files:
            continue
        try:
            found = _processids(files)
            left_out = _left_out(folder, package, files)
            contents |= _known_images(files, split) if package == _PACKAGE_WITH_MD5 else {}
            count = int(files[0].stem[-5:])
        except _UNREADABLE as error:
            faults.append(f"{split} cannot be read: {reason_of(error)}")
            continue
        expected = pa.chunked_array(processids.get(split, []), pa.string())
        expected = expected.filter(pc.invert(pc.is_in(expected, pa.array(left_out, pa.string()))))
        if count != len(files):
            faults.append(f"{split} has {len(files)} of {count} shards")
        elif not found.equals(expected):
            faults.append(f"{split} has {len(found):,} specimens that are not the {len(expected):,} of the metadata")
        counts[split] = len(found)
        report(f"Reading {package}", sum(counts.values()), None)
    listed = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    yield Check(f"{package}: the specimens of the metadata", not faults, "; ".join(faults) or listed)
    if package == _PACKAGE_WITH_MD5:
        yield _check_images(contents)


def _processids(files: Sequence[Path]) -> pa.ChunkedArray:
    columns = [table["processid"] for file in files for table in read_some(file, _ROWS_AT_A_TIME, ["processid"])]
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())


def _left_out(folder: Path, package: str, files: Sequence[Path]) -> list[str | None]:
    """Process ids of the specimens of which the conversion says that they have no image."""
    records = [record for file in files for record in left_out_of(file)]
    for path in (folder / "plan.json", folder / "report.json"):
        if path.exists():
            records += [Skipped(**record) for record in json.loads(path.read_text(encoding="utf-8"))["skipped"]]
    return [record.processid for record in records if package in Path(record.file).parts]


def _known_images(files: Sequence[Path], split: str) -> dict[str, bytes]:
    names = {Path(name).stem: name for name in IMAGE_MD5 if name.split("/")[0] == split}
    found: dict[str, bytes] = {}
    for path in files:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            own = file.read_row_group(group, columns=["processid"])["processid"]
            for i in np.flatnonzero(np.asarray(pc.is_in(own, pa.array(list(names), pa.string())))).tolist():
                image = file.read_row_group(group, columns=["image.bytes"])["image"][i].as_py()
                found[names[own[i].as_py()]] = image["bytes"]
    return found
