"""Evaluation during training, shared among the processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from datasets import Dataset
from torch import nn

from bioscan_hf.training.batches import Collate, mix

# Sets the masks of evaluation apart from those of training; they are the same each time.
_EVALUATION_SEED = 2


def shares(
    dataset: Dataset, collate: Collate, *, batch_size: int, accelerator: Accelerator
) -> Iterator[tuple[dict[str, torch.Tensor], bool]]:
    """Batches of this process, on its device: every process gets as many, as FSDP needs.

    Yields:
        Inputs, and whether they count: the last one is given again to processes that have none.
    """
    starts = range(0, len(dataset), batch_size)
    rounds = -(-len(starts) // accelerator.num_processes)
    for i in range(rounds):
        number = i * accelerator.num_processes + accelerator.process_index
        start = starts[min(number, len(starts) - 1)]
        rows = dataset[start : start + batch_size]
        count = len(next(iter(rows.values())))
        inputs = collate(rows, [mix(_EVALUATION_SEED, row) for row in range(start, start + count)])
        yield send_to_device(inputs, accelerator.device), number < len(starts)


@torch.no_grad()
def sums(
    model: nn.Module,
    batches: Iterator[tuple[dict[str, torch.Tensor], bool]],
    judge: Callable[[Any, dict[str, torch.Tensor]], list[float]],
    accelerator: Accelerator,
) -> list[float]:
    """Add up what is judged of each batch, over all processes.

    Args:
        model: In evaluation mode.
        batches: See `shares`.
        judge: Given the model's output and its inputs, returns some numbers.
        accelerator: The processes.
    """
    totals: list[float] = []
    for inputs, counts in batches:
        found = judge(model(**inputs), inputs)
        totals = [a + b * counts for a, b in itertools.zip_longest(totals, found, fillvalue=0.0)]
    # Apple's GPUs have no float64, in which counts of tokens stay exact.
    dtype = torch.float32 if accelerator.device.type == "mps" else torch.float64
    reduced = accelerator.reduce(torch.tensor(totals, dtype=dtype, device=accelerator.device), reduction="sum")
    return [float(value) for value in reduced.tolist()]
