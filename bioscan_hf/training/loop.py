"""The training loop: it knows batches and losses, not biology."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from bioscan_hf.training.arguments import TrainingArguments

Report = Callable[[int, float], None]
"""Called after each step with the number of steps done and the loss."""


def train(
    model: PreTrainedModel,
    batches: DataLoader[Any],
    arguments: TrainingArguments,
    *,
    report: Report | None = None,
) -> list[float]:
    """Train a model in place with AdamW and the OneCycle schedule.

    Args:
        model: Called with a batch as keyword arguments; returns an output with a scalar `loss`.
        batches: Gives dictionaries of tensors; begun anew as often as needed.
        arguments: Length, optimiser and precision.
        report: Called after each step.

    Returns:
        The loss of each step, in nats, averaged over the processes.

    Raises:
        ValueError: If `batches` is empty.
        RuntimeError: If the loss is not a number.
    """
    if not len(batches):
        raise ValueError("There are fewer specimens than one batch; use a smaller `batch_size` or more specimens.")
    accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=arguments.weight_decay)
    model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    # Not prepared: Accelerate would step it once for every process.
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, total_steps=arguments.max_steps + 1, pct_start=arguments.warmup
    )
    model.train()
    losses: list[float] = []
    for step, batch in zip(range(1, arguments.max_steps + 1), _endless(batches), strict=False):
        loss = model(**batch).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(accelerator.reduce(loss.detach(), reduction="mean").item())
        if not math.isfinite(losses[-1]):
            raise RuntimeError(f"The loss is {losses[-1]} at step {step}; try a lower `learning_rate`.")
        if report:
            report(step, losses[-1])
    accelerator.unwrap_model(model).eval()
    return losses


def _endless(batches: DataLoader[Any]) -> Iterator[dict[str, torch.Tensor]]:
    while True:
        yield from batches
