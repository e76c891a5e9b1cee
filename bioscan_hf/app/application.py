"""The app as a whole: its head, its tabs, and how it is started."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from bioscan_hf.app.about import about_tab
from bioscan_hf.app.explore_tab import explore_tab
from bioscan_hf.app.identify_tab import identify_tab
from bioscan_hf.app.served import Served
from bioscan_hf.app.style import CSS, theme

_DAY = 86_400
MAX_FILE_SIZE = "50mb"
# Of all files that are dropped at once, and of everything else that is sent.
_MAX_REQUEST = 200 << 20
# Who comes later is told to try again. An answer, of up to a thousand queries, is kept for each of so many visitors.
_WAITING, _VISITORS = 50, 500


def build_app(served: Served) -> gr.Blocks:
    """Lay the app out.

    Args:
        served: What is served.
    """
    # Uploads are deleted after a day.
    with gr.Blocks(title="bioscan: names for insects", analytics_enabled=False, delete_cache=(3600, _DAY)) as app:
        gr.HTML(_head(served), apply_default_css=False)
        with gr.Tabs() as tabs:
            with gr.Tab("Identify", id="identify"):
                identify = identify_tab(served)
            with gr.Tab("Explore", id="explore"):
                explored = explore_tab(served)
            with gr.Tab("About", id="about"):
                about_tab(served)

        def hand_over(barcode: str, error: float) -> list[Any]:
            return [gr.Tabs(selected="identify"), *identify.ask(barcode, error)]

        given = [explored.barcode, identify.error]
        explored.button.click(hand_over, given, [tabs, *identify.boxes], api_visibility="private")
    return app.queue(max_size=_WAITING)


def launch(app: gr.Blocks, **settings: Any) -> tuple[Any, str, str | None]:
    """Start the app as it is meant to look, without asking anything of other computers.

    Args:
        app: Of `build_app`.
        settings: Further ones of `gr.Blocks.launch`, such as `server_port` and `prevent_thread_lock`.

    Returns:
        As `gr.Blocks.launch`: the server, its address here and, if it is shared, for others.
    """
    started: tuple[Any, str, str | None] = app.launch(
        theme=theme(),
        css=CSS,
        footer_links=["api"],
        max_file_size=MAX_FILE_SIZE,
        # Errors that are meant for the page are shown in any case; others may name folders of this computer.
        show_error=False,
        state_session_capacity=_VISITORS,
        app_kwargs={"max_body_size": _MAX_REQUEST},
        ssr_mode=False,
        **settings,
    )
    return started


def _head(served: Served) -> str:
    library = served.library
    species = len(library.taxa["species"])
    pictured = library.images is not None
    title = "Names for insects, by DNA barcode or photograph" if pictured else "Names for insects, by DNA barcode"
    compared = "Compares photographs, barcodes or both" if pictured else "Compares barcodes"
    banner = (
        '<p class="bs-banner"><b>Simulated specimens: names are invented.</b> This is the sample that comes with the '
        "package. For your own: <code>bioscan app --library my-library</code></p>"
    )
    return (
        f'<header class="bs-head"><h1>{title}</h1>'
        f"<p>{compared} with reference specimens, and says how sure each name is, whether the species is "
        "new to the library, and which specimens are nearest.</p>"
        f'<p class="bs-muted">Library <b>{escape(served.name)}</b>: {len(library.keys.of_specimen):,} specimens of '
        f"{species:,} species.</p>{banner if served.simulated else ''}</header>"
    )
