"""A run of benchmark 3, from its arguments to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.benchmarks.barcode_classification import Report
from bioscan_hf.evaluation.benchmarks.cross_modal_retrieval import Embedded, Retrieved, Task, needs, retrieve, score
from bioscan_hf.evaluation.benchmarks.pages import Picture, check_names, write_report
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import (
    ALL,
    CONCAT,
    IMAGE,
    JOINT,
    MODALITIES,
    Pair,
    RetrievalModel,
    RetrievalSettings,
)
from bioscan_hf.evaluation.benchmarks.retrieval_pictures import accuracy_by_rank, choose_queries, retrieved_keys
from bioscan_hf.evaluation.benchmarks.retrieval_specimens import COLUMNS, is_table_without_images, load_keys_and_queries
from bioscan_hf.evaluation.benchmarks.retrieval_tables import main_tables, other_tables
from bioscan_hf.evaluation.benchmarks.specimens import Say
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import with_modalities
from bioscan_hf.evaluation.cached import embed_cached
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.evaluation.results import Result
from bioscan_hf.evaluation.unit_length import unit_length

TITLE = "Cross-modal retrieval"
# Pictures are of these pairs; of a model that was asked neither of them, of its first pair.
_PICTURED = ("image-image", "image-dna")
_MEANINGS = {
    JOINT: "Joint: the mean of the vectors of image and DNA.",
    CONCAT: "Concat: the vectors of image and DNA side by side.",
    ALL: "All: each specimen is up to three keys, by its image, its DNA and its text.",
}


def run_retrieval(
    models: Sequence[RetrievalModel],
    source: str | Path,
    settings: RetrievalSettings,
    *,
    shown: int = 6,
    splits: Path | None = None,
    limit: int | None = None,
    cache: Path | None,
    output: Path,
    command: str,
    report: Report,
    say: Say,
) -> list[Result]:
    """Ask benchmark 3 to models, and write what came out.

    A specimen takes part in a pair if it has what the pair needs; so all models are asked about the same specimens.
    Files of embeddings need neither images nor barcodes, but a vector of each specimen.

    Args:
        models: Each is asked those pairs that it has the modalities of.
        source: Where the specimens are (see `load_anywhere`).
        settings: What is asked.
        shown: Queries in the pictures of retrieved keys; 0 for no such pictures.
        splits: Table of splits.
        limit: Specimens of each split that are used; None for all.
        cache: Folder of embeddings that are kept; None for none.
        output: Folder of the report.
        command: The command line.
        report: Told of the progress.
        say: Told what a user should know, such as how many specimens are left out.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If there are no models, two have one name, one can do none of the pairs, a pair that was asked for
            by name cannot be measured, or data, labels or embeddings are not what they should be.
        OSError: If something cannot be read or written.
    """
    check_names([model.name for model in models])
    asked = _of_models(models, settings)
    needed = _needed_columns(models, asked)
    if COLUMNS[IMAGE] in needed and is_table_without_images(source) and settings.pairs is None:
        without = [pair for pair in asked if IMAGE not in pair.modalities]
        # A model that nothing is left for makes missing images an error, when they are loaded.
        if all(any(map(model.embeds, without)) for model in models):
            say(f"'{source}' has no images; pairs that need them are left out.")
            asked, needed = without, needed - {COLUMNS[IMAGE]}
    specimens = load_keys_and_queries(
        source, settings, image=COLUMNS[IMAGE] in needed, splits=splits, limit=limit, say=say
    )
    present = {
        modality: with_modalities(specimens, [name]) if name in needed else np.arange(len(specimens))
        for modality, name in COLUMNS.items()
    }
    task = Task(specimens, settings, present)
    asked = _of_data(task, asked, settings, say)
    data = describe_anywhere(source, splits)
    results: list[Result] = []
    found: dict[str, dict[Pair, Mapping[str, Retrieved]]] = {}
    for model in models:
        own = [pair for pair in asked if model.embeds(pair)]
        embed = partial(_embed, model, specimens=specimens, cache=cache, data_revision=data[1], report=report)
        embedded = {
            modality: embed(modality, rows) for modality in MODALITIES if len(rows := task.needed(modality, own))
        }
        found[model.name] = {}
        for done, pair in enumerate(own):
            report(f"retrieval by {model.name}, pairs", done, len(own))
            found[model.name][pair] = retrieve(task, pair, embedded)
            results += [
                Result(m.benchmark, m.metric, m.value, m.count, model.name, model.revision, *data, m.split, command)
                for m in score(task, pair, found[model.name][pair])
            ]
        report(f"retrieval by {model.name}, pairs", len(own), len(own))
    pictures = [
        picture
        for number, (name, pairs) in enumerate(found.items(), 1)
        for picture in _pictures(name, number, pairs, results, specimens, task, shown)
    ]
    write_report(
        output,
        title=f"{TITLE} (benchmark 3 of BIOSCAN-5M)",
        text=_text(task, asked),
        results=results,
        tables=[*main_tables(results), *other_tables(asked)],
        pictures=pictures,
        settings={**asdict(settings), "limit": limit, "shown": shown},
    )
    return results


def _of_models(models: Sequence[RetrievalModel], settings: RetrievalSettings) -> list[Pair]:
    """Pairs that models can be asked."""
    has = "; ".join(f"{model.name!r} embeds {', '.join(model.encoders)}" for model in models)
    asked = [pair for pair in settings.asked if any(model.embeds(pair) for model in models)]
    if settings.pairs is not None and len(asked) < len(settings.asked):
        [pair, *_] = [pair for pair in settings.asked if pair not in asked]
        raise ValueError(f"The pair {pair.name} needs one model of {' and '.join(pair.modalities)}; {has}.")
    for model in models:
        if not any(model.embeds(pair) for pair in asked):
            raise ValueError(
                f"{model.name!r} embeds {', '.join(model.encoders)}, and can do none of the pairs "
                f"{', '.join(pair.name for pair in settings.asked)}. Choose others by `--pairs`, or leave it out."
            )
    return asked


def _needed_columns(models: Sequence[RetrievalModel], pairs: Sequence[Pair]) -> set[str]:
    """Columns that encoders read for pairs; files of embeddings read none."""
    return {
        COLUMNS[modality]
        for model in models
        for modality, encoder in model.encoders.items()
        if modality in COLUMNS and not isinstance(encoder, Precomputed)
        if any(modality in pair.modalities and model.embeds(pair) for pair in pairs)
    }


def _of_data(task: Task, pairs: Sequence[Pair], settings: RetrievalSettings, say: Say) -> list[Pair]:
    """Pairs that the data allow."""
    reasons = {pair: task.why_not(pair) for pair in pairs}
    asked = [pair for pair, reason in reasons.items() if reason is None]
    refused = [f"{pair.name} cannot be measured: {reason}" for pair, reason in reasons.items() if reason is not None]
    if refused and (settings.pairs is not None or not asked):
        raise ValueError(f"{refused[0]}. Choose data or splits that have them, or other `--pairs`.")
    for reason in refused:
        say(f"{reason}.")
    for group, split in task.settings.groups.items():
        if group not in task.queries:
            say(f"There are no queries of {group}, for no specimen is of the split {split!r}.")
    for pair in asked:
        say(_counts(task, pair))
    return asked


def _counts(task: Task, pair: Pair) -> str:
    """How many specimens take part in a pair, and how many do not."""
    queries = {group: len(task.having(pair.query, rows)) for group, rows in task.queries.items()}
    keys = len(task.having(pair.key, task.keys))
    counts = ", ".join(f"{count:,} queries of {group}" for group, count in queries.items())
    parts = [f"{pair.name}: {counts}, {keys:,} keys"]
    lacking = {
        "queries": (sum(map(len, task.queries.values())) - sum(queries.values()), pair.query),
        "keys": (len(task.keys) - keys, pair.key),
    }
    parts += [f"{count:,} {name} without {needs(kind)} left out" for name, (count, kind) in lacking.items() if count]
    return f"{'; '.join(parts)}."


def _embed(
    model: RetrievalModel,
    modality: str,
    rows: NDArray[np.int64],
    *,
    specimens: Dataset,
    cache: Path | None,
    data_revision: str,
    report: Report,
) -> Embedded:
    within = partial(report, f"embedding {modality} by {model.name}")
    part = specimens.select(rows)
    vectors = embed_cached(model.encoders[modality], part, cache, data_revision=data_revision, report=within)
    if len(vectors) != len(rows):
        raise ValueError(f"Expected {len(rows):,} vectors of {modality} by {model.name!r}; got {len(vectors):,}.")
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        raise ValueError(
            f"Expected finite vectors of {modality} by {model.name!r}; {(~finite).sum():,} of {len(rows):,} are not, "
            f"the first is that of {part[int(np.argmin(finite))]['processid']!r}. Correct the model, or leave the "
            "specimens out."
        )
    return Embedded(rows, unit_length(vectors))


def _text(task: Task, pairs: Sequence[Pair]) -> str:
    groups = " and ".join(f"{task.settings.groups[group]!r} ({group})" for group in task.queries)
    meanings = [meaning for kind, meaning in _MEANINGS.items() if any(kind in pair for pair in pairs)]
    counts = [_counts(task, pair) for pair in pairs]
    return (
        f"For each query the nearest keys are found, by the cosine of embeddings, and their taxa are compared. Queries "
        f"are of {groups}, keys of {task.settings.keys!r}. {' '.join([*counts, *meanings])}"
    )


def _pictures(
    name: str,
    number: int,
    found: Mapping[Pair, Mapping[str, Retrieved]],
    results: Sequence[Result],
    specimens: Dataset,
    task: Task,
    shown: int,
) -> list[Picture]:
    if not found:
        return []
    own = [result for result in results if result.model == name]
    bars = accuracy_by_rank(own, list(found), title=f"Taxon of the nearest key, by {name}")
    pictures = [Picture(f"accuracy_{number}.png", f"Macro top-1 accuracy of {name} at each rank", bars)]
    chosen = [pair for pair in found if pair.name in _PICTURED] or [next(iter(found))]
    for pair in chosen if shown else []:
        rows = choose_queries(task, found[pair], shown)
        figure = retrieved_keys(specimens, rows, title=f"{pair.title}, by {name}")
        caption = f"Queries, and the five keys that {name} finds nearest to each ({pair.title})"
        pictures.append(Picture(f"keys_{number}_{pair.name}.png", caption, figure))
    return pictures
