"""Batches that do not depend on how a run got where it is: the same after a resume, and for any number of processes.

All chance comes from seeds that are made of the run's seed, the epoch and the place of the example, never from the
state of a generator. So the batches of step N are the same whether the run went there or starts there.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import xxhash
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader
from torch.utils.data import IterableDataset as TorchIterableDataset

Rows = Mapping[str, Sequence[Any]]
Collate = Callable[[Rows, Sequence[int]], dict[str, torch.Tensor]]
"""Makes model inputs of columns of N examples, and of N seeds that all chance must come from."""

PROCESSID = "processid"


class Batch(NamedTuple):
    """Inputs of the model, and the process ids of the specimens."""

    inputs: dict[str, torch.Tensor]
    processids: list[str]


def mix(*numbers: int) -> int:
    """A seed, 0 to 2**63 - 1, from some numbers; seeds of close numbers have nothing in common."""
    return xxhash.xxh3_64_intdigest(struct.pack(f"<{len(numbers)}q", *numbers)) >> 1


@dataclass(frozen=True)
class Place:
    """Which part of each step a process computes.

    Attributes:
        rank: Number of the process.
        processes: How many there are.
        batch_size: Examples per forward pass.
        accumulation: Forward passes per optimiser step.
    """

    rank: int
    processes: int
    batch_size: int
    accumulation: int = 1

    @property
    def examples(self) -> int:
        """Examples per optimiser step, over all processes."""
        return self.processes * self.batch_size * self.accumulation


class Batches(Protocol):
    """What the training loop trains on."""

    place: Place

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimiser steps in a pass over the data; None if nobody knows."""

    def start(self, step: int) -> Iterator[Batch]:
        """The batches of this process from an optimiser step on (0 is the first), without end."""


class MapBatches:
    """Batches of a dataset with random access, shuffled anew in each epoch; what does not fill a step is left out.

    A step holds the same examples whatever the number of processes, as long as the examples per step are as many.
    """

    def __init__(self, dataset: Dataset, collate: Collate, place: Place, *, seed: int, workers: int = 0) -> None:
        """Prepare batches.

        Args:
            dataset: Examples; `processid` and what `collate` needs.
            collate: Makes inputs of them.
            place: Which part of each step to give.
            seed: Seed of order and collation.
            workers: Processes that prepare batches.

        Raises:
            ValueError: If there are fewer examples than a step takes.
        """
        if len(dataset) < place.examples:
            raise ValueError(
                f"A step takes {place.examples} examples ({place.processes} processes x `batch_size` "
                f"{place.batch_size} x `gradient_accumulation_steps` {place.accumulation}), and the data have "
                f"{len(dataset)}. Use a smaller batch or more data."
            )
        self.dataset, self.collate, self.place, self.seed, self.workers = dataset, collate, place, seed, workers

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the data."""
        return len(self.dataset) // self.place.examples

    def start(self, step: int) -> Iterator[Batch]:
        """See `Batches`."""
        loader: DataLoader[Batch | ValueError] = DataLoader(
            _Rows(self.dataset, self.seed),  # type: ignore[arg-type]
            batch_sampler=_Order(self, step),
            collate_fn=_Collated(self.collate),  # type: ignore[arg-type]
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )
        return _raising(loader)


@dataclass(frozen=True)
class _Order:
    """Epoch and row of the examples of each batch."""

    batches: MapBatches
    first_step: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        place, steps = self.batches.place, self.batches.steps_per_epoch
        for epoch in itertools.count(self.first_step // steps):
            generator = torch.Generator().manual_seed(mix(self.batches.seed, epoch))
            order = torch.randperm(len(self.batches.dataset), generator=generator)
            for step in range(max(self.first_step - epoch * steps, 0), steps):
                for i in range(place.accumulation):
                    start = (step * place.accumulation + i) * place.processes + place.rank
                    rows = order[start * place.batch_size : (start + 1) * place.batch_size].tolist()
                    yield [(epoch, row) for row in rows]


@dataclass(frozen=True)
class _Rows:
    """Examples with the seed of each."""

    dataset: Dataset
    seed: int

    def __getitems__(self, keys: list[tuple[int, int]]) -> tuple[Rows, list[int]]:
        return self.dataset[[row for _, row in keys]], [mix(self.seed, *key) for key in keys]


@dataclass(frozen=True)
class _Collated:
    """Makes batches; of a bad specimen the error, which torch would bury in the traceback of its worker."""

    collate: Collate

    def __call__(self, fetched: tuple[Rows, list[int]]) -> Batch | ValueError:
        rows, seeds = fetched
        try:
            return Batch(self.collate(rows, seeds), list(rows[PROCESSID]))
        except ValueError as error:
            return error


def _raising(batches: Iterable[Batch | ValueError]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, ValueError):
            raise batch
        yield batch


class StreamBatches:
    """Batches of a dataset that can only be read from the start.

    Each process reads its own shards (or, if these are fewer, its own examples). A resumed run reads again, without
    training, what it had read of the data, so its batches are those of an uninterrupted run, as long as data and number
    of processes are the same; that takes the time of reading.
    """

    steps_per_epoch = None

    def __init__(
        self,
        dataset: IterableDataset,
        collate: Collate,
        place: Place,
        *,
        seed: int,
        buffer: int,
        worker: bool = False,
    ) -> None:
        """Prepare batches.

        Args:
            dataset: Examples; `processid` and what `collate` needs.
            collate: Makes inputs of them.
            place: Which part of each step to give.
            seed: Seed of order and collation.
            buffer: Examples among which the next one is drawn; 1 for the order of the data.
            worker: Whether another process prepares the batches.
        """
        if buffer > 1:
            dataset = dataset.shuffle(seed=mix(seed), buffer_size=buffer)
        own = split_dataset_by_node(dataset, rank=place.rank, world_size=place.processes)
        self.dataset, self.collate, self.place, self.seed, self.worker = own, collate, place, seed, worker

    def start(self, step: int) -> Iterator[Batch]:
        """See `Batches`.

        Raises:
            ValueError: When it turns out that a pass over the data does not fill one batch.
        """
        stream = _Stream(self, step * self.place.accumulation)
        workers = int(self.worker)
        return _raising(DataLoader(stream, batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available()))


class _Stream(TorchIterableDataset[Batch | ValueError]):
    def __init__(self, batches: StreamBatches, skipped: int) -> None:
        self.batches, self.skipped = batches, skipped

    def __iter__(self) -> Iterator[Batch | ValueError]:
        place, collated = self.batches.place, _Collated(self.batches.collate)
        number = 0
        for epoch in itertools.count():
            self.batches.dataset.set_epoch(epoch)
            before = number
            for rows in self.batches.dataset.iter(place.batch_size, drop_last_batch=True):
                if number >= self.skipped:
                    first = number * place.batch_size
                    seeds = [mix(self.batches.seed, place.rank, first + i) for i in range(place.batch_size)]
                    yield collated((rows, seeds))
                number += 1
            if number == before:
                yield ValueError(
                    f"The stream of process {place.rank} ends before a batch of {place.batch_size} examples is full. "
                    "Use a smaller `batch_size`, fewer processes or more data."
                )
