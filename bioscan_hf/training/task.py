"""What a command trains: a model, its data, and how to judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset, IterableDataset
from huggingface_hub import ModelCard
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.cards import Training
from bioscan_hf.training.batches import Collate
from bioscan_hf.training.loop import Evaluate
from bioscan_hf.training.schedule import GroupOf


class WriteCard(Protocol):
    """Writes the card of the final model."""

    def __call__(
        self, config: PreTrainedConfig, num_parameters: int, training: Training, results: Sequence[Result], **run: Any
    ) -> ModelCard:
        """Arguments are as of `bioscan_hf.hub.cards.training_card`; `run` holds those that any model has."""


@dataclass(frozen=True)
class Task:
    """A model, its data, and how to judge it.

    Attributes:
        model: A `PreTrainedModel`, or a `PeftModel` around one.
        tokenizer: Tokenizer or processor, saved with the model.
        examples: To train on, with the column `processid` and what `collate` needs.
        collate: Makes batches of them.
        evaluate: Computes metrics during training; none if not given.
        measure: Computes results of the model in a folder, with baselines, given the command.
        write_card: Writes its card.
        frozen: Parts of the model that compute as in evaluation.
        finish: Makes the final model of what was trained, in its folder.
        group_of: Learning rate and weight decay of parameters that have their own.
        adapter: Whether the final folder holds an adapter only.
        facts: What the card says of the data: keyword arguments of `bioscan_hf.hub.cards.Training`.
        chance: Loss of a model that knows nothing, in nats.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase | ProcessorMixin
    examples: Dataset | IterableDataset
    collate: Collate
    evaluate: Evaluate | None
    measure: Callable[[Path, str], Sequence[Result]]
    write_card: WriteCard
    frozen: Sequence[nn.Module] = ()
    finish: Callable[[Path], None] | None = None
    group_of: GroupOf = lambda name, parameter: {}
    adapter: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    chance: float | None = None
