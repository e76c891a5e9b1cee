"""`bioscan identify` beside BLAST, vsearch and counts of words: names for barcodes whose species are known."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from comparison import Bar, Comparison, Options, Row
from peer import versions

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.baselines import blast, vsearch
from bioscan_hf.identification.benchmark import Answers, Settings, Speed, Task, names_of, score_names, score_speed
from bioscan_hf.identification.benchmark_programs import OURS, ask_identifier, build_library, make_baselines
from bioscan_hf.identification.benchmark_run import load_task
from bioscan_hf.identification.benchmark_tables import TIMES_BLAST, TIMES_VSEARCH
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library_loading import load_library

Key = tuple[str, str]
"""Question and metric of the benchmark."""
SAMPLE = "sample"
QUICK_QUERIES = 5
"""Of each split."""
PROGRAMS = {"BLAST": ("blast", blast.is_installed), "vsearch": ("vsearch", vsearch.is_installed)}
COUNTS = "kmer:4"
TIMES = {"BLAST": TIMES_BLAST, "vsearch": TIMES_VSEARCH}
FASTER = "queries per s"
MEASURED = {
    ("species, seen species", "accuracy"): ("species of seen species", "% named rightly"),
    ("genus, unseen species", "accuracy"): ("genus of unseen species", "% named rightly"),
    ("speed", "queries_per_second"): ("names, without start-up", FASTER),
    ("speed", "queries_per_second_with_start"): ("names, start-up included", FASTER),
    ("speed", "cpu_seconds"): ("names, start-up included", "CPU s"),
    ("speed", "peak_megabytes"): ("names, start-up included", "MB at the most"),
}
"""What is shown of what the benchmark of identification measures, and its unit."""


def compare(options: Options) -> Comparison:
    """Names for barcodes by a library of known ones."""
    source = str(options.data or SAMPLE)
    settings = Settings(limit=QUICK_QUERIES if options.quick else None, threads=1 if options.quick else 2)
    task = load_task(source, settings, splits=options.splits, say=lambda text: None)
    with tempfile.TemporaryDirectory() as name:
        build_library(task, Path(name, "library"))
        ask = _ask_here if options.quick else ask_identifier
        ours = _scores(task, ask(Path(name, "library"), Path(name), task))
    peers: dict[str, dict[Key, float]] = {}
    absent: dict[str, str] = {}
    for title, (spec, is_installed) in PROGRAMS.items():
        if is_installed():
            answers = make_baselines([spec])[spec](task)
            peers[answers.model] = _scores(task, answers)
        else:
            absent[title] = f"absent: {title} is not on the PATH"
    answers = make_baselines([COUNTS])[COUNTS](task)
    peers[answers.model] = _scores(task, answers)
    size = f"{len(task.queries):,} queries, {len(task.keys):,} keys"
    rows = []
    for key, value in ours.items():
        what, unit = MEASURED[key]
        for peer in (*peers, *absent):
            found = peers.get(peer, {}).get(key)
            if found is not None or peer in absent:
                rows.append(
                    Row(
                        what,
                        size,
                        unit,
                        f"**`{OURS}`**",
                        value,
                        peer,
                        found,
                        absent=absent.get(peer),
                        higher=unit not in ("CPU s", "MB at the most"),
                        bar=_bar(unit, peer),
                    )
                )
    return Comparison(
        "names for barcodes",
        rows,
        versions("torch", "numpy", "bioscan-hf"),
        notes=[
            f"Specimens: {'the embedded sample, simulated' if source == SAMPLE else Path(source).name}; a library "
            f"of {settings.keys}, made beforehand for each program, and queries of {settings.queries} and "
            f"{settings.queries_unseen}. {settings.threads} threads each; one run, as `bioscan benchmark "
            "identification` does it, which also says how sure the names are.",
            "Start-up is that of Python and its libraries; BLAST and vsearch have none. Counts of words are compared "
            "in the process of the benchmark.",
        ],
    )


def _scores(task: Task, answers: Answers) -> dict[Key, float]:
    measured = [*score_names(task, answers), *score_speed(task, answers.speed)]
    values = {(own.benchmark, own.metric): own.value * (100 if own.metric == "accuracy" else 1) for own in measured}
    return {key: values[key] for key in MEASURED if key in values}


def _bar(unit: str, peer: str) -> Bar | None:
    """Names as right as those of the other programs, and so many times as many of them in a second."""
    program = peer.split()[0]
    if program not in TIMES:
        return None
    if unit == FASTER:
        return Bar(TIMES[program])
    return Bar(1) if unit == "% named rightly" else None


def _ask_here(library: Path, folder: Path, task: Task) -> Answers:
    """As `bioscan identify`, in this process."""
    del folder
    identifier = Identifier(load_library(library))
    start = time.perf_counter()
    table = identifier(task.queries["dna_barcode"][:], [f"query{number}" for number in range(len(task.queries))])
    speed = Speed(time.perf_counter() - start)
    return Answers(OURS, {rank: names_of(table[rank].to_pylist()) for rank in RANKS}, speed, table)
