"""Single files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""Error numbers of a disk, a quota or a limit that is used up."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears, on the disk, whole or not at all, even if the process is killed.

    Raises:
        OSError: If it cannot be written.
    """
    for leftover in path.parent.glob(f".partial-{path.name}-*"):
        leftover.unlink(missing_ok=True)
    # A name of its own: a second process that writes the same file by mistake does no harm.
    partial = path.parent / f".partial-{path.name}-{uuid.uuid4().hex}"
    try:
        with says_when_full(path), partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
