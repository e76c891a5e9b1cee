from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from bioscan_hf.training.batches import Rows
from bioscan_hf.training.evaluating import shares, sums


def collate(rows: Rows, seeds: Sequence[int]) -> dict[str, torch.Tensor]:
    return {"number": torch.tensor(rows["number"]), "seed": torch.tensor(seeds)}


def place(rank: int, processes: int) -> Any:
    return SimpleNamespace(process_index=rank, num_processes=processes, device=torch.device("cpu"))


def shared(count: int, batch_size: int, processes: int) -> list[list[tuple[list[int], bool]]]:
    dataset = Dataset.from_dict({"number": list(range(count))})
    return [
        [
            (inputs["number"].tolist(), counts)
            for inputs, counts in shares(dataset, collate, batch_size=batch_size, accelerator=place(rank, processes))
        ]
        for rank in range(processes)
    ]


@pytest.mark.parametrize(
    ("count", "batch_size", "processes"), [(10, 3, 1), (10, 3, 2), (10, 3, 3), (2, 4, 3), (9, 3, 2)]
)
def test_every_specimen_counts_once_and_all_processes_have_as_many_batches(
    count: int, batch_size: int, processes: int
) -> None:
    found = shared(count, batch_size, processes)
    counted = [number for batches in found for numbers, counts in batches if counts for number in numbers]
    assert sorted(counted) == list(range(count))
    assert len({len(batches) for batches in found}) == 1
    assert all(numbers for batches in found for numbers, _ in batches), "no batch is empty"


def test_seeds_are_of_the_specimen_whatever_its_batch() -> None:
    dataset = Dataset.from_dict({"number": list(range(10))})

    def seeds(batch_size: int) -> list[int]:
        batches = shares(dataset, collate, batch_size=batch_size, accelerator=place(0, 1))
        return [seed for inputs, _ in batches for seed in inputs["seed"].tolist()]

    assert seeds(3) == seeds(10) and len(set(seeds(3))) == 10


def test_sums_leave_out_what_does_not_count() -> None:
    class Echo(nn.Module):
        def forward(self, number: torch.Tensor) -> torch.Tensor:
            assert not torch.is_grad_enabled()
            return number

    batches = iter([({"number": torch.tensor([1, 2])}, True), ({"number": torch.tensor([50])}, False)])
    found = sums(Echo(), batches, lambda output, inputs: [float(output.sum()), len(output)], Accelerator())
    assert found == [3.0, 2.0]
