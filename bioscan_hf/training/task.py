"""What a command trains: a model, its data, and how to judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset
from torch import nn
from transformers import PreTrainedTokenizerBase

from bioscan_hf.evaluation.results import Result
from bioscan_hf.training.batches import Collate
from bioscan_hf.training.loop import Evaluate


@dataclass(frozen=True)
class Task:
    """A model, its data, and how to judge it.

    Attributes:
        model: A `PreTrainedModel`, or a `PeftModel` around one.
        tokenizer: Saved with the model.
        examples: To train on, with the column `processid` and what `collate` needs.
        collate: Makes batches of them.
        evaluate: Computes metrics during training; none if not given.
        measure: Computes results of the model in a folder, with baselines, given the command.
        frozen: Parts of the model that compute as in evaluation.
        finish: Makes the final model of what was trained, in its folder.
        card: What the card says: keyword arguments of `bioscan_hf.hub.cards.training_card`.
        facts: What the card says of the data: keyword arguments of `bioscan_hf.hub.cards.Training`.
        chance: Loss of a model that knows nothing, in nats.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    examples: Dataset | IterableDataset
    collate: Collate
    evaluate: Evaluate | None
    measure: Callable[[Path, str], Sequence[Result]]
    frozen: Sequence[nn.Module] = ()
    finish: Callable[[Path], None] | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    chance: float | None = None
