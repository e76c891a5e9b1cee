"""`bioscan data stats`: what a dataset holds, as JSON, pictures and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bioscan_hf.cli.screen import Screen, bars

if TYPE_CHECKING:
    from datasets import Dataset

    from bioscan_hf.data.release import Published
    from bioscan_hf.data.statistics import Statistics


def stats(
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the released archives, with what they unpack to, or converted.", show_default=False
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="FASTA, CSV, TSV or Parquet file of specimens.", show_default="embedded simulated sample"),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the page, the pictures and the figures.")] = Path(
        "bioscan-statistics"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print statistics.json and nothing else.")] = False,
) -> None:
    """Count what a dataset holds and show it as a page with pictures.

    Writes index.html, which needs no other file, statistics.json with all figures, and the pictures as PNG: the
    taxonomy, the collection sites, the lengths of the barcodes, the sizes of the categories.

    Examples:
        # the embedded sample
        bioscan data stats
        bioscan data stats --root bioscan5m --output statistics
    """
    if root is not None and data is not None:
        raise typer.BadParameter("--root and --data are two sources; give one of them.")
    # Imported here, so that help and wrong usage need not wait for them.
    from bioscan_hf.data.files import staged
    from bioscan_hf.data.release import PUBLISHED
    from bioscan_hf.data.report import write_report
    from bioscan_hf.data.specimens import describe_source, load_specimens

    screen = Screen.open(as_json)
    with staged(output) as stage:
        if root is not None:
            specimens, source = load_root(root)
            statistics, title = count(specimens, screen.words, published=PUBLISHED), "BIOSCAN-5M"
        else:
            statistics = count(load_specimens(data), screen.words)
            name, revision = describe_source(data)
            source, title = f"{name}, revision {revision}", "Embedded sample" if data is None else name
        names = write_report(statistics, stage, title=title, source=source)
    if as_json:
        screen.document(json.loads((output / "statistics.json").read_text(encoding="utf-8")))
    screen.words.print(f"{statistics.specimens:,} specimens: {source}")
    screen.words.print(f"Written to {output}/: {', '.join(names)}")


def load_root(root: Path) -> tuple[Dataset, str]:
    """Load the metadata of a dataset on the disk, all splits as one table, and say where they were found.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If a record is bad.
    """
    import datasets

    from bioscan_hf.data.loading import load_dataset
    from bioscan_hf.data.metadata import find_metadata

    converted = root.is_dir() and any(root.glob("metadata/*.parquet"))
    source = f"'{root}' (converted)" if converted else str(find_metadata(root))
    splits = load_dataset(root=root, name="metadata", max_nucleotides=None)
    return datasets.concatenate_datasets(list(splits.values())), source


def count(specimens: Dataset, console: Console, *, published: Mapping[str, Published] | None = None) -> Statistics:
    """Compute the statistics behind a progress bar."""
    from bioscan_hf.data.statistics import compute_statistics

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with bars(console, *columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("Counting", total=len(specimens))
        return compute_statistics(specimens, published=published, report=lambda rows: progress.advance(task, rows))
