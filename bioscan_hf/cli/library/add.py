"""`bioscan library add`: further specimens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bioscan_hf.cli import completion
from bioscan_hf.cli.library.common import Source, Splits, load, reporting, show
from bioscan_hf.cli.screen import Screen


def add(
    library: Annotated[Path, typer.Argument(help="Folder of the library.", show_default=False)],
    source: Source,
    split: Annotated[
        str | None,
        typer.Option(help="Splits of the specimens to add.", autocompletion=completion.splits, show_default="all"),
    ] = None,
    splits: Splits = None,
    on_error: Annotated[
        Literal["raise", "skip"], typer.Option(help="Stop at a bad record, or leave it out with a warning.")
    ] = "raise",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="GPU if there is one")] = None,
) -> None:
    """Add specimens to a library.

    They are compared as the others are, and probabilities stay as they were fitted: build the library again when it has
    grown much.

    Examples:
        bioscan library add my-library new_specimens.csv
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.identification.library import Library
    from bioscan_hf.identification.library_files import read_manifest, writing

    disable_progress_bar()
    words = Screen.open().words
    read_manifest(library)  # an error now, rather than after the work
    # From before it is read: what another process adds meanwhile would be lost.
    with writing(library) as save, reporting(words) as report:
        old = Library.load(library, device=device)
        specimens = load(source, split=split, splits=splits, image=old.images is not None, on_error=on_error)
        new = old.add(specimens, report=report)
        report("writing", 0, 1)
        save(new, None)
    show(library, read_manifest(library), words)
