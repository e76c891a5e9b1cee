"""The plan of a conversion: which rows of which split go into which shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from bioscan_hf.data.archives import ImageArchives, ImageFolder, find_images
from bioscan_hf.data.features import SPLIT_NAMES, published_name
from bioscan_hf.data.metadata import OnError, Skipped
from bioscan_hf.data.release import PACKAGES, PARTS, image_member
from bioscan_hf.data.whole_files import write_json

SHARD_BYTES = 500_000_000
"""Size of the images in a shard: what the Hub recommends, and `datasets` writes."""

Report = Callable[[str, int, int | None], object]
"""Called while something takes long: the name of the task, how much of it is done, and its total if that is known."""

_ROWS_AT_A_TIME = 20_000
_DIGEST = "digest"  # of all else in `plan.json`


def silent(task: str, done: int, total: int | None) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Shard:
    """One Parquet file of an image package: a range of the rows of a split.

    Attributes:
        package: Image package.
        split: Released name of the split.
        number: Its number, from 0.
        of: Number of shards of this package and split.
        first: Number of its first row in the metadata of the split.
        rows: Number of rows of the range.
        images: How many of them have an image.
        bytes: Size of these images together.
    """

    package: str
    split: str
    number: int
    of: int
    first: int
    rows: int
    images: int
    bytes: int

    @property
    def name(self) -> str:
        """Path below the converted folder."""
        return f"{self.package}/{published_name(self.split)}-{self.number:05d}-of-{self.of:05d}.parquet"


@dataclass(frozen=True)
class Plan:
    """What a conversion writes; `plan.json` keeps it, so that an interrupted conversion goes on as it began.

    Attributes:
        root: Folder of the release.
        folder: Folder that is written.
        sources: Name, size in bytes and time of change (ns) of the files that are read.
        packages: Splits of each image package.
        shard_bytes: Size of the images in a shard.
        on_error: Whether a bad record or image is an error, or left out.
        shards: The shards of all packages; None while the metadata are not converted.
        skipped: Records that could not be read, and specimens without an image.
        files: Digests of the files that were written before the shards, by their path in `folder`.
    """

    root: Path
    folder: Path
    sources: dict[str, tuple[int, int]]
    packages: dict[str, tuple[str, ...]]
    shard_bytes: int
    on_error: OnError
    shards: tuple[Shard, ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """Write `plan.json`, whose content says nothing about where the folders lie."""
        content = {name: value for name, value in asdict(self).items() if name not in ("root", "folder")}
        write_json(self.folder / "plan.json", {**content, _DIGEST: _digest_of(content)})

    @classmethod
    def read(cls, root: Path, folder: Path) -> Plan | None:
        """Read `plan.json`; None if there is none.

        Raises:
            ValueError: If it is not a plan.
        """
        path = folder / "plan.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            # A plan of an earlier version has no digest.
            if content.pop(_DIGEST, None) not in (None, _digest_of(content)):
                raise ValueError("it is damaged")
            shards = content["shards"]
            content |= {
                "sources": {name: tuple(state) for name, state in content["sources"].items()},
                "packages": {package: tuple(splits) for package, splits in content["packages"].items()},
                "shards": None if shards is None else tuple(Shard(**shard) for shard in shards),
                "skipped": tuple(Skipped(**record) for record in content["skipped"]),
            }
            return cls(root, folder, **content)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"'{path}' is not the plan of a conversion ({error}); choose another folder.") from error


def _digest_of(content: dict[str, Any]) -> str:
    return str(xxhash.xxh3_64_hexdigest(json.dumps(content).encode()))


def find_packages(root: Path, packages: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Find the image packages of a release, and the splits of which there are images.

    Args:
        root: Folder of the release.
        packages: The packages to look for, all unless given.

    Raises:
        ValueError: If one of `packages` is not known.
        FileNotFoundError: If there are no images of one of `packages`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for package in PACKAGES if packages is None else packages:
        splits = [split for held in PARTS.values() if _has_images(root, package, held) for split in held]
        if splits:
            found[package] = tuple(sorted(splits, key=SPLIT_NAMES.index))
        elif packages is not None:
            find_images(root, package, SPLIT_NAMES)  # says what is missing
    return found


def _has_images(root: Path, package: str, splits: Sequence[str]) -> bool:
    try:
        find_images(root, package, splits)
    except FileNotFoundError:
        return False
    return True


def part_of(split: str) -> tuple[str, ...]:
    """Splits that lie in the same archives as this one."""
    return next(splits for splits in PARTS.values() if split in splits)


def image_archives(root: Path, packages: dict[str, tuple[str, ...]]) -> list[Path]:
    """Archives that hold packages, each once; what lies unpacked has none.

    Args:
        root: Folder of the release.
        packages: Splits of each package.
    """
    sources = [find_images(root, name, part_of(split)) for name, splits in packages.items() for split in splits]
    return list(dict.fromkeys(path for found in sources if isinstance(found, ImageArchives) for path in found.paths))


def plan_shards(plan: Plan, report: Report) -> tuple[list[Shard], list[Skipped]]:
    """Cut the splits of all packages into shards of like size.

    Args:
        plan: The plan, whose metadata are converted.
        report: Called with the name of the task and the number of images that are planned.

    Returns:
        The shards, and the specimens that have no image.
    """
    shards: list[Shard] = []
    missing: list[Skipped] = []
    for package, splits in plan.packages.items():
        images: dict[tuple[str, ...], ImageArchives | ImageFolder] = {}
        for split in splits:
            path = metadata_path(plan.folder, split)
            if not path.exists():
                continue
            if part_of(split) not in images:
                # One at a time: the directory of an archive takes memory.
                images = {part_of(split): find_images(plan.root, package, part_of(split))}
            sizes, without = _sizes(images[part_of(split)], path, package)
            shards += _cut(sizes, package, split, plan.shard_bytes)
            missing += without
            report(f"Planning {package}", sum(shard.images for shard in shards if shard.package == package), None)
    return shards, missing


def _cut(sizes: np.ndarray, package: str, split: str, shard_bytes: int) -> list[Shard]:
    """Cut the rows of a split where the running size of their images passes equal parts of the whole."""
    there = np.flatnonzero(sizes >= 0)
    ends = np.cumsum(sizes[there])
    total = int(ends[-1]) if len(ends) else 0
    count = max(1, round(total / shard_bytes))
    inner = np.searchsorted(ends, total * np.arange(1, count) // count) + 1
    cuts = np.unique([0, *inner, len(there)]).tolist()
    return [
        Shard(
            package,
            split,
            number,
            of=len(cuts) - 1,
            first=int(there[start]),
            rows=int(there[stop - 1] - there[start] + 1),
            images=stop - start,
            bytes=int(ends[stop - 1] - (ends[start - 1] if start else 0)),
        )
        for number, (start, stop) in enumerate(pairwise(cuts))
    ]


def _sizes(images: ImageArchives | ImageFolder, path: Path, package: str) -> tuple[np.ndarray, list[Skipped]]:
    found: list[np.ndarray] = []
    missing: list[Skipped] = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=["processid", "split", "chunk"]):
            members = image_members(batch, package)
            sizes = images.sizes(members)
            for i in np.flatnonzero(sizes < 0).tolist():
                missing.append(Skipped(members[i], None, batch["processid"][i].as_py(), f"no image in {package}"))
            found.append(sizes)
    return np.concatenate(found), missing


def image_members(table: pa.Table | pa.RecordBatch, package: str) -> list[str]:
    """Path, inside the released archives, of each specimen's image."""
    columns = (table[name].to_pylist() for name in ("split", "chunk", "processid"))
    return [image_member(package, split, chunk, processid) for split, chunk, processid in zip(*columns, strict=True)]


def metadata_path(folder: Path, split: str) -> Path:
    """Path of the metadata of a split in a converted folder."""
    return folder / "metadata" / f"{published_name(split)}-00000-of-00001.parquet"
