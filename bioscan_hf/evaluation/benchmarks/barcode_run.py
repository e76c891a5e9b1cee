"""A run of benchmark 1, from its arguments to the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.baselines import blast
from bioscan_hf.evaluation.benchmarks.barcode_classification import (
    SWEPT,
    ClassificationSettings,
    Measured,
    Report,
    Task,
    measure_blast,
    measure_cnn,
    measure_embeddings,
    shown_columns,
    train_baseline_cnn,
)
from bioscan_hf.evaluation.benchmarks.pages import Column, Picture, Table, check_names, write_report
from bioscan_hf.evaluation.benchmarks.paper import NEAREST_GENUS, NEAREST_SPECIES, PUBLISHED
from bioscan_hf.evaluation.benchmarks.pictures import accuracy_bars
from bioscan_hf.evaluation.benchmarks.specimens import Say, load_labelled
from bioscan_hf.evaluation.cached import embed_cached
from bioscan_hf.evaluation.encoders.base import Encoder, check_barcodes
from bioscan_hf.evaluation.results import Result

BLAST, CNN = "blast", "cnn"
"""Baselines that are no encoders."""

TITLE = "Barcode classification"


def run_classification(
    encoders: Sequence[Encoder],
    source: str | Path,
    settings: ClassificationSettings,
    *,
    baselines: Sequence[str] = (),
    splits: Path | None = None,
    limit: int | None = None,
    others: Sequence[Result] = (),
    device: str | None = None,
    cache: Path,
    output: Path,
    command: str,
    report: Report,
    say: Say,
) -> list[Result]:
    """Ask benchmark 1 to encoders and baselines, and write what came out.

    Args:
        encoders: Their embeddings are asked.
        source: Where the specimens are (see `load_anywhere`).
        settings: How they are named.
        baselines: Any of `blast` and `cnn`.
        splits: Table of splits.
        limit: Specimens of each split that are used; None for all.
        others: Results of other runs on the same data, such as of a fine-tuned classifier, to stand beside these; those
            of questions that are asked to the same model now are left out.
        device: Where the CNN is trained; by default a GPU if there is one.
        cache: Folder of embeddings that are kept.
        output: Folder of the report.
        command: The command line.
        report: Told of the progress.
        say: Told what a user should know.

    Returns:
        What was measured, `others` included.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If there is nothing to measure, two encoders have one name, or data, labels or embeddings are not
            what they should be.
        OSError: If something cannot be read or written, or BLAST is not installed.
    """
    check_names([*(encoder.name for encoder in encoders), *baselines])
    if BLAST in baselines:
        blast.version()  # an error now, rather than after the other work
    wanted = "+".join((settings.keys, settings.queries, settings.queries_unseen))
    specimens = load_labelled(source, wanted, splits=splits, limit=limit, seed=settings.seed, say=say)
    check_barcodes(specimens["processid"][:], specimens["dna_barcode"][:])
    task = Task(specimens, settings)
    counts = ", ".join(f"{len(rows):,} of {group}" for group, rows in task.queries.items())
    say(f"{len(task.keys):,} keys; queries: {counts}.")
    data = describe_anywhere(source, splits)
    make = partial(_results, data=data, command=command)
    for other in others:
        if (other.dataset, other.dataset_revision) != data:
            raise ValueError(
                f"Results to compare with must be of the same data: expected {data[0]}, revision {data[1]}; those of "
                f"{other.model} are of {other.dataset}, revision {other.dataset_revision}."
            )
    results: list[Result] = []
    for encoder in encoders:
        within = partial(report, f"embedding by {encoder.name}")
        vectors = embed_cached(encoder, specimens, cache, data_revision=data[1], report=within)
        results += make(encoder.name, encoder.revision, measure_embeddings(task, vectors, report=report))
    if CNN in baselines and (cnn := train_baseline_cnn(task, device=device, report=report)) is not None:
        results += make("CNN", None, measure_cnn(task, cnn))
        results += make("CNN", None, measure_embeddings(task, cnn.embed(specimens), report=report))
    if BLAST in baselines:
        results += make(f"BLAST {blast.version()}", None, measure_blast(task, report=report))
    results = _joined(results, others)
    main = main_table(settings)
    by_rank = [
        Table(
            f"By rank, {group}",
            "1-NN accuracy in %, over the queries and as the mean over taxa (macro).",
            [
                Column(f"{rank}{mark}", f"1-NN {rank}, {group}", metric)
                for rank in SWEPT
                for metric, mark in (("accuracy", ""), ("macro_accuracy", ", macro"))
            ],
        )
        for group in task.queries
    ]
    bars = accuracy_bars(
        results,
        [
            Column("species of seen species", NEAREST_SPECIES, "accuracy"),
            Column("genus of unseen species", NEAREST_GENUS, "accuracy"),
        ],
        PUBLISHED,
        title=f"{TITLE} by one nearest neighbour",
    )
    write_report(
        output,
        title=f"{TITLE} (benchmark 1 of BIOSCAN-5M)",
        text="Specimens are named by their barcode.",
        results=results,
        tables=[main, *by_rank],
        pictures=[
            Picture("accuracy.png", "Accuracy of one nearest neighbour, beside the best published numbers", bars)
        ],
        settings={**asdict(settings), "limit": limit},
    )
    return results


def _joined(results: Sequence[Result], others: Sequence[Result]) -> list[Result]:
    """Results of this run and of others, without those of others that this one has, too."""
    measured = {(result.model, result.benchmark, result.metric) for result in results}
    counts = {(result.benchmark, result.metric): result.count for result in results}
    for other in others:
        count = counts.get((other.benchmark, other.metric), other.count)
        if count != other.count:
            raise ValueError(
                f"Results to compare with must be of the same queries: {other.benchmark!r} was asked about {count:,} "
                f"here, and about {other.count:,} for {other.model}; give the same splits and --limit."
            )
    return [
        *results,
        *(other for other in others if (other.model, other.benchmark, other.metric) not in measured),
    ]


def main_table(settings: ClassificationSettings) -> Table:
    """The paper's table of this benchmark."""
    return Table(
        "Closed and open world",
        "Accuracy in %, the number of queries in brackets: the species of queries whose species is among the keys, and "
        "in the last columns the genus of queries whose species is not. Fine-tuning, linear probe and LDA (linear "
        "discriminant) learn from the labels of the keys; several neighbours vote, the nearer the more; centred: after "
        "the mean of the keys is subtracted from all embeddings.",
        [Column(title, question, "accuracy") for title, question in shown_columns(settings)],
        PUBLISHED,
    )


def _results(
    model: str, revision: str | None, measured: Iterable[Measured], *, data: tuple[str, str], command: str
) -> list[Result]:
    return [Result(m.benchmark, m.metric, m.value, m.count, model, revision, *data, m.split, command) for m in measured]
