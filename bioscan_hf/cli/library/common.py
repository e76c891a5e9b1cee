"""What the commands of libraries share: loading specimens, progress, and what a library is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from bioscan_hf.cli import completion
from bioscan_hf.cli.screen import bars

if TYPE_CHECKING:
    from collections.abc import Callable

    from datasets import Dataset

Source = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="`sample` for the embedded simulated specimens; FASTA, CSV, TSV or Parquet file; folder of images with a "
        "table; folder with the released archives, unpacked or converted; or repository on the Hub.",
        autocompletion=completion.sources,
        show_default=False,
    ),
]
Splits = Annotated[
    Path | None, typer.Option(help="Table of processid and split that replaces the column `split`.", show_default=False)
]


def load(source: str, *, split: str | None, splits: Path | None, image: bool, on_error: Any = "raise") -> Dataset:
    """Load specimens with the columns of the schema, and images if they are asked for and there are some."""
    from bioscan_hf.data.anywhere import load_anywhere
    from bioscan_hf.data.features import COLUMN_NAMES
    from bioscan_hf.evaluation.benchmarks.retrieval_specimens import is_table_without_images

    columns = [*COLUMN_NAMES, *(["image"] if image and not is_table_without_images(source) else [])]
    specimens: Dataset = load_anywhere(source, columns, split=split, splits=splits, on_error=on_error)
    return specimens


@contextmanager
def reporting(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar: what is done at the moment, and how much of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with bars(console, *columns) as progress:
        task = progress.add_task("Reading specimens", total=None)

        def report(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total if done else None)

        yield report


def show(folder: Path, manifest: dict[str, Any], console: Console) -> None:
    """Print what a library is."""
    from bioscan_hf.identification.description import describe_library

    pairs = describe_library(folder, manifest)
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        console.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", text))
