"""The tab in which one looks around in the library: rings of its taxa, a map of its barcodes, its specimens."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from bioscan_hf.app.explorer import Explorer, Shown
from bioscan_hf.app.library_map import map_component
from bioscan_hf.app.rings import rings_component
from bioscan_hf.app.served import Served
from bioscan_hf.app.specimen_view import SPECIMEN_CSS

# On a phone the card is below the map.
_INTO_VIEW = '() => document.querySelector("#bs-specimen")?.scrollIntoView({block: "nearest", behavior: "smooth"})'


class HandOver(NamedTuple):
    """What another tab needs to go on with the specimen that is shown.

    Attributes:
        button: Is clicked for it.
        barcode: Holds its barcode as FASTA.
    """

    button: gr.Button
    barcode: gr.State


def explore_tab(served: Served) -> HandOver:
    """Lay the tab out, inside of a `gr.Tab`.

    Args:
        served: What is served.
    """
    explorer = Explorer(served)
    shown, barcode = gr.State(Shown()), gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            rings = rings_component(explorer.taxa)
        with gr.Column(scale=7, min_width=300):
            with gr.Row(equal_height=True):
                words = gr.Textbox(
                    label="Search",
                    placeholder="Taxon, id or BIN",
                    submit_btn="Find",
                    scale=3,
                    min_width=200,
                    elem_id="bs-search",
                )
                rank = gr.Dropdown(
                    list(explorer.taxa.named),
                    value=explorer.rank_below(()),
                    label="Colours by",
                    filterable=False,
                    scale=1,
                    min_width=140,
                    elem_id="bs-rank",
                )
            message = gr.HTML(visible=False, elem_id="bs-found", apply_default_css=False)
            picture = map_component()
            card = gr.HTML(css_template=SPECIMEN_CSS, elem_id="bs-specimen", apply_default_css=False)
            button = gr.Button("Identify this barcode", visible=False, size="sm", elem_id="bs-hand-over")
            about = gr.HTML(apply_default_css=False, elem_classes="bs-muted")

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    picture.opened(explorer.open_map, [shown, rank], [picture, about], **quiet)
    # The map follows: it may still be under way.
    ringed = rings.ring(explorer.click_ring, shown, [shown, rings, rank, message, words], **quiet)
    found = words.submit(explorer.search, words, [message, shown, rings, rank, card, barcode, button], **quiet)
    clicked = picture.point(explorer.click_point, [shown, rank], [shown, picture, card, barcode, button], **quiet)
    for event in (found, clicked):
        event.success(None, js=_INTO_VIEW)
    for event in (ringed, found):
        event.success(explorer.view, [shown, rank], picture, **quiet)
    rank.input(explorer.view, [shown, rank], picture, **quiet)
    return HandOver(button, barcode)
