"""Model cards, written from what was trained and measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any, Literal

import numpy as np
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedConfig

from bioscan_hf.evaluation.results import Result, results_markdown
from bioscan_hf.hub.card_texts import (
    KEYS_ONLY,
    LABELS,
    LANGUAGE,
    NOT_REGULATORY,
    PLACES,
    SEEN_ONLY,
    bibtex,
    bullets,
    data_licence,
)
from bioscan_hf.hub.eval_results import is_hub_id

# The loss in the card is the mean of this many last records.
FINAL_RECORDS = 20

Head = Literal["none", "masked_lm", "mae", "classifier", "adapter"]
"""What the model has on top of its encoder: nothing, a pretraining head, a classifier, or adapters and a classifier."""


@dataclass(frozen=True)
class Training:
    """What a card says of a training run.

    Attributes:
        objective: What was optimised, as a part of a sentence, for example "masked language modelling".
        arguments: Value of each argument of the run; those that are None are not shown.
        examples: Number of training examples; None if they were streamed and nobody counted.
        example_name: What they are, for example "distinct barcodes".
        labels: Ranks whose labels were used; none for self-supervised training.
        history: Records with "step" and some of "loss" (nats), "samples_per_second" and "eval_<metric>", oldest first.
        base_model: Hub id of the model that it was made from.
        seconds: Duration of the run, all its parts together.
        processes: How many processes trained together.
        resumed: How often the run was resumed.
    """

    objective: str
    arguments: Mapping[str, object]
    examples: int | None
    example_name: str
    labels: Sequence[str]
    history: Sequence[Mapping[str, float]]
    base_model: str | None = None
    seconds: float | None = None
    processes: int = 1
    resumed: int = 0


def training_card(
    config: PreTrainedConfig,
    num_parameters: int,
    training: Training,
    results: Sequence[Result],
    *,
    head: Head,
    source: tuple[str, str],
    model_id: str,
    title: str,
    summary: str,
    limits: str,
    version: str,
    reading_frames: int = 1,
    data_license: str | None = None,
    picture: str | None = None,
) -> ModelCard:
    """Write the card of a trained BarcodeBERT.

    Args:
        config: Configuration of the model.
        num_parameters: Number of its parameters; of an adapter, its own.
        training: How it was trained.
        results: What was measured with it and with baselines; those whose `model` is `title` go into the card's
            `model-index`.
        head: What the folder holds, which decides how the card says to load it.
        source: Name and revision of the data; a name of the form `namespace/name` is taken for a dataset on the Hub.
        model_id: Repository or folder that the example in the card loads.
        title: Name of the model.
        summary: One or two sentences on what it is.
        limits: What it knows, and what it does not; what holds for all models is added.
        version: Version of this package.
        reading_frames: With how many reading frames nearest neighbours were measured (see `embed`).
        data_license: Where the data come from, and their licence.
        picture: File name of the training curves, in the model's folder.

    Returns:
        A card whose metadata hold the results as `model-index`.
    """
    task = "text-classification" if head in ("classifier", "adapter") else "feature-extraction"
    opens_in = [] if head == "adapter" else ["sentence-transformers"]
    own = [result for result in results if result.model == title]
    data = ModelCardData(
        model_name=title,
        language=LANGUAGE,
        license="mit",
        library_name="peft" if head == "adapter" else "transformers",
        pipeline_tag=task,
        tags=["biology", "DNA", "DNA barcoding", "BarcodeBERT", *opens_in, "bioscan_hf"],
        base_model=training.base_model,
        datasets=[source[0]] if is_hub_id(source[0]) else None,
        eval_results=[model_index_entry(result, task) for result in own] or None,
    )
    with as_file(files("bioscan_hf.hub") / "templates" / "barcodebert.md") as template:
        return ModelCard.from_template(
            data,
            template_path=str(template),
            config=config,
            head=head,
            base_model=training.base_model,
            model_id=model_id,
            title=title,
            summary=summary,
            limits=bullets(
                limits,
                SEEN_ONLY if head in ("classifier", "adapter") else KEYS_ONLY,
                *(LABELS, PLACES, NOT_REGULATORY),
            ),
            citation=bibtex("BarcodeBERT", "BIOSCAN-5M"),
            version=version,
            results_table=results_markdown(results),
            commands=list(dict.fromkeys(result.command for result in results)),
            by_neighbours=any(result.benchmark.startswith("1-NN") for result in results),
            reading_frames=reading_frames,
            dataset=source[0],
            dataset_revision=source[1],
            data_licence=data_licence(source[0], data_license, simulated="simulated" in source[0]),
            picture=picture,
            parameters=f"{num_parameters:,}",
            **training_fields(training, chance=chance_loss(config.kmer_size) if head in ("masked_lm", "mae") else None),
        )


def chance_loss(kmer_size: int) -> float:
    """Cross-entropy, in nats, of a model that gives each of the 4**k k-mers the same probability."""
    return kmer_size * math.log(4)


def training_fields(training: Training, *, chance: float | None) -> dict[str, Any]:
    """What templates of cards say of a training run.

    Args:
        training: The run.
        chance: Loss of a model that knows nothing, in nats.
    """
    losses = [record["loss"] for record in training.history if "loss" in record]
    speeds = [record["samples_per_second"] for record in training.history if "samples_per_second" in record]
    last = next((r for r in reversed(training.history) if any(name.startswith("eval_") for name in r)), {})
    return {
        "objective": training.objective,
        "examples": "streamed specimens"
        if training.examples is None
        else f"{training.examples:,} {training.example_name}",
        "labels": _joined(training.labels),
        "loss": f"{np.mean(losses[-FINAL_RECORDS:]):.2f}" if losses else None,
        "chance": None if chance is None else f"{chance:.2f}",
        "evaluation": [f"{_metric(name)} {last[name]:.4g}" for name in last if name.startswith("eval_")],
        "evaluation_step": f"{last.get('step', 0):,.0f}",
        "duration": _duration(training.seconds) if training.seconds is not None else None,
        "speed": f"{np.median(speeds):,.0f}" if speeds else None,
        "processes": training.processes,
        "resumed": training.resumed,
        "arguments": {name: _cell(value) for name, value in training.arguments.items() if value is not None},
    }


def _metric(name: str) -> str:
    return name.removeprefix("eval_").replace("_", " ")


def _joined(names: Sequence[str]) -> str:
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _cell(value: object) -> str:
    """A value in a cell of a table, in one line."""
    shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return " ".join(shown.split()).replace("|", "\\|")


def model_index_entry(result: Result, task: str) -> EvalResult:
    """A result as `model-index` has it.

    Args:
        result: The result.
        task: Type of the task, such as `feature-extraction`.
    """
    return EvalResult(
        # No `task_name`: a card groups results by task, data and split, and would give all of a group the first's.
        task_type=task,
        dataset_type=result.dataset if is_hub_id(result.dataset) else "bioscan-hf",
        dataset_name=result.dataset,
        dataset_split=result.split,
        dataset_revision=result.dataset_revision,
        metric_type=result.metric,
        metric_name=f"{result.benchmark}, {result.metric}, {result.count} queries",
        metric_value=result.value,
    )
