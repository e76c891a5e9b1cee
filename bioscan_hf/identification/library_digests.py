"""Digests of the files of a library: whether they are as they were written, which their sizes do not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

CHECKED_BYTES = 1 << 26
"""Files of up to this size are looked through whenever a library is loaded; larger ones are mapped only."""

_OWN, _FILES = "digest", "digests"
_BLOCK = 1 << 20


def with_digests(manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Add to a description the digests of its files, and that of itself.

    Args:
        manifest: The description, with the sizes of its `files`.
        folder: Of the library.
    """
    content = {**manifest, _FILES: {name: _digest(folder / name) for name in manifest["files"]}}
    return {**content, _OWN: _digest_of(content)}


def check_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """See that a description is as it was written; one of an older version, without digest, passes.

    Raises:
        ValueError: If it is not.
    """
    content = {name: value for name, value in manifest.items() if name != _OWN}
    if manifest.get(_OWN) not in (None, _digest_of(content)):
        raise ValueError(f"'{path}' is not as it was written; copy the library again, or build it again.")


def check_files(folder: Path, manifest: Mapping[str, Any], *, all_sizes: bool = False) -> int:
    """See that the files of a library are as they were written.

    Args:
        folder: Of the library.
        manifest: Its description; one of an older version, without digests, passes.
        all_sizes: Whether to look through files above `CHECKED_BYTES`, too: some seconds for millions of specimens.

    Returns:
        The number of files that were looked through.

    Raises:
        ValueError: If one is not; the message names it.
    """
    chosen = {
        name: expected
        for name, expected in manifest.get(_FILES, {}).items()
        if all_sizes or manifest["files"][name] <= CHECKED_BYTES
    }
    for name, expected in chosen.items():
        if _digest(folder / name) != expected:
            raise ValueError(
                f"The library '{folder}' is damaged: {name} is not as it was written. Copy it, or build it again."
            )
    return len(chosen)


def _digest(path: Path) -> str:
    total = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return str(total.hexdigest())


def _digest_of(content: Mapping[str, Any]) -> str:
    return str(xxhash.xxh3_64_hexdigest(json.dumps(content).encode()))
