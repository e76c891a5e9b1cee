import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset

from bioscan_hf.training.batches import Batch, MapBatches, Place, Rows, StreamBatches, mix

COUNT = 70


def seen(rows: Rows, seeds: Sequence[int]) -> dict[str, torch.Tensor]:
    """Inputs that tell which examples were asked for, and with which seeds."""
    return {"number": torch.tensor(rows["number"]), "seed": torch.tensor(seeds)}


def numbered(count: int = COUNT) -> Dataset:
    return Dataset.from_dict({"processid": [f"P{i}" for i in range(count)], "number": list(range(count))})


def streamed(count: int = COUNT, shards: int = 1) -> IterableDataset:
    return numbered(count).to_iterable_dataset(num_shards=shards)


def on_map(rank: int = 0, processes: int = 1, batch_size: int = 16, accumulation: int = 1, **more: Any) -> MapBatches:
    return MapBatches(numbered(), seen, Place(rank, processes, batch_size, accumulation), **{"seed": 0, **more})


def on_stream(
    rank: int = 0, processes: int = 1, batch_size: int = 8, accumulation: int = 1, shards: int = 1, **more: Any
) -> StreamBatches:
    place = Place(rank, processes, batch_size, accumulation)
    return StreamBatches(streamed(shards=shards), seen, place, **{"seed": 0, "buffer": 20, **more})


def taken(batches: MapBatches | StreamBatches, steps: int, *, start: int = 0) -> list[list[tuple[int, int]]]:
    """Numbers and seeds of the examples of each step of one process."""
    found = list(itertools.islice(batches.start(start), steps * batches.place.accumulation))
    assert all(batch.processids == [f"P{i}" for i in batch.inputs["number"].tolist()] for batch in found)
    pairs = [list(zip(*(batch.inputs[k].tolist() for k in ("number", "seed")), strict=True)) for batch in found]
    size = batches.place.accumulation
    return [list(itertools.chain(*pairs[i : i + size])) for i in range(0, len(pairs), size)]


def together(processes: int, batch_size: int, accumulation: int, steps: int) -> list[list[tuple[int, int]]]:
    """The same of all processes."""
    each = [taken(on_map(rank, processes, batch_size, accumulation), steps) for rank in range(processes)]
    return [sorted(itertools.chain(*parts)) for parts in zip(*each, strict=True)]


def test_place_counts_the_examples_of_a_step() -> None:
    assert Place(1, processes=3, batch_size=5, accumulation=2).examples == 30


@pytest.mark.parametrize(("processes", "batch_size", "accumulation"), [(2, 8, 1), (1, 4, 4), (2, 4, 2), (16, 1, 1)])
def test_a_step_has_the_same_examples_and_seeds_however_it_is_divided(
    processes: int, batch_size: int, accumulation: int
) -> None:
    expected = [sorted(step) for step in taken(on_map(), 10)]
    assert together(processes, batch_size, accumulation, 10) == expected


def test_each_example_comes_once_per_epoch_in_another_order_and_with_another_seed() -> None:
    batches = on_map()
    assert batches.steps_per_epoch == 4
    first, second = (list(itertools.chain(*taken(batches, 4, start=start))) for start in (0, 4))
    for epoch in (first, second):
        numbers = [number for number, _ in epoch]
        assert len(set(numbers)) == 64 and set(numbers) <= set(range(COUNT))
    assert [number for number, _ in first] != [number for number, _ in second]
    assert len({seed for _, seed in first + second}) == 128


@pytest.mark.parametrize("start", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_starting_at_a_step_equals_going_there(start: int, accumulation: int) -> None:
    batches = on_map(batch_size=16 // accumulation, accumulation=accumulation)
    assert taken(batches, 6, start=start) == taken(batches, start + 6)[start:]


def test_the_seed_decides_and_the_global_generator_does_not() -> None:
    torch.manual_seed(1)
    one = taken(on_map(seed=5), 5)
    torch.manual_seed(2)
    assert taken(on_map(seed=5), 5) == one
    assert taken(on_map(seed=6), 5) != one


@pytest.mark.parametrize("start", [0, 5])
def test_workers_change_nothing(start: int) -> None:
    assert taken(on_map(workers=2), 6, start=start) == taken(on_map(), 6, start=start)


def test_too_few_examples_for_a_step_are_told() -> None:
    with pytest.raises(
        ValueError, match=r"A step takes 80 examples \(2 processes x `batch_size` 8 x `gradient_acc.*70"
    ):
        on_map(0, 2, 8, 5)
    assert on_map(0, 1, COUNT).steps_per_epoch == 1


def test_seeds_of_close_numbers_have_nothing_in_common() -> None:
    seeds = [mix(a, b) for a in range(-20, 20) for b in range(40)]
    assert len(set(seeds)) == 1600 and all(0 <= seed < 2**63 for seed in seeds)
    assert mix(1, 2) != mix(2, 1) and mix(0) != mix(0, 0)
    assert 0.45 < sum(seed & 1 for seed in seeds) / 1600 < 0.55
    torch.Generator().manual_seed(max(seeds))


@pytest.mark.parametrize("start", [1, 6, 13, 30])
@pytest.mark.parametrize("buffer", [1, 20])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_stream_that_starts_at_a_step_equals_one_that_goes_there(start: int, buffer: int, shards: int) -> None:
    expected = taken(on_stream(buffer=buffer, shards=shards), start + 9)[start:]
    assert taken(on_stream(buffer=buffer, shards=shards), 9, start=start) == expected


def test_a_stream_with_accumulation_starts_at_the_optimiser_step() -> None:
    expected = taken(on_stream(accumulation=2), 12)[5:]
    assert taken(on_stream(accumulation=2), 7, start=5) == expected


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_two_processes_share_a_stream(shards: int) -> None:
    one, two = (
        {number for step in taken(on_stream(rank, 2, 5, shards=shards), 7) for number, _ in step} for rank in (0, 1)
    )
    assert not one & two
    if shards != 3:  # the third shard is shared by examples
        assert len(one) == len(two) == 35 and one | two == set(range(COUNT))


def test_buffer_shuffles_always_alike_and_each_epoch_otherwise() -> None:
    def numbers(steps: slice, **options: Any) -> list[int]:
        return [number for step in taken(on_stream(batch_size=7, **options), 20)[steps] for number, _ in step]

    epoch, other = slice(0, 10), slice(10, 20)
    assert numbers(epoch, buffer=1) == numbers(other, buffer=1) == list(range(COUNT))
    assert numbers(epoch) == numbers(epoch) != list(range(COUNT))
    assert sorted(numbers(epoch)) == sorted(numbers(other)) == list(range(COUNT))
    assert numbers(epoch) != numbers(other) and numbers(epoch) != numbers(epoch, seed=1)


def test_an_example_of_a_stream_has_another_seed_each_time_and_in_each_process() -> None:
    seeds = [seed for rank in (0, 1) for step in taken(on_stream(rank, 2, 5), 20) for _, seed in step]
    assert len(set(seeds)) == len(seeds)


def test_a_worker_reads_the_same_stream() -> None:
    assert taken(on_stream(worker=True), 12, start=3) == taken(on_stream(), 12, start=3)


def test_a_stream_that_fills_no_batch_is_told() -> None:
    stream = StreamBatches(streamed(7), seen, Place(1, 2, 4), seed=0, buffer=1)
    assert stream.steps_per_epoch is None
    with pytest.raises(ValueError, match="stream of process 1 ends before a batch of 4 examples is full"):
        next(stream.start(0))


def test_batch_holds_what_the_model_gets() -> None:
    batch = next(on_map().start(0))
    assert isinstance(batch, Batch) and set(batch.inputs) == {"number", "seed"} and len(batch.processids) == 16
