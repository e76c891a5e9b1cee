"""Optimiser and learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

from bioscan_hf.training.arguments import REFERENCE_BATCH, TrainingArguments


def make_optimizer(
    parameters: Iterable[nn.Parameter], arguments: TrainingArguments, *, batch: int
) -> torch.optim.Optimizer:
    """AdamW over the parameters that are trained, fused where it exists.

    Args:
        parameters: Those without `requires_grad` are left out.
        arguments: Rate and weight decay.
        batch: Examples per optimiser step, for `scale_learning_rate`.

    Raises:
        ValueError: If nothing is to be trained.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("There is nothing to train: all parameters are frozen.")
    rate = arguments.learning_rate * (batch / REFERENCE_BATCH if arguments.scale_learning_rate else 1)
    options: dict[str, Any] = {
        "lr": rate,
        "weight_decay": arguments.weight_decay,
        "betas": (0.9, arguments.adam_beta2),
    }
    try:
        return torch.optim.AdamW(trained, fused=True, **options)
    except RuntimeError:  # no such kernel for this device
        return torch.optim.AdamW(trained, **options)


def make_scheduler(optimizer: torch.optim.Optimizer, arguments: TrainingArguments, *, steps: int) -> LRScheduler:
    """The learning rate over the steps.

    Args:
        optimizer: Its rate is the peak.
        arguments: Kind of schedule, and share of the warm-up.
        steps: Optimiser steps in all.
    """
    if arguments.lr_scheduler_type == "onecycle":
        (group,) = optimizer.param_groups
        # One step more, so that the last one is not taken with a rate of almost nothing.
        return OneCycleLR(optimizer, group["lr"], total_steps=steps + 1, pct_start=arguments.warmup_ratio)
    warmup = round(arguments.warmup_ratio * steps)
    if arguments.lr_scheduler_type == "cosine":
        return get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    return get_constant_schedule_with_warmup(optimizer, warmup)
