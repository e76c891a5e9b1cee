"""`bioscan data verify`: is a release, or what it was converted to, whole and what was published?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from bioscan_hf.data.metadata_checks import Check

COLOURS = {"passed": "green", "failed": "red", "not applicable": "dim"}


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder with the released archives, with what they unpack to, or converted; or one of the files.",
            show_default=False,
        ),
    ],
) -> None:
    """Check a release, or what it was converted to.

    Compares the checksums of archives and images and the counts per split with the published ones, and looks whether
    splits share barcodes, species are in the splits where they belong, and every specimen has its image. Ends with
    exit code 1 if a check failed.

    Example: bioscan data verify bioscan5m
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from bioscan_hf.data.verification import verify as verify_path

    console = Console(highlight=False)
    with reporting(console) as report:
        checks = verify_path(path, report=report)
    show_checks(checks, console)


@contextmanager
def reporting(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show what is reported as one progress bar per task."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks = {}

        def report(task: str, done: int, total: int | None) -> None:
            if task not in tasks:
                tasks[task] = progress.add_task(task, total=None)
            progress.update(tasks[task], completed=done, total=total)

        yield report


def show_checks(checks: Sequence[Check], console: Console) -> None:
    """Show the checks as a table.

    Raises:
        ValueError: If one of them failed.
    """
    table = Table("check", "outcome", "found")
    for check in checks:
        table.add_row(check.name, f"[{COLOURS[check.outcome]}]{check.outcome}[/]", check.detail)
    console.print(table)
    if failed := [check.name for check in checks if check.passed is False]:
        raise ValueError(f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}.")
