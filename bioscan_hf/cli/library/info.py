"""`bioscan library info`: what a library is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from bioscan_hf.cli.library.common import show


def info(
    library: Annotated[
        str, typer.Argument(help="Folder of the library, or repository on the Hub.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print its description, library.json.")] = False,
) -> None:
    """Show what a library was made of, and with.

    Example: bioscan library info my-library
    """
    import json

    from bioscan_hf.identification.library_files import find_library, read_manifest

    folder = find_library(library)
    manifest = read_manifest(folder)
    if as_json:
        typer.echo(json.dumps(manifest, ensure_ascii=False))
    else:
        show(folder, manifest, Console(highlight=False))
