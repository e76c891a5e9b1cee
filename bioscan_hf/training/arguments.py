"""Arguments of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal


@dataclass(frozen=True)
class TrainingArguments:
    """How to train: length, optimiser and precision.

    Raises:
        ValueError: If a value makes no sense; the message names the field.
    """

    max_steps: int = field(metadata={"help": "Optimiser steps."})
    batch_size: int = field(default=64, metadata={"help": "Specimens per step in each process."})
    # BarcodeBERT: peak 1e-4 for a batch of 64 at hidden size 768; smaller models take larger rates.
    learning_rate: float = field(default=1e-4, metadata={"help": "Peak learning rate of the OneCycle schedule."})
    weight_decay: float = field(default=0.0, metadata={"help": "Weight decay of AdamW (BarcodeBERT: none)."})
    warmup: float = field(default=0.3, metadata={"help": "Share of the steps in which the rate rises (OneCycle: 0.3)."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradients are scaled down to this norm."})
    mixed_precision: Literal["no", "bf16", "fp16"] = field(default="no", metadata={"help": "Arithmetic of the model."})
    seed: int = field(default=0, metadata={"help": "Seed of weights, order and masking."})

    def __post_init__(self) -> None:
        rules = {
            "max_steps": self.max_steps >= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": self.learning_rate > 0,
            "weight_decay": self.weight_decay >= 0,
            "warmup": 0 < self.warmup < 1,
            "max_grad_norm": self.max_grad_norm > 0,
            "mixed_precision": self.mixed_precision in ("no", "bf16", "fp16"),
        }
        for argument in fields(self):
            if not rules.get(argument.name, True):
                value = getattr(self, argument.name)
                raise ValueError(f"`{argument.name}` is out of range: got {value!r}. {argument.metadata['help']}")
