"""Optimiser and learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

from bioscan_hf.training.arguments import TrainingArguments

GroupOf: TypeAlias = Callable[[str, nn.Parameter], Mapping[str, float]]
"""Given name and parameter, returns what its group has of its own: `lr` (peak), `weight_decay`."""


def make_optimizer(
    model: nn.Module, arguments: TrainingArguments, *, batch: int, group_of: GroupOf = lambda name, parameter: {}
) -> torch.optim.Optimizer:
    """AdamW over the parameters that are trained, fused where it exists.

    Args:
        model: Its parameters without `requires_grad` are left out.
        arguments: Rate and weight decay.
        batch: Examples per optimiser step, for `scale_learning_rate`.
        group_of: What differs for a parameter; by default nothing.

    Raises:
        ValueError: If nothing is to be trained.
    """
    scale = batch / arguments.reference_batch if arguments.scale_learning_rate else 1
    shared = {"lr": arguments.learning_rate, "weight_decay": arguments.weight_decay}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            own = {**shared, **group_of(name, parameter)}
            groups.setdefault((own["lr"] * scale, own["weight_decay"]), []).append(parameter)
    if not groups:
        raise ValueError("There is nothing to train: all parameters are frozen.")
    trained = [{"params": own, "lr": rate, "weight_decay": decay} for (rate, decay), own in groups.items()]
    betas = (0.9, arguments.adam_beta2)
    try:
        return torch.optim.AdamW(trained, fused=True, betas=betas)
    except RuntimeError:  # no such kernel for this device
        return torch.optim.AdamW(trained, betas=betas)


def make_scheduler(optimizer: torch.optim.Optimizer, arguments: TrainingArguments, *, steps: int) -> LRScheduler:
    """The learning rate over the steps.

    Args:
        optimizer: The rates of its groups are the peaks.
        arguments: Kind of schedule, and share of the warm-up.
        steps: Optimiser steps in all.
    """
    if arguments.lr_scheduler_type == "onecycle":
        return OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            # One step more, so that the last one is not taken with a rate of almost nothing.
            total_steps=steps + 1,
            pct_start=arguments.warmup_ratio,
            cycle_momentum=arguments.cycles_momentum,
        )
    warmup = round(arguments.warmup_ratio * steps)
    if arguments.lr_scheduler_type == "cosine":
        return get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    return get_constant_schedule_with_warmup(optimizer, warmup)
