"""A made release and what it is converted to in one go, to compare other conversions with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bioscan_hf.data.conversion import convert
from tests.made_release import made_rows, make_release

SHARD_BYTES = 8_000
"""Makes two or three shards of each split."""

ROWS = made_rows(10)


class Conversion(NamedTuple):
    """A release and its conversion."""

    root: Path
    folder: Path


def reference_conversion(folder: Path) -> Conversion:
    """Make a release, and convert it without interruption.

    Args:
        folder: Where to write both.
    """
    make_release(folder / "root", ROWS)
    convert(folder / "root", folder / "whole", shard_bytes=SHARD_BYTES)
    return Conversion(folder / "root", folder / "whole")


def files(folder: Path) -> dict[str, bytes]:
    """Content of the files of a converted folder, without logs, by their path in it."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".logs" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
