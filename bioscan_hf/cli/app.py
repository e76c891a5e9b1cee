"""`bioscan app`: identify and explore in the browser, and the same as a Space of the Hub."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from bioscan_hf.cli.library.common import reporting
from bioscan_hf.cli.screen import Screen


def app_command(
    library: Annotated[
        str | None,
        typer.Option(
            help="Folder of a library, or its repository on the Hub.", show_default="that of the embedded sample"
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Photographs of the library's specimens, found by process id: a folder, with or without a table, a "
            "Parquet file, or a folder with the released archives.",
            show_default="none, of the sample its own",
        ),
    ] = None,
    max_error: Annotated[
        float, typer.Option(help="Share of the names at the safe rank that may be wrong; between 0 and 1.")
    ] = 0.01,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other computers ask.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port.", min=1, max=65535, show_default="the first free one from 7860")
    ] = None,
    share: Annotated[
        bool, typer.Option("--share/--no-share", help="Give it a public address for some days, through gradio.live.")
    ] = False,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1 … for a library with a model.", show_default="GPU if there is one"),
    ] = None,
    write_space: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the app as a Space of the Hub, and do not start it.", show_default=False
        ),
    ] = None,
) -> None:
    """Identify barcodes and photographs in the browser, and explore a library.

    Without a library, that of the embedded sample of simulated specimens is served; nothing is downloaded. Ctrl-C ends
    it.

    Examples:
        bioscan app
        bioscan app --library my-library --images photos --open
        # for the Hub: a folder that runs there as it is
        bioscan app --library me/my-library --write-space my-space
    """
    # Imported here, so that help and wrong usage need not wait for them.
    _check_gradio()
    screen = Screen.open()
    if write_space is not None:
        from bioscan_hf.app.space import write_space as write

        write(write_space, library, images=images, max_error=max_error)
        name = write_space.resolve().name
        screen.answers.print(f"Written to {write_space}/. To try it: cd {write_space} && python app.py")
        screen.answers.print(f"To publish it: cd {write_space} && hf upload me/{name} . --repo-type space")
        return
    if port is not None:
        _check_port(host, port)
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.app.application import build_app, launch
    from bioscan_hf.app.served import Served

    disable_progress_bar()
    with reporting(screen.words) as report:
        served = Served.open(library, images=images, device=device, max_error=max_error, report=report)
        report("pages", 0, 1)
        app = build_app(served)
        settings = {"server_name": host, "server_port": port, "share": share, "inbrowser": show}
        _, here, public = launch(app, prevent_thread_lock=True, quiet=True, **settings)
    try:
        screen.answers.print(f"The app runs at {public or here} (Ctrl-C ends it).")
        _wait()
    except KeyboardInterrupt:
        app.close(verbose=False)


def _wait() -> None:
    """Wait for Ctrl-C."""
    threading.Event().wait()


def _check_port(host: str, port: int) -> None:
    """Fail before the library is loaded."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise OSError(
            f"Port {port} of {host} cannot be used ({error.strerror}); choose another with --port, or leave it out for "
            "the first free one."
        ) from error


def _check_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise OSError("The app needs gradio: `pip install '.[app]'` in a clone, or `pip install gradio`.") from error
