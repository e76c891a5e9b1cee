"""`bioscan library info`: what a library is."""

from __future__ import annotations

from typing import Annotated

import typer

from bioscan_hf.cli.library.common import show
from bioscan_hf.cli.screen import Screen


def info(
    library: Annotated[
        str, typer.Argument(help="Folder of the library, or repository on the Hub.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print its description, library.json.")] = False,
) -> None:
    """Show what a library was made of, and with.

    Examples:
        bioscan library info my-library
        bioscan library info me/my-library --json
    """
    from bioscan_hf.identification.library_files import find_library, read_manifest

    folder = find_library(library)
    manifest = read_manifest(folder)
    screen = Screen.open(as_json)
    screen.document(manifest)
    show(folder, manifest, screen.answers)
