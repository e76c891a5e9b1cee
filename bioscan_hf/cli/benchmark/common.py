"""What the benchmarks' commands share: options, progress, the table, and the push."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as ScreenTable

from bioscan_hf.cli import completion
from bioscan_hf.cli.screen import Screen, bars
from bioscan_hf.models.pretrained import DEFAULT_ENCODER

if TYPE_CHECKING:
    from bioscan_hf.evaluation.benchmarks.pages import Table
    from bioscan_hf.evaluation.encoders.base import Encoder
    from bioscan_hf.evaluation.results import Result

DEFAULT_DNA = (DEFAULT_ENCODER, "kmer:4")
"""Encoders that are asked if there is no other model."""

Data = Annotated[
    str,
    typer.Option(
        help="`sample` for the embedded simulated specimens; CSV, TSV or Parquet file, or folder of images, with "
        "labels; folder with the released archives, unpacked or converted; or repository on the Hub.",
        autocompletion=completion.sources,
    ),
]
Dna = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder or repository of a BarcodeBERT, a CLIBD or another DNA model, a file of embeddings, kmer:6 …; may "
        "be repeated.",
        autocompletion=completion.models,
        show_default=f"{', '.join(DEFAULT_DNA)}, if there is no other model",
    ),
]
Image = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder or repository of a vision model, such as facebook/dino-vitb16, a file of embeddings, or "
        "pixels:16; may be repeated.",
        show_default=False,
    ),
]
Pooling = Annotated[
    Literal["auto", "cls", "mean"],
    typer.Option(help="What is the embedding of an image by an --image; auto goes by the model."),
]
Splits = Annotated[
    Path | None, typer.Option(help="Table of processid and split that replaces the column `split`.", show_default=False)
]
Keys = Annotated[
    str, typer.Option(help="Split of the known specimens, or sum as train+val.", autocompletion=completion.splits)
]
Queries = Annotated[str, typer.Option(help="Split of the queries of seen species.", autocompletion=completion.splits)]
QueriesUnseen = Annotated[
    str, typer.Option(help="Split of the queries of unseen species.", autocompletion=completion.splits)
]
Limit = Annotated[
    int | None, typer.Option(help="Use so many specimens of each split, drawn at random.", min=1, show_default="all")
]
CacheDir = Annotated[
    Path | None, typer.Option(help="Folder in which embeddings are kept.", show_default="in the cache of Hugging Face")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="GPU if there is one")]
BatchSize = Annotated[int | None, typer.Option(help="Specimens in a forward pass.", min=1, show_default="by device")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code in the repositories of the models.")
]
PushToHub = Annotated[
    str | None,
    typer.Option(metavar="REPO", help="Add the results of the first model to its repository.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results.json and nothing else; progress goes to stderr.")]
PullRequest = Annotated[bool, typer.Option("--pull-request", help="Propose them by a pull request.")]

Report = Callable[[str, int, int], None]

# Longer names of models are wrapped.
_NAME_WIDTH = 22


def load_encoders(
    dna: Sequence[str],
    image: Sequence[str],
    *,
    pooling: Literal["auto", "cls", "mean"],
    batch_size: int | None,
    device: str | None,
    trust_remote_code: bool,
) -> tuple[list[Encoder], list[Encoder]]:
    """Load what `--dna` and `--image` name, with these options."""
    from bioscan_hf.evaluation.encoders.image_loading import load_image_encoder
    from bioscan_hf.evaluation.encoders.loading import load_encoder

    of_dna = [
        load_encoder(spec, batch_size=batch_size, device=device, trust_remote_code=trust_remote_code) for spec in dna
    ]
    of_images = [
        load_image_encoder(
            spec, pooling=pooling, batch_size=batch_size, device=device, trust_remote_code=trust_remote_code
        )
        for spec in image
    ]
    return of_dna, of_images


def this_command() -> str:
    """The command line, for results and pages."""
    return shlex.join(["bioscan", *sys.argv[1:]])


def check_push(repo_id: str | None, pull_request: bool) -> None:
    """Find out before the work whether results can be pushed.

    Raises:
        BadParameter: If `--pull-request` is given alone.
        OSError: If there is no such repository, or no token.
    """
    if repo_id is None:
        if pull_request:
            raise typer.BadParameter("--pull-request is for --push-to-hub REPO, which was not given.")
        return
    from bioscan_hf.hub.results_push import check_can_push_results

    check_can_push_results(repo_id)


@contextmanager
def reporting(console: Console) -> Iterator[Report]:
    """Show a bar for each task."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = {}
    with bars(console, *columns, TimeRemainingColumn()) as progress:

        def report(task: str, done: int, total: int) -> None:
            if task not in shown:
                shown[task] = progress.add_task(task)
            progress.update(shown[task], completed=done, total=total)

        yield report


def show(results: Sequence[Result], tables: Sequence[Table], output: Path, screen: Screen) -> None:
    """Print tables, or the results as JSON, and say where all of it is."""
    from bioscan_hf.evaluation.benchmarks.pages import PUBLISHED_MARK, table_rows

    screen.document([asdict(result) for result in results])
    for table in tables:
        header, rows = table_rows(results, table)
        # As narrow as can be: a word of a title below the other.
        shown = ScreenTable(title=table.heading, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
        widest = max((len(row[0].removesuffix(PUBLISHED_MARK)) for row in rows), default=0)
        shown.add_column(min_width=min(widest, _NAME_WIDTH))
        for name in header[1:]:
            shown.add_column(name.replace(" ", "\n"), justify="right")
        for name, *cells in rows:
            is_published = name.endswith(PUBLISHED_MARK)
            if is_published and not any(row.end_section for row in shown.rows):
                shown.add_section()
            shown.add_row(name.removesuffix(PUBLISHED_MARK), *cells, style="dim" if is_published else None)
        if rows:
            screen.answers.print(shown)
    if any(table.published for table in tables):
        screen.answers.print("The last rows are published numbers, for BIOSCAN-5M's own splits.")
    screen.words.print(f"Written to {output}/: README.md with all tables and pictures, results.json")


def push(
    results: Sequence[Result],
    tables: Sequence[Table],
    encoder: Encoder,
    repo_id: str,
    *,
    by_protocol: bool,
    pull_request: bool,
    console: Console,
) -> None:
    """Push those results of an encoder that stand in tables, or belong to a task of the dataset's `eval.yaml`.

    Args:
        results: All that was measured.
        tables: The tables.
        encoder: The encoder.
        repo_id: The repository.
        by_protocol: Whether the settings are the paper's: only then are results those of its tasks.
        pull_request: Whether to open a pull request.
        console: Is told where the results are.
    """
    from bioscan_hf.evaluation.benchmarks.paper import TASK_RESULTS
    from bioscan_hf.hub.results_push import push_results

    wanted = {column[1:] for table in tables for column in table.columns}
    wanted |= TASK_RESULTS
    own = [r for r in results if r.model == encoder.name and (r.benchmark, r.metric) in wanted]
    console.print(f"Pushed: {push_results(own, repo_id, tasks=by_protocol, pull_request=pull_request)}")
