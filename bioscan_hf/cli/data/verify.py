"""`bioscan data verify`: is a release, or what it was converted to, whole and what was published?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bioscan_hf.cli.screen import Json, Screen, bars

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
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Check a release, or what it was converted to.

    Compares the checksums of archives and images and the counts per split with the published ones, and looks whether
    splits share barcodes, species are in the splits where they belong, and every specimen has its image. Ends with
    exit code 1 if a check failed.

    Examples:
        bioscan data verify bioscan5m
        bioscan data verify bioscan5m-parquet --json
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from bioscan_hf.data.verification import verify as verify_path

    screen = Screen.open(as_json)
    with reporting(screen.words) as report:
        checks = verify_path(path, report=report)
    screen.document([{"check": check.name, "outcome": check.outcome, "found": check.detail} for check in checks])
    show_checks(checks, screen.answers)


@contextmanager
def reporting(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show what is reported as one progress bar per task."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True), TimeElapsedColumn())
    with bars(console, *columns, TimeRemainingColumn()) as progress:
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
        table.add_row(check.name, Text(check.outcome, COLOURS[check.outcome]), check.detail)
    console.print(table)
    if failed := [check.name for check in checks if check.passed is False]:
        raise ValueError(f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}.")
