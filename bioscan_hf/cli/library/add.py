"""`bioscan library add`: further specimens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from bioscan_hf.cli.library.common import Source, Splits, load, reporting, show


def add(
    library: Annotated[Path, typer.Argument(help="Folder of the library.", show_default=False)],
    source: Source,
    split: Annotated[str | None, typer.Option(help="Splits of the specimens to add.", show_default="all")] = None,
    splits: Splits = None,
    on_error: Annotated[
        Literal["raise", "skip"], typer.Option(help="Stop at a bad record, or leave it out with a warning.")
    ] = "raise",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="GPU if there is one")] = None,
) -> None:
    """Add specimens to a library.

    They are compared as the others are, and probabilities stay as they were fitted: build the library again when it has
    grown much.

    Example: bioscan library add my-library new_specimens.csv
    """
    # Imported here, so that help and wrong usage need not wait for them.
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.identification.library import Library
    from bioscan_hf.identification.library_files import read_manifest

    disable_progress_bar()
    console = Console(highlight=False)
    manifest = read_manifest(library)
    with reporting(console) as report:
        old = Library.load(library, device=device)
        specimens = load(source, split=split, splits=splits, image=old.images is not None, on_error=on_error)
        new = old.add(specimens, report=report)
        new.save(library, dtype=manifest["dtype"], cells="cells.faiss" in manifest["files"])
    show(library, read_manifest(library), console)
