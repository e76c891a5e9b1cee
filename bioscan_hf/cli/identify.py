"""`bioscan identify`: names for barcodes and images."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bioscan_hf.cli import completion
from bioscan_hf.cli.benchmark.common import this_command
from bioscan_hf.cli.help import Command
from bioscan_hf.cli.screen import Screen, bars

if TYPE_CHECKING:
    import pyarrow as pa

    from bioscan_hf.identification.result_counts import ResultCounts

# Rows of the table on the screen.
_SHOWN = 50


class IdentifyCommand(Command):
    """The command, which needs no models where a library compares letters: transformers takes seconds to import."""

    def register(self, ctx: Any) -> None:
        """Register our models, unless the library is a folder without a model."""
        if _compares_letters(ctx.params["library"]):
            return
        from transformers.utils.logging import disable_progress_bar

        super().register(ctx)
        disable_progress_bar()


def _compares_letters(library: str) -> bool:
    from bioscan_hf.identification.library_files import MANIFEST
    from bioscan_hf.identification.models import ALIGNED

    try:
        manifest = json.loads((Path(library).expanduser() / MANIFEST).read_text(encoding="utf-8"))
        return manifest["model"] == ALIGNED and "image_model" not in manifest
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False  # on the Hub, or wrong, which is told when it is loaded


def identify(
    queries: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERIES",
            help="FASTA, CSV, TSV or Parquet file; folder of images, with or without a table; folder of a release; or "
            "repository on the Hub. There may be several.",
            autocompletion=completion.sources,
            show_default=False,
        ),
    ],
    library: Annotated[
        str, typer.Option(help="Folder of a library, or its repository on the Hub.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="File *.csv, *.tsv, *.jsonl (each also .gz) or *.parquet.", show_default="a table on the screen"
        ),
    ] = None,
    max_error: Annotated[
        float, typer.Option(help="Share of the names at the safe rank that may be wrong; between 0 and 1.")
    ] = 0.01,
    nearest: Annotated[int, typer.Option(help="Specimens of the library to tell with each query.", min=1, max=20)] = 1,
    summary: Annotated[
        Path | None, typer.Option(help="File *.html for a page with what was found.", show_default=False)
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of the queries, or sum as val+test.", autocompletion=completion.splits, show_default="all"
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(help="Table of processid and split that replaces the column `split`.", show_default=False),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the library on the Hub.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that compute.", min=1, show_default="all cores")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1 … for a library with a model.", show_default="GPU if there is one"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON about the run, and nothing else.")
    ] = False,
) -> None:
    r"""Name specimens by their barcodes, or by their images: at each rank, how sure, whether new, and nearest to which.

    A bad record gets a row with a note and never stops the others. Barcodes may be in upper or lower case, with gaps,
    and on either strand. Any number of queries is read and written in constant memory.

    Examples:
        # a table on the screen
        bioscan identify my_barcodes.fasta --library my-library
        # all of it in a file, and a page with what was found
        bioscan identify my_barcodes.fasta --library my-library \
            --output names.csv --summary names.html
        # photographs, by a library that was built with --image-model
        bioscan identify photos --library my-library
    """
    # Imported here, so that help and wrong usage need not wait for them.
    import psutil

    from bioscan_hf.data.anywhere import is_own
    from bioscan_hf.identification.identify import Identifier
    from bioscan_hf.identification.queries import read_queries
    from bioscan_hf.identification.result_counts import ResultCounts
    from bioscan_hf.identification.results import results_schema
    from bioscan_hf.identification.streaming import identify_all
    from bioscan_hf.identification.writers import result_ending, result_writer

    if output is not None:
        result_ending(output)
    if summary is not None and summary.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"--summary must be a file *.html; got '{summary}'.")
    identifier = Identifier.from_pretrained(
        library, revision=revision, max_error=max_error, nearest=nearest, device=device
    )
    screen = Screen.open(as_json)
    start_seconds = time.time() - psutil.Process().create_time()
    start = time.perf_counter()
    images = identifier.library.images is not None
    # Of a folder of images only paths are read, so that each gets a note if the library cannot compare them.
    # All are opened at once: what is wrong with the last is told before the first is named.
    opened = [
        read_queries(source, split=split, splits=splits, image=images or (is_own(source) and Path(source).is_dir()))
        for source in queries
    ]
    batches = itertools.chain.from_iterable(opened)
    counts = ResultCounts()
    shown: list[pa.Table] = []
    writer = nullcontext(shown.append) if output is None else result_writer(output, results_schema(nearest))
    columns = (TextColumn("{task.description}"), BarColumn(), _Speed(), TimeElapsedColumn())
    with bars(screen.words, *columns) as progress, writer as write:
        task = progress.add_task("queries", total=None)
        for table in identify_all(identifier, batches, threads=threads):
            counts.add(table)
            if output is not None or counts.queries - len(table) < _SHOWN:
                write(table)
            progress.advance(task, len(table))
    seconds = time.perf_counter() - start
    if summary is not None:
        # Imported here: the pictures' library takes a second.
        from bioscan_hf.identification.summary import Origin, Summary

        reference = identifier.library
        model = " and ".join(reference.info[name] for name in ("model", "image_model") if name in reference.info)
        specimens = len(reference.keys.of_specimen)
        Summary(counts).write(summary, Origin(", ".join(queries), library, specimens, model, max_error, this_command()))
    if as_json:
        told = {"queries": counts.queries, "seconds": round(seconds, 4)}
        screen.document({**told, "start_seconds": round(start_seconds, 4)})
        return
    if output is None:
        screen.answers.print(_table(shown))
        if counts.queries > _SHOWN:
            screen.words.print(f"... and {counts.queries - _SHOWN:,} more; --output FILE writes all.")
    rated = any(any(models.ranks) for models in identifier.library.calibration.values())
    _say(counts, seconds, max_error, (output, summary), screen.words, rated=rated)


class _Speed(ProgressColumn):
    """Queries, and queries per second."""

    def render(self, task: Task) -> Text:
        speed = f", {task.speed:,.0f}/s" if task.speed else ""
        return Text(f"{task.completed:,.0f}{speed}", style="progress.data.speed")


def _table(tables: list[pa.Table]) -> Table:
    """The first rows: the name at the safe rank, how sure it is, and what speaks for a new species."""
    rows = [row for table in tables for row in table.to_pylist()][:_SHOWN]
    screen = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    screen.add_column("query", no_wrap=True, max_width=16)
    screen.add_column("safe name", min_width=12)
    screen.add_column("rank", min_width=len("subfamily"))
    for title in ("sure", "novelty", "identity"):
        screen.add_column(title, justify="right", no_wrap=True)
    with_notes = any(row["notes"] for row in rows)
    if with_notes:
        screen.add_column("notes", min_width=14)
    for row in rows:
        rank = row["safe_rank"]
        novelty = "-" if row["novelty"] is None else f"{'new ' if row['novel'] else ''}{row['novelty']:.2f}"
        sure = _percent(row[f"{rank}_probability"] if rank else None)
        cells = [row["processid"], row["safe_taxon"] or "-", rank or "-", sure, novelty]
        screen.add_row(*cells, _percent(row["nearest_identity"]), *([row["notes"] or ""] if with_notes else []))
    return screen


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _say(
    counts: ResultCounts,
    seconds: float,
    max_error: float,
    written: Sequence[Path | None],
    words: Console,
    *,
    rated: bool,
) -> None:
    """Print what was found, in a line, whether the library tells how sure it is, and where it is written."""
    told = counts.queries - counts.safe_ranks[None]
    rate = f"{counts.queries / seconds:,.0f}/s" if seconds else ""
    words.print(
        f"{counts.queries:,} queries in {seconds:.1f} s ({rate}): {told:,} with a safe name (at most "
        f"{100 * max_error:g} % wrong), {counts.safe_ranks['species']:,} of them to species; {counts.novel:,} of a "
        f"species that is probably new; {counts.noted:,} with notes."
    )
    if not rated:
        words.print(
            "The library is not calibrated, so that no name is called safe; it had too few specimens to hold out."
        )
    for path in filter(None, written):
        words.print(f"Written: {path}")
