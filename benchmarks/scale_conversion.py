"""Rehearsal: images to shards by two datatrove workers; whole, and killed in the middle and started again.

    python benchmarks/scale_conversion.py RELEASE FOLDER

is what is killed: the conversion alone.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from scale_parts import Part, costs

WORKERS = 2
SHARD_BYTES = 8_000_000
"""About 1,000 images, so that 50,000 are in some fifty shards, as 5 million are in shards of the usual size."""
PACKAGE = "cropped_256"
_REPEATS = 50  # files of one photograph
_PR_SET_CHILD_SUBREAPER = 36


def need_release(size: int, folder: Path) -> Path:
    """Metadata and one archive of images of made specimens, made once."""
    from scale_data import made_specimens, write_metadata

    from bioscan_hf.data.release import image_member

    release, partial = folder / "release", folder / "partial-release"
    if release.exists():
        return release
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    write_metadata(partial / "BIOSCAN_5M_Insect_Dataset_metadata.csv", size)
    images = _images(size)
    with zipfile.ZipFile(partial / f"BIOSCAN_5M_{PACKAGE}.zip", "w") as archive:
        for table in made_specimens(size):
            keys = (table[name].to_pylist() for name in ("split", "chunk", "processid"))
            for split, chunk, processid in zip(*keys, strict=True):
                archive.writestr(image_member(PACKAGE, split, chunk, processid), next(images))
    partial.rename(release)
    return release


def _images(count: int) -> Iterator[bytes]:
    """Different files of a few photographs: each has its number in a comment."""
    from pictures import jpegs

    photographs = list(jpegs(count // _REPEATS, 7))
    for number, photograph in enumerate(islice(cycle(photographs), count)):
        yield photograph[:2] + b"\xff\xfe\x00\x0a" + f"{number:08}".encode() + photograph[2:]


def convert_in_group(release: Path, folder: Path, kill_at: int | None = None) -> None:
    """Convert in a group of processes of its own.

    Args:
        release: What `need_release` made.
        folder: Where to write, or to go on.
        kill_at: Number of finished shards at which the whole group is killed; None for never.

    Raises:
        RuntimeError: If it fails, or ends before it is killed.
    """
    # The workers are children of a server that their parent does not wait for; their CPU seconds count if we do.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    command = [sys.executable, __file__, str(release), str(folder)]
    with (
        tempfile.TemporaryFile("w+") as words,
        subprocess.Popen(command, stderr=words, start_new_session=True, text=True) as process,
    ):
        while kill_at is not None and process.poll() is None:
            if len(finished(folder)) >= kill_at:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        process.wait()
        try:
            while True:
                os.waitpid(-process.pid, 0)
        except ChildProcessError:
            pass
        expected = 0 if kill_at is None else -signal.SIGKILL
        if process.returncode != expected:
            words.seek(0)
            raise RuntimeError(f"The conversion ended with {process.returncode}, not {expected}:\n{words.read()}")


def finished(folder: Path) -> list[Path]:
    """Shards that have their name."""
    return [path for path in folder.glob(f"{PACKAGE}/*.parquet") if not path.name.startswith(".")]


def convert_images(size: int, folder: Path) -> dict[str, Any]:
    """Convert undisturbed, which is what is measured; then again, killed when half of the shards are there."""
    import pyarrow.parquet as pq

    whole, killed = folder / "images", folder / "images-killed"
    for target in (whole, killed):
        shutil.rmtree(target, ignore_errors=True)
    with costs() as cost:
        convert_in_group(folder / "release", whole)
    shards = finished(whole)
    with costs() as twice:
        convert_in_group(folder / "release", killed, kill_at=len(shards) // 2)
        there = len(finished(killed))
        left = sum(path.stat().st_size for path in killed.glob(f"{PACKAGE}/.partial-*"))
        convert_in_group(folder / "release", killed)
    written = sum(path.stat().st_size for path in shards)
    names = [name for path in shards for name in pq.read_table(path, columns=["processid"])["processid"].to_pylist()]
    facts = {
        "images": len(names),
        "every record once": len(set(names)) == len(names) == size,
        "shards": len(shards),
        "GB of shards": round(written / 1e9, 3),
        "shards there when killed": there,
        "share of the bytes written twice": round(left / written, 3),
        "CPU s, killed and resumed": twice["cpu"],
        "same bytes as undisturbed": _contents(whole) == _contents(killed),
    }
    for target in (whole, killed):
        shutil.rmtree(target)
    return {**cost, "facts": facts}


def _contents(folder: Path) -> dict[str, bytes]:
    import hashlib

    files = [path for path in folder.rglob("*") if path.is_file() and ".logs" not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in files}


def main() -> None:
    """Convert the images of a release by two datatrove workers."""
    from bioscan_hf.data.cluster import convert_on_cluster

    release, folder = map(Path, sys.argv[1:])
    convert_on_cluster(release, folder, [PACKAGE], shard_bytes=SHARD_BYTES, options={"workers": WORKERS})


PARTS = (
    Part(
        "image_conversion",
        "images to shards, two datatrove workers",
        "images",
        (16_000, 50_000, 158_000),
        (300,),
        need_release,
        convert_images,
        flat=True,
    ),
)

if __name__ == "__main__":
    main()
