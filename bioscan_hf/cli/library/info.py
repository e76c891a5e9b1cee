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
    verify: Annotated[
        bool, typer.Option("--verify", help="See that all files are as they were written, also those of gigabytes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print its description, library.json.")] = False,
) -> None:
    """Show what a library was made of, and with.

    Damage is noticed whenever a library is loaded, but for files above 64 MB, which --verify looks through.

    Examples:
        bioscan library info my-library
        # after it was copied from somewhere
        bioscan library info my-library --verify
        bioscan library info me/my-library --json
    """
    from bioscan_hf.identification.library_digests import check_files
    from bioscan_hf.identification.library_files import find_library, read_manifest

    folder = find_library(library)
    manifest = read_manifest(folder)
    screen = Screen.open(as_json)
    count = check_files(folder, manifest, all_sizes=True) if verify else None
    screen.document(manifest)
    show(folder, manifest, screen.answers)
    if count is not None:
        screen.words.print(
            f"{count} files are as they were written." if count else "It is of an older version, without digests."
        )
