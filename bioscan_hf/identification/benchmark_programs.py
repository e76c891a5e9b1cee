"""The benchmark of identification: how each program is asked."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset

from bioscan_hf.data.features import RANKS, bioscan_features
from bioscan_hf.evaluation.baselines import blast, vsearch
from bioscan_hf.evaluation.baselines.aligner import Search
from bioscan_hf.evaluation.baselines.programs import run_measured
from bioscan_hf.evaluation.benchmarks.specimens import rows_of
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.neighbours import nearest
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.identification.benchmark import Answers, Speed, Task, names_of
from bioscan_hf.identification.library import Library

OURS = "bioscan identify"
"""Name of our row."""
BASELINES = ("blast", "vsearch", "kmer:4")
BLAST, VSEARCH = "BLAST", "vsearch"
"""How the names of these programs begin."""

Program = Callable[[Task], Answers]
"""Names the queries of a task."""

# Each library that computes has a variable of its own.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def make_baselines(specs: Sequence[str]) -> dict[str, Program]:
    """Find the baselines of some names.

    Args:
        specs: `blast`, `blast:blastn` (its other task), `vsearch`, or `kmer:K`, each once.

    Returns:
        The baselines by name.

    Raises:
        ValueError: If a name is not known, or K is out of range.
        OSError: If a program is not installed.
    """
    return {spec: _make_baseline(spec) for spec in dict.fromkeys(specs)}


def _make_baseline(spec: str) -> Program:
    if spec == "blast":
        return partial(_ask_aligner, f"{BLAST} {blast.version()}", blast.measured_search)
    if spec == "blast:blastn":
        search = partial(blast.measured_search, task="blastn")
        return partial(_ask_aligner, f"{BLAST} {blast.version()}, task blastn", search)
    if spec == "vsearch":
        return partial(_ask_aligner, f"{VSEARCH} {vsearch.version()}", vsearch.measured_search)
    if counts := re.fullmatch(r"kmer:(\d+)", spec):
        return partial(_ask_counts, KmerCounts(int(counts[1])))
    raise ValueError(
        f"There is no baseline {spec!r}; choose among blast, blast:blastn, vsearch, and kmer:K for counts of words of "
        "K letters, or none."
    )


def _ask_aligner(model: str, search: Callable[..., Search], task: Task) -> Answers:
    keys, queries = (specimens["dna_barcode"][:] for specimens in (task.keys, task.queries))
    found = search(keys, queries, threads=task.settings.threads)
    usage = found.usage
    # These start in no time, so all of it is the work.
    speed = Speed(usage.seconds, usage.seconds, usage.cpu_seconds, usage.peak_bytes)
    return Answers(model, task.named_as(found.hits), speed)


def _ask_counts(encoder: KmerCounts, task: Task) -> Answers:
    keys = unit_length(encoder.embed(task.keys))
    queries = task.queries["dna_barcode"][:]
    before = torch.get_num_threads()
    torch.set_num_threads(task.settings.threads)
    try:
        start = time.perf_counter()
        found, _ = nearest(keys, unit_length(encoder.encode(queries)))
        seconds = time.perf_counter() - start
    finally:
        torch.set_num_threads(before)
    return Answers(f"{encoder.name}, 1-NN", task.named_as(found), Speed(seconds))


def build_library(task: Task, folder: Path) -> None:
    """Make the library of a task, and save it.

    Args:
        task: Its keys, and its specimens for the calibration; without such, a part of the keys serves for it.
        folder: Where it is saved.

    Raises:
        ValueError: If no library can be made of the keys.
        OSError: If it cannot be written.
    """
    held_out = task.known.select(rows_of(task.known, task.settings.calibration))
    calibration = with_schema(held_out) if len(held_out) else None
    Library.build(with_schema(task.keys), calibration=calibration).save(folder)


def with_schema(specimens: Dataset) -> Dataset:
    """Specimens with all columns of the schema, null where they have none."""
    features = bioscan_features(image=False)
    table = specimens.with_format("arrow")[:]
    columns = [
        table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)
        for name, kind in zip(features, features.arrow_schema.types, strict=True)
    ]
    return Dataset(pa.table(columns, schema=features.arrow_schema))


def ask_identifier(library: Path, folder: Path, task: Task) -> Answers:
    """Name the queries by `bioscan identify`, in a process of its own.

    Args:
        library: Folder of the library.
        folder: Where queries and answers are written.
        task: The queries.

    Raises:
        OSError: If the command fails.
        ValueError: If the answers are not those of the queries.
    """
    names = [f"query{number}" for number in range(len(task.queries))]
    records = zip(names, task.queries["dna_barcode"][:], strict=True)
    queries, output = folder / "queries.fasta", folder / "answers.parquet"
    queries.write_text("".join(f">{name}\n{barcode}\n" for name, barcode in records), encoding="ascii")
    settings = task.settings
    # As the installed program starts, which `python -m` does not.
    words = [sys.executable, "-c", "import bioscan_launcher; bioscan_launcher.main()"]
    words += ["identify", str(queries.absolute())]
    words += ["--library", str(library.absolute()), "--output", str(output.absolute())]
    words += ["--max-error", str(settings.max_error), "--threads", str(settings.threads), "--json"]
    printed, usage = run_measured(words, environment=dict.fromkeys(_THREADS, str(settings.threads)))
    table = pq.read_table(output)
    if table["processid"].to_pylist() != names:
        raise ValueError(
            f"Expected answers to the {len(names):,} queries in their order from `bioscan identify`; got "
            f"{table.num_rows:,} rows of other process ids or another order."
        )
    speed = Speed(_seconds(printed), usage.seconds, usage.cpu_seconds, usage.peak_bytes)
    found = {rank: names_of(table[rank].to_pylist()) for rank in RANKS}
    return Answers(OURS, found, speed, table)


def _seconds(printed: str) -> float:
    """Seconds of the work, from the line of JSON among what `bioscan identify --json` prints."""
    for line in reversed(printed.splitlines()):
        if line.startswith("{"):
            return float(json.loads(line)["seconds"])
    raise ValueError(f"Expected a line of JSON from `bioscan identify --json`; got {printed.strip()[-200:]!r}.")
