"""Released archives to the Parquet files that `datasets` reads anywhere: metadata first, then shards with images."""

from __future__ import annotations

import json
import platform
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bioscan_hf import __version__
from bioscan_hf.data.features import published_name
from bioscan_hf.data.files import digest
from bioscan_hf.data.metadata import MetadataSource, OnError, Skipped, find_metadata
from bioscan_hf.data.metadata_conversion import convert_metadata
from bioscan_hf.data.plan import (
    SHARD_BYTES,
    Plan,
    Report,
    Shard,
    find_packages,
    image_archives,
    plan_shards,
    silent,
)
from bioscan_hf.data.release import PACKAGES
from bioscan_hf.data.shards import is_finished, left_out_of, write_shards
from bioscan_hf.data.verification import md5_of, published_md5, verify
from bioscan_hf.data.whole_files import nobody_else_writes, write_json

# Bytes that the metadata of a specimen take in a shard, measured: 230.
_ROW_BYTES = 250


def convert(
    root: Path,
    folder: Path,
    packages: Sequence[str] | None = None,
    *,
    num_proc: int = 1,
    on_error: OnError = "raise",
    shard_bytes: int = SHARD_BYTES,
    report: Report | None = None,
) -> dict[str, Any]:
    """Convert a release on this machine.

    Interrupted or killed, it goes on where it was when it is called again, and the result is the same to the byte. A
    source that is replaced meanwhile, such as a damaged archive by a good one, is converted anew.

    Args:
        root: Folder with the released archives, or with what they unpack to.
        folder: Where to write: a new folder, or one that this function began with the same arguments, or for fewer
            images.
        packages: Image packages, those that are in `root` unless given; an empty sequence for the metadata alone.
        num_proc: Processes that write shards.
        on_error: Whether a bad record, a missing or a damaged image is an error, or is left out and listed.
        shard_bytes: Size of the images in a shard, about.
        report: Called with the name of a task, how much of it is done, and its total if that is known.

    Returns:
        The content of `report.json`, which is written last of all: the checksums of what was read, the rows of each
        package and split, what was left out, what was verified, and the versions of the software.

    Raises:
        FileNotFoundError: If the metadata or the images of a package are not in `root`.
        ValueError: If a record or an image is bad, or `folder` holds something else.
        OSError: If the disk has too little space or cannot be written, or another process writes the folder.
    """
    report = report or silent
    with nobody_else_writes(folder):
        plan = prepare(root, folder, packages, on_error=on_error, shard_bytes=shard_bytes, report=report)
        shards = plan.shards or ()
        total, done = sum(shard.images for shard in shards), 0
        for index in write_shards(plan, num_proc):
            done += shards[index].images
            report("Writing images", done, total)
        return finish(plan, report=report)


def prepare(
    root: Path,
    folder: Path,
    packages: Sequence[str] | None = None,
    *,
    on_error: OnError = "raise",
    shard_bytes: int = SHARD_BYTES,
    report: Report | None = None,
) -> Plan:
    """Do what goes before the shards: convert the metadata and plan the shards, or find that this was done.

    Arguments and errors are those of `convert`.
    """
    source = find_metadata(root)
    splits = find_packages(root, packages)
    archives = image_archives(root, splits)
    new = Plan(root, folder, _states((source.path, *archives)), splits, shard_bytes, on_error)
    plan = _continued(new)
    if plan is None:
        for leftover in folder.glob(".partial-*/"):
            shutil.rmtree(leftover)
        # Images take what they take in the archives, the metadata a quarter of the CSV.
        needed = source.path.stat().st_size // 4 + sum(path.stat().st_size for path in archives)
        _check_space(folder, needed - sum(path.stat().st_size for path in folder.glob("*/*.parquet")))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").unlink(missing_ok=True)
        new.write()
        plan = _planned(new, source, report or silent)
    plan.write()
    unfinished = _unfinished(plan)
    if unfinished:
        (folder / "report.json").unlink(missing_ok=True)
    _check_space(folder, sum(shard.bytes + shard.images * _ROW_BYTES for shard in unfinished))
    return plan


def finish(plan: Plan, *, report: Report | None = None) -> dict[str, Any]:
    """Verify what was written, and write `report.json`, which marks the conversion as complete.

    Args:
        plan: The plan, all of whose shards are written.
        report: As in `convert`.

    Returns:
        The content of `report.json`.

    Raises:
        ValueError: If a shard is not finished, or a source was changed meanwhile.
    """
    report = report or silent
    if unfinished := _unfinished(plan):
        raise ValueError(f"{len(unfinished)} shards are not written, such as {unfinished[0].name}; convert again.")
    path = plan.folder / "report.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    sources = [find_metadata(plan.root).path, *image_archives(plan.root, plan.packages)]
    if changed := _changed(plan.sources, _states(sources)):
        raise ValueError(f"{changed} changed while they were converted into '{plan.folder}'; choose another folder.")
    written = [plan.folder / shard.name for shard in plan.shards or ()]
    rows: dict[str, Counter[str]] = {}
    for file in (*sorted(plan.folder.glob("metadata/*.parquet")), *written):
        split = file.name.split("-")[0]
        rows.setdefault(file.parent.name, Counter())[split] += pq.read_metadata(file).num_rows
    damaged = [record for file in written for record in left_out_of(file)]
    content = {
        "sources": _checksums(sources, report),
        "rows": rows,
        "skipped": [asdict(record) for record in (*plan.skipped, *damaged)],
        "checks": [asdict(check) for check in verify(plan.folder, report=report)],
        "versions": {
            "bioscan_hf": __version__,
            **{name: version(name) for name in ("datasets", "pyarrow")},
            "python": platform.python_version(),
        },
    }
    write_json(path, content)
    return content


def _continued(new: Plan) -> Plan | None:
    """The plan to go on with, if the folder holds one."""
    old = Plan.read(new.root, new.folder)
    if old is None:
        names = ("metadata", "labels", "order", "report.json", *PACKAGES)
        if there := [name for name in names if (new.folder / name).exists()]:
            raise ValueError(f"'{new.folder}' holds {there} of another origin; choose another folder.")
        return None
    changed = _changed(old.sources, new.sources)
    unfinished = not (new.folder / "report.json").exists()
    if old.shards is None or _adds_images(old, new) or (changed and unfinished and _same_settings(old, new)):
        _forget_shards(new, changed)
        return None
    for differs, what in (
        (old.packages != new.packages, f"other packages: {old.packages}, now {new.packages}"),
        (old.shard_bytes != new.shard_bytes, f"shards of {old.shard_bytes:,} bytes, now {new.shard_bytes:,}"),
        (changed, f"other source files: {changed} changed"),
        ((old.on_error, new.on_error) == ("skip", "raise"), "on_error='skip', now 'raise'"),
    ):
        if differs:
            raise ValueError(
                f"'{new.folder}' holds a conversion with {what}. Go on with the same, or choose another folder."
            )
    return replace(old, on_error=new.on_error) if old.files == _digests(old.folder) else None


def _adds_images(old: Plan, new: Plan) -> bool:
    """Whether the new plan is the old one and more images; it is made anew then, and finished shards stay."""
    more = new.packages != old.packages and all(
        set(splits) <= set(new.packages.get(package, ())) for package, splits in old.packages.items()
    )
    same = (old.shard_bytes, old.on_error) == (new.shard_bytes, new.on_error)
    return more and same and old.sources.items() <= new.sources.items()


def _same_settings(old: Plan, new: Plan) -> bool:
    return (old.packages, old.shard_bytes, old.on_error) == (new.packages, new.shard_bytes, new.on_error)


def _forget_shards(plan: Plan, changed: Sequence[str]) -> None:
    """Remove what came from sources that have changed since, such as a damaged archive that was downloaded again."""
    every = find_metadata(plan.root).path.name in changed
    for package, splits in plan.packages.items():
        for split in splits:
            archives = {path.name for path in image_archives(plan.root, {package: (split,)})}
            if every or not archives.isdisjoint(changed):
                for shard in (plan.folder / package).glob(f"{published_name(split)}-*.parquet"):
                    shard.unlink()


def _states(paths: Sequence[Path]) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def _changed(old: Mapping[str, tuple[int, int]], new: Mapping[str, tuple[int, int]]) -> list[str]:
    """Names of the sources whose states differ."""
    return sorted({name for name, _ in old.items() ^ new.items()})


def _digests(folder: Path) -> dict[str, str]:
    """Digests of the files that are written before the shards: shards and labels are only right if these are."""
    paths = sorted(path for part in ("labels", "metadata", "order") for path in folder.glob(f"{part}/[!.]*"))
    return {path.relative_to(folder).as_posix(): digest(path) for path in paths}


def _planned(new: Plan, source: MetadataSource, report: Report) -> Plan:
    """Convert the metadata, and plan the shards."""
    skipped: list[Skipped] = []
    done = 0

    def count(records: int) -> None:
        nonlocal done
        done += records
        report("Converting metadata", done, None)

    convert_metadata(source, new.folder, on_error=new.on_error, skipped=skipped, report=count)
    shards, missing = plan_shards(new, report)
    if missing and new.on_error == "raise":
        raise ValueError(
            f"{len(missing):,} specimens have no image, such as {missing[0].processid}: no {missing[0].file} in "
            f"'{new.root}'. Complete the archives, or skip these specimens."
        )
    skipped += missing
    return replace(new, shards=tuple(shards), skipped=tuple(skipped), files=_digests(new.folder))


def _unfinished(plan: Plan) -> list[Shard]:
    return [shard for shard in plan.shards or () if not is_finished(plan.folder / shard.name, shard)]


def _check_space(folder: Path, needed: int) -> None:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    # What a killed process left behind is removed when its shard is written.
    free = shutil.disk_usage(existing).free + sum(path.stat().st_size for path in folder.glob("*/.partial-*"))
    if needed > free:
        raise OSError(
            f"'{folder}' needs {needed / 1e9:.2f} GB, and its disk has {free / 1e9:.2f} GB free; free some space, or "
            "choose another folder."
        )


def _checksums(paths: Sequence[Path], report: Report) -> list[dict[str, Any]]:
    return [
        {
            "name": path.name,
            "bytes": path.stat().st_size,
            "md5": md5_of(path, report),
            "published_md5": published_md5(path),
        }
        for path in paths
    ]
