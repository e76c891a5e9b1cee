"""A run of the benchmark of identification, from its arguments to the page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.evaluation.benchmarks.barcode_classification import Report
from bioscan_hf.evaluation.benchmarks.pages import Picture, write_report
from bioscan_hf.evaluation.benchmarks.specimens import Say, load_labelled
from bioscan_hf.evaluation.results import Result
from bioscan_hf.identification.benchmark import ALL, Answers, Settings, Task, score_names, score_speed
from bioscan_hf.identification.benchmark_confidence import score_confidence
from bioscan_hf.identification.benchmark_pictures import accuracy_against_speed, reliability, risk_against_coverage
from bioscan_hf.identification.benchmark_programs import OURS, Program, ask_identifier
from bioscan_hf.identification.benchmark_tables import bars, bars_markdown, speed_markdown, tables

TITLE = "Identification"

BuildLibrary = Callable[[Task, Path], None]
"""Makes the library of a task in a folder."""


def run_identification(
    source: str | Path,
    settings: Settings,
    baselines: Mapping[str, Program],
    *,
    build: BuildLibrary,
    splits: Path | None = None,
    output: Path,
    command: str,
    report: Report,
    say: Say,
) -> list[Result]:
    """Name queries by `bioscan identify` and by baselines, one after the other, and write what came out.

    Args:
        source: Where the specimens are (see `load_anywhere`).
        settings: What is asked.
        baselines: Other programs, see `make_baselines`.
        build: Makes our library, which is not measured.
        splits: Table of splits.
        output: Folder of the report.
        command: The command line.
        report: Told of the progress.
        say: Told what a user should know.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If there are no keys or queries, or data or answers are not what they should be.
        OSError: If something cannot be read or written, or a program fails.
    """
    task = load_task(source, settings, splits=splits, say=say)
    counts = ", ".join(f"{len(rows):,} of {group}" for group, rows in task.groups.items() if group != ALL)
    say(f"{len(task.keys):,} keys; queries: {counts}.")
    steps = len(baselines) + 2
    report("programs", 0, steps)
    with tempfile.TemporaryDirectory(prefix="bioscan-identification-") as name:
        library = Path(name, "library")
        build(task, library)
        programs: dict[str, Program] = {OURS: lambda task: ask_identifier(library, Path(name), task), **baselines}
        data = describe_anywhere(source, splits)
        results: list[Result] = []
        table: pa.Table | None = None
        for done, program in enumerate(programs.values(), 1):
            report("programs", done, steps)
            answers = program(task)
            results += _results(task, answers, data, command)
            table = table if answers.table is None else answers.table
    report("programs", steps, steps)
    assert table is not None
    write_report(
        output,
        title="Identification of specimens by their barcodes",
        text=_text(task, results),
        results=results,
        tables=tables(settings.max_error),
        pictures=[
            Picture(
                "speed.png",
                "Accuracy against queries per second, start-up included and, hollow, without",
                accuracy_against_speed(results, title=f"{TITLE} with {settings.threads} threads"),
            ),
            Picture(
                "reliability.png",
                "How often names are right against how sure they are; points are as large as the share of the names",
                reliability(task, table, title="Are names as sure as is said?"),
            ),
            Picture(
                "risk.png",
                "Error of the surest names against the share of queries that they are, up to ten times what was asked "
                "for; crosses: the safe names",
                risk_against_coverage(results, task, table, title="Error against coverage"),
            ),
        ],
        settings=asdict(settings),
    )
    return results


def load_task(source: str | Path, settings: Settings, *, splits: Path | None, say: Say) -> Task:
    """Load keys, specimens for the calibration, and queries.

    Args:
        source: Where the specimens are (see `load_anywhere`).
        settings: Which splits they are of, and how many queries of each.
        splits: Table of splits.
        say: Told what a user should know.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If there are no keys or queries, or a record is bad.
        OSError: If the Hub does not answer.
    """
    known = load_labelled(source, f"{settings.keys}+{settings.calibration}", splits=splits, seed=settings.seed, say=say)
    asked = load_labelled(
        source,
        f"{settings.queries}+{settings.queries_unseen}",
        splits=splits,
        limit=settings.limit,
        seed=settings.seed,
        # The same splits are drawn again, which has been told.
        say=lambda text: None,
    )
    return Task(known, asked, settings)


def _results(task: Task, answers: Answers, data: tuple[str, str], command: str) -> list[Result]:
    measured = [*score_names(task, answers), *score_speed(task, answers.speed)]
    if answers.table is not None:
        measured += score_confidence(task, answers.table)
    return [
        Result(m.benchmark, m.metric, m.value, m.count, answers.model, answers.revision, *data, m.split, command)
        for m in measured
    ]


def _text(task: Task, results: Sequence[Result]) -> str:
    settings = task.settings
    groups = " and ".join(
        f"{len(rows):,} of {group} ({task.splits[group]})" for group, rows in task.groups.items() if group != ALL
    )
    paragraphs = [
        f"Barcodes are named by a library of {len(task.keys):,} specimens ({settings.keys}), which is made beforehand "
        f"for each program. Queries: {groups}. Probabilities and novelty are learnt from {settings.calibration}.",
        "## Bars",
        bars_markdown(bars(results, max_error=settings.max_error)),
        "## Speed and memory",
        speed_markdown(results),
        f"Each program had {settings.threads} threads, and named all queries of one FASTA file in one run. "
        "`bioscan identify` ran as a process of its own: with start-up is the whole of it (Python, imports, loading "
        "the library); without, from reading the queries to writing the table. Of BLAST and vsearch it is the whole of "
        "`blastn` and `vsearch --usearch_global`; counts of words are compared in the process of the benchmark. Memory "
        "is the peak of the resident set, in 10^6 bytes.",
    ]
    return "\n\n".join(paragraphs)
