"""`bioscan data push`: a converted dataset to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bioscan_hf.cli.screen import Screen, bars


def push(
    folder: Annotated[Path, typer.Argument(help="What `bioscan data convert` wrote.", show_default=False)],
    repo: Annotated[str, typer.Argument(help="Dataset repository, made if need be.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Publish a converted dataset, so that plain `datasets` loads it with every modality.

    The card (README.md) and eval.yaml are written for the repository. Interrupted, the same command goes on where it
    was: only files that the repository does not have are sent. It uses the token of `hf auth login`.

    Examples:
        bioscan data push bioscan5m-parquet me/BIOSCAN-5M
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from huggingface_hub.utils import disable_progress_bars

    from bioscan_hf.hub.dataset_push import push_dataset

    screen = Screen.open()
    disable_progress_bars()
    screen.words.print(f"Uploading to {repo}: what it does not have.")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with bars(screen.words, *columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("Comparing")

        def report(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        address = push_dataset(folder, repo, private=private, report=report)
    screen.answers.print(f"Pushed: {address}")
