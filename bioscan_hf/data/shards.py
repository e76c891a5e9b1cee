"""Image shards: Parquet files that appear whole, and that tell whether they are finished."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.archives import ImageArchives, ImageFolder, find_images, read_each
from bioscan_hf.data.features import COLUMN_NAMES, bioscan_features
from bioscan_hf.data.metadata import Skipped
from bioscan_hf.data.plan import Plan, Shard, image_members, metadata_path, part_of
from bioscan_hf.data.whole_files import whole_file

ROWS_PER_GROUP = 20_000
"""Specimens in a row group of the metadata."""

IMAGES_PER_GROUP = 1_000
"""Specimens in a row group of a package: what a reader of a stream must fetch at once, about 8 MB of cropped_256."""

# Most values differ within a row group: with a dictionary they take up to twice as much.
_WITHOUT_DICTIONARY = (
    "processid",
    "sampleid",
    "dna_bin",
    "dna_barcode",
    "image_measurement_value",
    "index_bioscan_1M_insect",
)
_LEFT_OUT = "bioscan_hf.left_out"


def write_shard(plan: Plan, index: int) -> int:
    """Write a shard, unless it is there and undamaged.

    Every way to convert calls this function, in any order and in any number of processes: the bytes are the same.

    Args:
        plan: The plan, with its shards.
        index: Number of the shard in `plan.shards`.

    Returns:
        Number of images that it holds.

    Raises:
        ValueError: If an image is damaged (with `on_error="skip"` its specimen is left out), or the images are not
            those that the plan was made for.
        OSError: If the shard cannot be written.
    """
    shard = (plan.shards or ())[index]
    path = plan.folder / shard.name
    if not (is_finished(path, shard) and _is_undamaged(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        left_out: list[Skipped] = []
        with whole_file(path) as file, parquet_writer(file, image=True) as writer:
            for table in _tables_with_images(plan, shard, left_out):
                writer.write_table(table)
            if left_out:
                writer.add_key_value_metadata({_LEFT_OUT: json.dumps([asdict(record) for record in left_out])})
    return pq.read_metadata(path).num_rows


def write_shards(plan: Plan, num_proc: int = 1) -> Iterator[int]:
    """Write all shards of a plan that are not there.

    Args:
        plan: The plan, with its shards.
        num_proc: Number of processes.

    Yields:
        The number of each shard, in the order in which they are done.

    Raises:
        RuntimeError: If a process is killed.
    """
    count = len(plan.shards or ())
    if num_proc == 1:
        for index in range(count):
            write_shard(plan, index)
            yield index
        return
    # Not forks of this process, in which Arrow has threads, but of one that only imported what they need.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(num_proc, mp_context=context, initializer=_follow_parent) as pool:
        futures = {pool.submit(write_shard, plan, index): index for index in range(count)}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool as error:
            raise RuntimeError(
                "A process that writes shards was ended from outside; perhaps memory ran out. Run this again, with "
                "fewer processes: what is finished is kept. (A script needs `if __name__ == '__main__':`.)"
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _follow_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_finished(path: Path, shard: Shard) -> bool:
    """Whether the file of a shard is there, can be read and has the rows that it should have."""
    try:
        return pq.read_metadata(path).num_rows + len(left_out_of(path)) == shard.images
    except (OSError, ValueError, pa.ArrowException):
        return False


def _is_undamaged(path: Path) -> bool:
    """Whether all that is in a file agrees with its checksums."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
    except (OSError, ValueError, pa.ArrowException):
        return False
    return True


def left_out_of(path: Path) -> list[Skipped]:
    """Specimens whose image was found damaged when a shard was written."""
    listed = (pq.read_metadata(path).metadata or {}).get(_LEFT_OUT.encode(), b"[]")
    return [Skipped(**record) for record in json.loads(listed)]


def parquet_writer(file: BinaryIO | Path, *, image: bool, compression_level: int = 3) -> pq.ParquetWriter:
    """Open a writer for the published layout: text is packed, JPEGs, which cannot be, are stored.

    Args:
        file: Where to write.
        image: Whether the column `image` comes first.
        compression_level: Level of zstd.
    """
    packed = [*(["image.path"] if image else []), *COLUMN_NAMES]
    return pq.ParquetWriter(
        file,
        bioscan_features(image=image).arrow_schema,
        # Of 1 million specimens, level 3 made 6 % less than level 1 in 13 % more time, and half of what lz4 made.
        compression={**dict.fromkeys(packed, "zstd"), **({"image.bytes": "none"} if image else {})},
        compression_level=dict.fromkeys(packed, compression_level),
        use_dictionary=[name for name in COLUMN_NAMES if name not in _WITHOUT_DICTIONARY],
        write_page_index=True,
        write_page_checksum=True,
    )


# Opening archives of five million images takes seconds, and a process writes several shards of the same ones. Files
# that changed since are opened anew, because `state` differs.
@lru_cache(maxsize=1)
def _open_images(root: Path, package: str, splits: tuple[str, ...], state: str) -> ImageArchives | ImageFolder:
    return find_images(root, package, splits)


def _tables_with_images(plan: Plan, shard: Shard, left_out: list[Skipped]) -> Iterator[pa.Table]:
    """The rows of each row group; `left_out` takes those whose image is damaged."""
    images = _open_images(plan.root, shard.package, part_of(shard.split), str(plan.sources))
    table = _rows(metadata_path(plan.folder, shard.split), shard.first, shard.rows)
    sizes = images.sizes(image_members(table, shard.package))
    there = sizes >= 0
    if (there.sum(), sizes[there].sum()) != (shard.images, shard.bytes):
        raise ValueError(
            f"The images for {shard.name} in '{plan.root}' are not those that were there when the conversion began; "
            f"choose another folder for another source."
        )
    table = table.filter(pa.array(there))
    for start in range(0, len(table), IMAGES_PER_GROUP):
        part = table.slice(start, IMAGES_PER_GROUP)
        contents, errors = read_each(images, image_members(part, shard.package))
        processids = part["processid"].to_pylist()
        for i, reason in errors.items():
            if plan.on_error == "raise":
                raise ValueError(f"The image of {processids[i]} cannot be read: {reason}")
            # The list is published; where the archives lay is not.
            left_out.append(Skipped(shard.name, None, processids[i], reason.replace(f"{plan.root}{os.sep}", "")))
        paths = pa.array([f"{processid}.jpg" for processid in processids])
        image = pa.StructArray.from_arrays([pa.array(contents, pa.binary()), paths], ["bytes", "path"])
        with_image = pa.table([image, *part.columns], schema=bioscan_features().arrow_schema)
        yield with_image.filter(pa.array([content is not None for content in contents])) if errors else with_image


def _rows(path: Path, first: int, count: int) -> pa.Table:
    groups = range(first // ROWS_PER_GROUP, -(-(first + count) // ROWS_PER_GROUP))
    with pq.ParquetFile(path) as file:
        return file.read_row_groups(list(groups)).slice(first - groups.start * ROWS_PER_GROUP, count)
