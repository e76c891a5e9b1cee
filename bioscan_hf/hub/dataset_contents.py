"""What a converted folder holds: the shards of each family and split, and whether all of them are there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.features import SPLITS, published_name
from bioscan_hf.data.labels import LABEL_COLUMNS
from bioscan_hf.data.release import PACKAGES, PUBLISHED

FAMILIES: tuple[str, ...] = ("metadata", *PACKAGES)
"""Folders with shards."""

_CONVERT_AGAIN = "`bioscan data convert` completes it"


@dataclass(frozen=True)
class Shards:
    """The Parquet files of a split, in one family.

    Attributes:
        specimens: Their rows.
        count: Number of files, None if that, and their size, are not known.
        file_bytes: Size of the files.
        unpacked_bytes: Size of what they hold, unpacked.
    """

    specimens: int
    count: int | None = None
    file_bytes: int = 0
    unpacked_bytes: int = 0

    def pattern(self, family: str, split: str) -> str:
        """Paths of the files, in a form that `datasets` understands.

        The number of files stands in it: files of a later, half-finished push with another number do not match.
        """
        count = "*" if self.count is None else f"{self.count:05d}"
        return f"{family}/{published_name(split)}-*-of-{count}.parquet"


Contents = dict[str, dict[str, Shards]]
"""What there is: by family, then by released name of the split, in the order of `FAMILIES` and `SPLITS`."""


def published_contents() -> Contents:
    """The complete dataset with all image packages, by the published counts; its files are not known."""
    return {family: {split: Shards(size.specimens) for split, size in PUBLISHED.items()} for family in FAMILIES}


def files_of(contents: Contents) -> list[str]:
    """Paths of the shards in a converted folder, and of `labels/` and `order/`.

    Args:
        contents: From `read_contents`.
    """
    names = [f"labels/{name}.txt" for name in LABEL_COLUMNS]
    names += [f"order/{published_name(split)}.parquet" for split in contents["metadata"]]
    for family, splits in contents.items():
        for split, shards in splits.items():
            names += [f"{family}/{name}" for name in _shard_names(split, shards.count or 0)]
    return names


def read_contents(folder: Path) -> Contents:
    """Take stock of a converted folder.

    Args:
        folder: What `bioscan data convert` wrote.

    Raises:
        FileNotFoundError: If the conversion is not complete.
        ValueError: If a file is damaged or not one of a conversion, or the folder is not what its report says.
    """
    report = folder / "report.json"
    if not report.is_file():
        raise FileNotFoundError(f"'{folder}' is not a complete conversion, it has no report.json; {_CONVERT_AGAIN}.")
    found = {family: _read_family(folder / family) for family in FAMILIES}
    contents = {family: splits for family, splits in found.items() if splits}
    needed = ["metadata", *(f"labels/{name}.txt" for name in LABEL_COLUMNS)]
    needed += [f"order/{published_name(split)}.parquet" for split in found["metadata"]]
    for name in needed:
        if not (folder / name).exists():
            raise FileNotFoundError(f"'{folder}' is not a complete conversion, it has no {name}; {_CONVERT_AGAIN}.")
    rows = {
        family: {published_name(split): shards.specimens for split, shards in splits.items()}
        for family, splits in contents.items()
    }
    if json.loads(report.read_text(encoding="utf-8")).get("rows") != rows:
        raise ValueError(f"'{folder}' is not what its report.json says: it has {rows}; {_CONVERT_AGAIN}.")
    return contents


def _read_family(folder: Path) -> dict[str, Shards]:
    names = sorted(path.name for path in folder.glob("*.parquet"))
    family = {}
    for split in (split.name for split in SPLITS):
        own = [name for name in names if re.fullmatch(rf"{published_name(split)}-\d{{5}}-of-\d{{5}}\.parquet", name)]
        if own:
            expected = _shard_names(split, int(own[0][-13:-8]))
            if missing := sorted(set(expected) - set(own)):
                raise FileNotFoundError(f"'{folder}' has no {missing[0]}; {_CONVERT_AGAIN}.")
            if other := sorted(set(own) - set(expected)):
                raise ValueError(f"'{folder}' has {own[0]}, to which {other[0]} does not belong; remove one of them.")
            family[split] = _read_shards([folder / name for name in own])
    return family


def _shard_names(split: str, count: int) -> list[str]:
    return [f"{published_name(split)}-{i:05d}-of-{count:05d}.parquet" for i in range(count)]


def _read_shards(paths: Sequence[Path]) -> Shards:
    rows = unpacked = 0
    for path in paths:
        try:
            footer = pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"'{path}' is damaged ({error}); delete it, then {_CONVERT_AGAIN}.") from error
        rows += footer.num_rows
        unpacked += sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    return Shards(rows, len(paths), sum(path.stat().st_size for path in paths), unpacked)
