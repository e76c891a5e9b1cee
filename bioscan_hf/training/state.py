"""What a run knows about itself beyond the weights."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bioscan_hf.data.whole_files import write_json


@dataclass
class TrainingState:
    """Counters and records of a run; part of each checkpoint.

    Attributes:
        step: Optimiser steps done.
        history: Records of the log and of evaluations, each with `step`; losses in nats, rates in examples per second.
        losses: Loss of each step since the last record.
        best_step: Step of the best evaluation so far; None before the first.
        best_value: Its value of `metric_for_best_model`.
        patience_used: Evaluations since then.
        seconds: Wall time of training, over all starts.
        starts: How often the run was started.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best_step: int | None = None
    best_value: float | None = None
    patience_used: int = 0
    seconds: float = 0.0
    starts: int = 1

    def note(self, **values: float) -> None:
        """Add values to the record of this step."""
        if not self.history or self.history[-1]["step"] != self.step:
            self.history.append({"step": self.step})
        self.history[-1] |= values

    def judge(self, value: float, *, more_is_better: bool) -> bool:
        """Take note of an evaluation; returns whether it is the best so far, which what is no number never is."""
        if self.best_value is None:
            better = not math.isnan(value)
        else:
            better = value > self.best_value if more_is_better else value < self.best_value
        self.patience_used = 0 if better else self.patience_used + 1
        if better:
            self.best_step, self.best_value = self.step, value
        return better

    def save(self, path: Path) -> None:
        """Write it as JSON, in which numbers keep all their digits."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> TrainingState:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
