"""Cards of models of barcodes that were trained here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huggingface_hub import ModelCard
from transformers import PreTrainedConfig

from bioscan_hf.data.anywhere import SAMPLE
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.cards import Head, Training, training_card
from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments

SIMULATED = " The specimens are simulated; nothing can be concluded about real insects."


def barcode_card(
    arguments: PretrainingArguments | FinetuningArguments,
    head: Head,
    config: Any,
    num_parameters: int,
    training: Training,
    results: Sequence[Result],
    **run: Any,
) -> ModelCard:
    """Write the card of a BarcodeBERT.

    Args:
        arguments: Of the run.
        head: What the folder holds.
        config: Configuration of the model; this and the others as in `training_card`.
        num_parameters: Number of its parameters.
        training: How it was trained.
        results: What was measured.
        **run: Further arguments of `training_card`.
    """
    return training_card(
        config,
        num_parameters,
        training,
        results,
        head=head,
        reading_frames=config.reading_frames,
        summary=_summary(arguments, config),
        limits=_limits(arguments),
        **run,
    )


def _summary(arguments: PretrainingArguments | FinetuningArguments, config: PreTrainedConfig) -> str:
    sizes = f"k = {config.kmer_size}, {config.num_hidden_layers} layers, hidden size {config.hidden_size}"
    verb = "pretrained on" if isinstance(arguments, PretrainingArguments) else "trained to name specimens by"
    return f"A BarcodeBERT ({sizes}), {verb} DNA barcodes (COI).{SIMULATED if arguments.data == SAMPLE else ''}"


def _limits(arguments: PretrainingArguments | FinetuningArguments) -> str:
    what = "its embeddings of" if isinstance(arguments, PretrainingArguments) else "the names that it gives to"
    return (
        "The model knows DNA barcodes of the COI gene, of animals like those that it was trained on: "
        f"{what} others mean little. The table shows how often it is wrong."
    )
