"""Images of a dataset, batch by batch: read as Arrow tables, decoded in threads."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset, IterableDataset

from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.pixels import crop, decode_image, image_content, scale

_REASONS_SHOWN = 5
# Holds the pixels of any image of the packages of 256 pixels; from 4 MiB on NumPy asks for huge pages.
_MEMORY_BYTES = 1 << 22

Batch = dict[str, Any]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ImageBatches:
    """Images and columns of a dataset, batch by batch.

    Images are read undecoded, a batch at a time. Those whose shorter side is `shorter_side`, as in the packages of 256
    pixels, are decoded and cropped, nothing else; others are scaled to it first (see `pixels.scale`).
    `pixels.normalise` does the rest on the device.

    Each pass gives batches: a dictionary with `pixel_values`, (B, size, size, 3) uint8, and one entry per column.
    Integers and booleans are int64 tensors, -1 where null; floats are tensors, NaN where null; all else are lists,
    None where null.

    Attributes:
        epoch: Number of the next pass. It decides, with `seed`, the order and the crops; set it to repeat a pass.
        skipped: How many specimens the last pass left out.

    Args:
        dataset: Has the column `image` (`datasets.Image`, or a struct of `bytes` and `path`), and for clear errors
            `processid`. A stream is read as Arrow tables: filter and map it `with_format("arrow")`, or `datasets`
            decodes its images and encodes them again.
        size: Height and width of the result in pixels.
        shorter_side: Pixels of the shorter side before cropping.
        batch_size: Specimens per batch; the last has fewer, and so have those of which `skip` left some out.
        columns: Further columns of the batches, such as `species_index` or `dna_barcode`.
        random_crop: Whether to crop at a random place (training) or the centre.
        shuffle: Whether each pass has a random order of its own. A stream is shuffled by `dataset.shuffle` instead;
            its `set_epoch` is called with the number of the pass.
        seed: Decides order and crops, whatever the number of threads.
        threads: Threads that decode ahead, while one more reads; 0 does both when a batch is asked for. Decoding
            leaves Python's lock, so threads use as many cores, and no pixels are copied between processes.
        drop_last: Whether to leave out a last batch that is not full.
        on_error: Whether a specimen without image, or with one that cannot be decoded, is an error (`raise`), or is
            left out with a warning at the end of the pass (`skip`).

    Raises:
        ValueError: If an argument is wrong; in a pass, if an image is missing or cannot be decoded. The message names
            row and process id.
    """

    def __init__(
        self,
        dataset: Dataset | IterableDataset,
        *,
        size: int = 224,
        shorter_side: int = 256,
        batch_size: int = 64,
        columns: Sequence[str] = (),
        random_crop: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        threads: int = 0,
        drop_last: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        if not isinstance(dataset, (Dataset, IterableDataset)):
            raise ValueError(
                f"`dataset` must be one split, a Dataset or IterableDataset; got {type(dataset).__name__}."
            )
        if not 1 <= size <= shorter_side:
            raise ValueError(f"`size` must be 1 to `shorter_side`; got {size} and {shorter_side}.")
        if batch_size < 1 or threads < 0 or on_error not in get_args(OnError):
            raise ValueError(
                "Expected `batch_size` of at least 1, `threads` of at least 0, and `on_error` 'raise' or 'skip'; got "
                f"{batch_size}, {threads} and {on_error!r}."
            )
        if shuffle and isinstance(dataset, IterableDataset):
            raise ValueError("A stream cannot be shuffled as a whole; use `dataset.shuffle(seed, buffer_size)` before.")
        self.epoch = 0
        self.skipped = 0
        # In this format images stay undecoded.
        self._dataset = dataset.select_columns(_wanted(dataset, columns)).with_format("arrow")
        self._size, self._shorter_side = size, shorter_side
        self._batch_size, self._columns = batch_size, tuple(columns)
        self._random_crop, self._shuffle, self._seed = random_crop, shuffle, seed
        self._threads, self._drop_last, self._on_error = threads, drop_last, on_error

    def __len__(self) -> int:
        """Number of batches; a stream has none (TypeError)."""
        if isinstance(self._dataset, IterableDataset):
            raise TypeError("The length of a stream is not known.")
        rounding = 0 if self._drop_last else self._batch_size - 1
        return (len(self._dataset) + rounding) // self._batch_size

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch, self.skipped = self.epoch, self.epoch + 1, 0
        rows = 0
        shown: list[str] = []
        for decoded in _in_order(self._decode, self._read(epoch), self._threads):
            rows += decoded.rows
            self.skipped += len(decoded.problems)
            shown += decoded.problems[: _REASONS_SHOWN - len(shown)]
            if len(decoded.problems) < decoded.rows:
                yield decoded.batch
        if self.skipped:
            more = " ..." if self.skipped > len(shown) else ""
            warnings.warn(
                f"{self.skipped:,} of {rows:,} specimens were left out. {' '.join(shown)}{more}", stacklevel=2
            )

    def _read(self, epoch: int) -> Iterator[_Undecoded]:
        for number, (places, table) in enumerate(self._tables(epoch)):
            if self._drop_last and len(table) < self._batch_size:
                return
            at = None
            if self._random_crop:  # a trailing 0 would give the numbers of the order
                at = np.random.default_rng([self._seed, epoch, number + 1]).random((len(table), 2))
            yield _Undecoded(table, places, at)

    def _tables(self, epoch: int) -> Iterator[tuple[Sequence[int], pa.Table]]:
        """Numbers of rows, and the rows."""
        if isinstance(self._dataset, IterableDataset):
            self._dataset.set_epoch(epoch)
            start = 0
            try:
                for table in self._dataset.iter(self._batch_size):
                    yield range(start, start + len(table)), table
                    start += len(table)
            except pa.ArrowInvalid as error:
                raise ValueError(
                    "The stream is one of Python rows, which `datasets` cannot turn into Arrow tables where values are "
                    f"missing; make, filter and map it `with_format('arrow')`. It said: {str(error).splitlines()[0]}"
                ) from error
            return
        count = len(self._dataset)
        order = np.random.default_rng([self._seed, epoch]).permutation(count) if self._shuffle else None
        for start in range(0, count, self._batch_size):
            places = range(start, min(start + self._batch_size, count))
            if order is None:
                yield places, self._dataset[places]
            else:
                chosen = order[places.start : places.stop].tolist()
                yield chosen, self._dataset[chosen]

    def _decode(self, item: _Undecoded) -> _Decoded:
        # Not `torch.empty`: NumPy asks for huge pages, which saves 15 us per image.
        pixels = np.empty((len(item.table), self._size, self._size, 3), np.uint8)
        memory = np.empty(_MEMORY_BYTES, np.uint8)
        good: list[int] = []
        problems: list[str] = []
        for i, (content, path) in enumerate(_files(item.table)):
            try:
                scaled = scale(
                    decode_image(image_content({"bytes": content, "path": path}), memory), self._shorter_side
                )
            except (OSError, ValueError) as error:
                problems.append(f"{item.name(i)}: {error}.")
                if self._on_error == "raise":
                    raise ValueError(f"{problems[0]} `on_error='skip'` leaves such specimens out.") from error
            else:
                pixels[len(good)] = crop(scaled, self._size, None if item.at is None else item.at[i])
                good.append(i)
        table = item.table.select(self._columns)
        if problems:
            table = table.take(pa.array(good, pa.int64()))
        columns = {name: _column(table[name]) for name in self._columns}
        return _Decoded({"pixel_values": torch.from_numpy(pixels[: len(good)]), **columns}, len(item.table), problems)


@dataclass(frozen=True)
class _Undecoded:
    """Rows of the dataset, their numbers, and where to crop each (see `pixels.crop`)."""

    table: pa.Table
    places: Sequence[int]
    at: np.ndarray | None

    def name(self, i: int) -> str:
        processid = f" (process id {self.table['processid'][i]})" if "processid" in self.table.column_names else ""
        return f"Row {self.places[i]}{processid}"


@dataclass(frozen=True)
class _Decoded:
    """A batch, from how many rows it is, and what is wrong with those that were left out."""

    batch: Batch
    rows: int
    problems: list[str]


def _wanted(dataset: Dataset | IterableDataset, columns: Sequence[str]) -> list[str]:
    names = dataset.column_names or []  # those of a stream may not be known
    wanted = dict.fromkeys(["image", *columns, *(["processid"] if "processid" in names else [])])
    absent = [name for name in wanted if names and name not in names]
    if absent:
        raise ValueError(f"The dataset has no columns {absent}; it has {names}.")
    return list(wanted)


def _files(table: pa.Table) -> Iterable[tuple[bytes | None, str | None]]:
    """Content and path of each image; the content counts."""
    column = table["image"]
    if not pa.types.is_struct(column.type) or {"bytes", "path"} - {field.name for field in column.type}:
        raise ValueError(f"The column `image` must be a `datasets.Image`; got {column.type}.")
    return zip(*(pc.struct_field(column, name).to_pylist() for name in ("bytes", "path")), strict=True)


def _column(column: pa.ChunkedArray) -> torch.Tensor | list[Any]:
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        values = column.cast(pa.int64()).fill_null(-1)
    elif pa.types.is_floating(column.type):
        values = column.fill_null(float("nan"))
    else:
        return column.to_pylist()
    return torch.from_numpy(np.array(values.to_numpy()))  # a copy: Arrow's memory is read-only


def _in_order(function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """Map in threads, some items ahead; the items are made in one more thread."""
    if not threads:
        yield from map(function, items)
        return
    iterator = iter(items)
    pending: deque[Future[_Result | None]] = deque()

    def work(made: Future[_Item | None]) -> _Result | None:
        item = made.result()
        return None if item is None else function(item)

    with ThreadPoolExecutor(1) as maker, ThreadPoolExecutor(threads) as workers:
        try:
            while True:
                while len(pending) <= 2 * threads:
                    pending.append(workers.submit(work, maker.submit(next, iterator, None)))
                result = pending.popleft().result()
                if result is None:
                    return
                yield result
        finally:
            for pool in (workers, maker):
                pool.shutdown(wait=False, cancel_futures=True)
