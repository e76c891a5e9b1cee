"""Files that appear whole or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from bioscan_hf.data.whole_files import says_when_full

# What makes a folder a model: it goes first and comes last, so that no mixture of two models loads.
_LAST = ("adapter_config.json", "config.json")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Write several results into a folder together.

    The block writes into a temporary folder on the same disk. When it ends, each item there takes the place of the item
    of the same name in `folder`; if the block fails or is interrupted, `folder` is as it was. Other items are never
    touched. A process that is killed while items take their places leaves no folder that loads as a model.

    Args:
        folder: Where the results shall lie; it is made if need be.

    Yields:
        The temporary folder.

    Raises:
        OSError: If `folder` cannot be made or written; of a full disk a `NoSpaceError`.
    """
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".partial-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise OSError(f"Results cannot be written to '{folder}' ({error.strerror}); choose another folder.") from error
    try:
        with says_when_full(folder), temporary:
            stage = Path(temporary.name) / "new"
            stage.mkdir()
            yield stage
            share(stage)
            items = sorted(stage.iterdir(), key=lambda item: (item.name in _LAST, item.name))
            for item in items:
                if item.name in _LAST:
                    (folder / item.name).unlink(missing_ok=True)
            for item in items:
                _replace(folder / item.name, item, aside=Path(temporary.name) / "old")
    finally:
        if created and not any(folder.iterdir()):
            folder.rmdir()


def share(folder: Path) -> None:
    """Let those read its files who may read the folder: safetensors writes them for their owner alone."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode | mode)


def _replace(target: Path, item: Path, aside: Path) -> None:
    if target.is_dir():
        put_in_place(item, target, aside)
    else:
        item.replace(target)


def put_in_place(new: Path, folder: Path, aside: Path) -> None:
    """Put a new folder in the place of one that may be there.

    On Linux both change places in one step: a process that is killed leaves one of them there, whole. Where that cannot
    be done, there is a moment with neither, and the old one is put back if the new one does not get there.

    Args:
        new: The new one, on the same disk. What is there of the old one when the process is killed lies here.
        folder: Its place.
        aside: A path that is free, where the old one lies for that moment.

    Raises:
        OSError: If it cannot be put there.
    """
    if not folder.exists():
        new.rename(folder)
        return
    if _exchange(new, folder):
        shutil.rmtree(new)
        return
    folder.rename(aside)
    try:
        new.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; returns False, and does nothing, where that cannot be done."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    return renameat2 is not None and renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def build_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Make a folder of a cache, unless it is there.

    It appears under its name when it is complete. Of several processes, one builds and the others wait.

    Args:
        folder: Where the result shall lie.
        build: Writes it into the folder that it is given, which it may find absent or empty.

    Raises:
        OSError: If there is no space, or the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir()
        try:
            build(partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def digest(*paths: Path) -> str:
    """Short name of the content of files: the first 12 hexadecimal digits of its SHA-256."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]
