"""`bioscan benchmark identification`: our names against those of BLAST and vsearch, how fast, and how sure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioscan_hf.cli.benchmark.common import (
    AsJson,
    Data,
    Keys,
    Queries,
    QueriesUnseen,
    Splits,
    reporting,
    show,
    this_command,
)
from bioscan_hf.cli.screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

    from bioscan_hf.identification.benchmark_tables import Bar


def identification(
    data: Data = "sample",
    splits: Splits = None,
    output: Annotated[Path, typer.Option(help="Folder for results, page and pictures.")] = Path(
        "bioscan-benchmark-identification"
    ),
    baselines: Annotated[
        str,
        typer.Option(
            help="With commas between: `blast` and `vsearch`, if they are installed, `blast:blastn` (slower, and finds "
            "more), `kmer:K`. `none` for none."
        ),
    ] = "blast,vsearch,kmer:4",
    threads: Annotated[int, typer.Option(help="Threads of each program.", min=1)] = 2,
    max_error: Annotated[float, typer.Option(help="Error that safe names may have.", min=0, max=1)] = 0.01,
    keys: Keys = "train",
    queries: Queries = "test",
    queries_unseen: QueriesUnseen = "test_unseen",
    calibration: Annotated[
        str, typer.Option(help="Splits that confidence and novelty are learnt from.")
    ] = "val+val_unseen+other_heldout",
    limit: Annotated[
        int | None,
        typer.Option(help="Ask so many queries of each split, drawn at random.", min=1, show_default="all"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of --limit.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Identify barcodes by `bioscan identify`, BLAST, vsearch and k-mer counts, all in one run.

    Accuracy at species, and at genus and family of unseen species; queries per second with the same threads, and peak
    memory; calibration, safe names and novelty. BLAST takes most of the time: ten minutes for 6,000 queries and 11,000
    keys on two cores.

    Examples:
        bioscan benchmark identification --data my_table.csv --limit 500
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from datasets import disable_progress_bars

    from bioscan_hf.identification.benchmark import Settings
    from bioscan_hf.identification.benchmark_programs import build_library, make_baselines
    from bioscan_hf.identification.benchmark_run import run_identification
    from bioscan_hf.identification.benchmark_tables import bars, tables

    disable_progress_bars()
    screen = Screen.open(as_json)
    wanted = [name for word in baselines.split(",") if (name := word.strip()) not in ("", "none")]
    settings = Settings(keys, queries, queries_unseen, calibration, threads, max_error, limit, seed)
    programs = make_baselines(wanted)
    with reporting(screen.words) as report:
        results = run_identification(
            data,
            settings,
            programs,
            build=build_library,
            splits=splits,
            output=output,
            command=this_command(),
            report=report,
            say=screen.words.print,
        )
    _show_bars(bars(results, max_error=max_error), screen.answers)
    show(results, tables(max_error), output, screen)


def _show_bars(found: list[Bar], console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bioscan_hf.identification.benchmark_tables import BARS_HEADER

    table = Table(title="Bars", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for name in BARS_HEADER:
        table.add_column(name)
    for bar in found:
        table.add_row(*bar[:4], bar.verdict)
    console.print(table)
