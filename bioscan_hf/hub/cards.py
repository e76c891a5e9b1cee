"""Model cards, written from what was trained and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files

import numpy as np
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel

from bioscan_hf.evaluation.results import Result, results_markdown

# The loss in the card is the mean of this many last steps.
FINAL_STEPS = 20


@dataclass(frozen=True)
class Training:
    """What a card says of a training run.

    Attributes:
        arguments: Name and value of the arguments.
        barcodes: Number of distinct barcodes trained on.
        losses: Loss of each step, in nats.
    """

    arguments: dict[str, object]
    barcodes: int
    losses: Sequence[float]


def pretraining_card(
    model: PreTrainedModel,
    training: Training,
    results: Sequence[Result],
    *,
    source: tuple[str, str],
    reading_frames: int,
    model_id: str,
    title: str,
    summary: str,
    limits: str,
    version: str,
) -> ModelCard:
    """Write the card of a pretrained BarcodeBERT.

    Args:
        model: The model; its configuration and size stand in the card.
        training: How it was trained.
        results: What was measured with it and with baselines; those whose `model` is `title` go into the card's
            `model-index`.
        source: Name and revision of the data.
        reading_frames: With how many reading frames the results were measured (see `embed`).
        model_id: Repository or folder that the example in the card loads.
        title: Name of the model.
        summary: One or two sentences on what it is.
        limits: What it must not be used for.
        version: Version of this package.

    Returns:
        A card whose metadata hold the results as `model-index`.
    """
    own = [result for result in results if result.model == title]
    data = ModelCardData(
        model_name=title,
        license="mit",
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["biology", "DNA", "DNA barcoding", "BarcodeBERT", "sentence-transformers", "bioscan_hf"],
        eval_results=[_eval_result(result) for result in own],
    )
    with as_file(files("bioscan_hf.hub") / "templates" / "barcodebert.md") as template:
        return ModelCard.from_template(
            data,
            template_path=str(template),
            **{field: getattr(model.config, field) for field in ("hidden_size", "kmer_size", "max_nucleotides")},
            model_id=model_id,
            title=title,
            summary=summary,
            limits=limits,
            version=version,
            results_table=results_markdown(results),
            command=results[0].command if results else None,
            reading_frames=reading_frames,
            dataset=source[0],
            dataset_revision=source[1],
            arguments=training.arguments,
            barcodes=f"{training.barcodes:,}",
            loss=f"{np.mean(training.losses[-FINAL_STEPS:]):.2f}",
            chance=f"{chance_loss(model.config.kmer_size):.2f}",
            parameters=f"{model.num_parameters():,}",
        )


def chance_loss(kmer_size: int) -> float:
    """Cross-entropy, in nats, of a model that gives each of the 4**k k-mers the same probability."""
    return kmer_size * math.log(4)


def _eval_result(result: Result) -> EvalResult:
    entry = asdict(result)
    return EvalResult(
        task_type="feature-extraction",
        task_name=entry["benchmark"],
        dataset_type="bioscan-hf",
        dataset_name=entry["dataset"],
        dataset_split=entry["split"],
        dataset_revision=entry["dataset_revision"],
        metric_type=entry["metric"],
        metric_name=f"{entry['benchmark']}, {entry['metric']}, {entry['count']} queries",
        metric_value=entry["value"],
    )
