"""Single files that appear whole or not at all, and folders that one process at a time writes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""Error numbers of a disk, a quota or a limit that is used up."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears, on the disk, whole or not at all, even if the process is killed.

    What killed processes have left of it is removed. A second process that writes the same file does no harm: that of
    the last one to end is there.

    Raises:
        OSError: If it cannot be written.
    """
    for leftover in path.parent.glob(f".partial-{path.name}-*"):
        _remove_abandoned(leftover)
    with says_when_full(path):
        file = _created(path)
        partial = Path(file.name)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _created(path: Path) -> BinaryIO:
    """A new file beside `path`, locked as long as it is open."""
    while True:
        file = path.with_name(f".partial-{path.name}-{uuid.uuid4().hex}").open("xb")
        with suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # taken for abandoned before it was locked


def _remove_abandoned(partial: Path) -> None:
    """Remove what a killed process has left, not what another one is writing."""
    with suppress(OSError), partial.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, doing: str) -> Iterator[None]:
    """Keep other processes out, as long as this one lives.

    Args:
        lock: A file that is there meanwhile; that of a process which was killed does not matter.
        doing: What another process is doing if it is kept out, as in "writes 'my-folder'".

    Raises:
        OSError: If another process is there, or the lock cannot be made.
    """
    holder = FileLock(lock, timeout=0)
    try:
        with says_when_full(lock):
            holder.acquire()
    except Timeout as error:
        raise OSError(f"Another process {doing}; wait for it, or choose another output.") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        holder.release()


def nobody_else_writes(output: Path) -> AbstractContextManager[None]:
    """Keep other processes away from an output, a file or a folder; the lock is a hidden file beside it.

    Raises:
        OSError: If another one writes it.
    """
    place = output.absolute()
    return alone(place.with_name(f".{place.name}.lock"), f"writes '{output}'")


class NoSpaceError(OSError):
    """There is no space to write something; the message says what to do."""


@contextmanager
def says_when_full(path: Path) -> Iterator[None]:
    """Tell what to do when there is no space to write `path`.

    Raises:
        NoSpaceError: If there is none.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, NoSpaceError) or error.errno not in NO_SPACE:
            raise
        reason = os.strerror(error.errno or 0)
        message = f"'{path}' cannot be written ({reason}); free some space and run this again."
        raise NoSpaceError(message) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
