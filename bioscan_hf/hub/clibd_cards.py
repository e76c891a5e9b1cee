"""Cards of aligned models."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from bioscan_hf.evaluation.benchmarks.pages import table_markdown
from bioscan_hf.evaluation.benchmarks.retrieval_tables import MACRO, main_tables
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.card_texts import (
    KEYS_ONLY,
    LABELS,
    LANGUAGE,
    NOT_REGULATORY,
    PLACES,
    bibtex,
    bullets,
    data_licence,
)
from bioscan_hf.hub.cards import Training, model_index_entry, training_fields
from bioscan_hf.hub.eval_results import is_hub_id

_TASK = "zero-shot-image-classification"
_LIMITS = (
    "The model knows specimens like those that it was trained on: photographs taken in the same way, barcodes of the "
    "COI gene, names of the same taxa. The nearest specimen or name is not always right: the tables show how often."
)


def clibd_card(
    config: Any,
    num_parameters: int,
    training: Training,
    results: Sequence[Result],
    *,
    source: tuple[str, str],
    model_id: str,
    title: str,
    version: str,
    compared: int,
    chance: float | None,
    example_text: str,
    simulated: bool,
    report: str | None = None,
    picture: str | None = None,
    data_license: str | None = None,
) -> ModelCard:
    """Write the card of a trained CLIBD.

    Args:
        config: Its configuration.
        num_parameters: Number of its parameters.
        training: How it was trained.
        results: What was measured with it and with others; the macro accuracies of those
            whose `model` is `title` go into `model-index`.
        source: Name and revision of the data; a name of the form `namespace/name` is taken for a dataset on the Hub.
        model_id: Repository or folder that the example in the card loads.
        title: Name of the model.
        version: Version of this package.
        compared: Specimens that were compared with each other in training.
        chance: Loss of a model that knows nothing, in nats; None if nobody knows.
        example_text: A caption in the form of the training.
        simulated: Whether the specimens are, which the card then says.
        report: Folder with the page of benchmark 3, in the model's folder.
        picture: File name of the training curves, in the model's folder.
        data_license: Where the data come from, and their licence.

    Returns:
        A card whose metadata hold the results as `model-index`.
    """
    own = [result for result in results if result.model == title and result.metric == MACRO]
    tables = [
        {"heading": table.heading, "text": table.text, "lines": "\n".join(lines)}
        for table in main_tables(results)
        if (lines := table_markdown(results, table._replace(published=())))
    ]
    data = ModelCardData(
        model_name=title,
        language=LANGUAGE,
        license="mit",
        library_name="transformers",
        pipeline_tag=_TASK if {"image", "text"} <= set(config.modalities) else "feature-extraction",
        tags=["biology", "DNA", "DNA barcoding", "CLIBD", "contrastive learning", "bioscan_hf"],
        datasets=[source[0]] if is_hub_id(source[0]) else None,
        eval_results=[model_index_entry(result, _TASK) for result in own] or None,
    )
    with as_file(files("bioscan_hf.hub") / "templates" / "clibd.md") as template:
        return ModelCard.from_template(
            data,
            template_path=str(template),
            config=config,
            modalities=[{"dna": "DNA"}.get(name, name) for name in config.modalities],
            model_id=model_id,
            title=title,
            version=version,
            tables=tables,
            commands=list(dict.fromkeys(result.command for result in results)),
            dataset=source[0],
            dataset_revision=source[1],
            data_licence=data_licence(source[0], data_license, simulated=simulated),
            limits=bullets(_LIMITS, KEYS_ONLY, LABELS, PLACES, NOT_REGULATORY),
            citation=bibtex("CLIBD", "BIOSCAN-5M"),
            picture=picture,
            report=report if own else None,
            parameters=f"{num_parameters:,}",
            compared=f"{compared:,}",
            example_text=example_text,
            simulated=simulated,
            **training_fields(training, chance=chance),
        )
