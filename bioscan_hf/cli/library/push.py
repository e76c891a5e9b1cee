"""`bioscan library push`: a library to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bioscan_hf.cli.screen import Screen


def push(
    library: Annotated[Path, typer.Argument(help="Folder of the library.", show_default=False)],
    repo: Annotated[str, typer.Argument(help="Repository, made if need be.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Publish a library with a card, so that `bioscan identify --library REPO` finds it. Needs `hf auth login`.

    Examples:
        bioscan library push my-library me/my-library
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from huggingface_hub.utils import disable_progress_bars

    from bioscan_hf.hub.library_push import push_library

    disable_progress_bars()
    screen = Screen.open()
    screen.words.print("Pushing")
    address = push_library(library, repo, private=private)
    screen.answers.print(f"Pushed: {address}")
