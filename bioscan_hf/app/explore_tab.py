"""The tab in which one looks around in the library: rings of its taxa, a map of its barcodes, its specimens."""

from __future__ import annotations

from functools import cached_property
from html import escape
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from bioscan_hf.app.alignment import unpack
from bioscan_hf.app.library_map import map_component, points_json, view_json
from bioscan_hf.app.lookup import find_specimens
from bioscan_hf.app.points import Points, library_points
from bioscan_hf.app.rings import rings_component, rings_html
from bioscan_hf.app.served import Served
from bioscan_hf.app.specimen_view import SPECIMEN_CSS, specimen_html, specimen_id
from bioscan_hf.app.taxa import LibraryTaxa, TaxonPath
from bioscan_hf.identification.library import Library

# On a phone the card is below the map.
_INTO_VIEW = '() => document.querySelector("#bs-specimen")?.scrollIntoView({block: "nearest", behavior: "smooth"})'
# Specimens with one barcode among which a photograph is sought.
_LOOKED_AT = 20


class Shown(NamedTuple):
    """What one visitor looks at.

    Attributes:
        path: The taxon that was clicked in the rings.
        words: What was searched for; it counts instead of the path if it is not empty.
        row: The specimen that is shown; -1 for none.
    """

    path: TaxonPath = ()
    words: str = ""
    row: int = -1


class HandOver(NamedTuple):
    """What another tab needs to go on with the specimen that is shown.

    Attributes:
        button: Is clicked for it.
        barcode: Holds its barcode as FASTA.
    """

    button: gr.Button
    barcode: gr.State


class Explorer:
    """Answers what somebody does in the tab.

    Attributes:
        served: What the app serves.
        taxa: Of its library.
    """

    def __init__(self, served: Served) -> None:
        self.served, self.taxa = served, LibraryTaxa(served.library)

    @cached_property
    def points(self) -> Points:
        """The map, computed at the first use."""
        return library_points(self.served.library)

    def rank_below(self, path: TaxonPath) -> str:
        """By which the map is coloured when a taxon was clicked: the rank of the ring with the same colours."""
        ranks = self.taxa.ranks[len(path) :] or self.taxa.ranks[-1:]
        return next((rank for rank in ranks if rank != "class"), ranks[0])

    def keys(self, shown: Shown) -> NDArray[np.bool_]:
        """Which keys are meant, (K,)."""
        if shown.words:
            return find_specimens(self.served.library, shown.words).keys
        return self.taxa.inside(shown.path)

    def view(self, shown: Shown, rank: str) -> Any:
        """An update of the map."""
        selected = int(self.served.library.keys.of_specimen[shown.row]) if shown.row >= 0 else None
        return gr.HTML(view=view_json(self.taxa, self.points, rank, self.keys(shown), selected))

    def about(self) -> str:
        """What the map shows, in a sentence."""
        points, library = self.points, self.served.library
        drawn = f"{len(points.keys):,} distinct barcodes"
        if points.total > len(points.keys):
            drawn = f"{len(points.keys):,} of {points.total:,} distinct barcodes, drawn at random"
        return (
            f"<p>{drawn} of {len(library.keys.of_specimen):,} specimens, laid out by {points.method}: barcodes that "
            "are alike lie close together. Click a point to see its specimen.</p>"
        )

    def pictured(self, key: int) -> int:
        """A specimen of a key with a photograph, if there is one among the first; else the first."""
        library = self.served.library
        rows = np.flatnonzero(library.keys.of_specimen == key)[:_LOOKED_AT].tolist()
        return next((row for row in rows if specimen_id(library, row) in self.served.pictures), rows[0])

    def specimen(self, row: int) -> tuple[str, str | None, Any]:
        """The card of a specimen, its barcode as FASTA, and an update of the button that hands it over."""
        library = self.served.library
        key = int(library.keys.of_specimen[row])
        same = int(library.keys.specimens[key])
        caption = f"One of {same:,} specimens with this barcode" if same > 1 else ""
        barcode = barcode_of(library, key)
        fasta = f">{specimen_id(library, row)}\n{barcode}" if barcode else None
        return specimen_html(self.served, row, caption=caption), fasta, gr.Button(visible=bool(barcode))

    def open_map(self, shown: Shown, rank: str) -> tuple[Any, str]:
        """The map when it is seen for the first time, and what is said about it."""
        view = view_json(self.taxa, self.points, rank, self.keys(shown), None)
        return gr.HTML(value=points_json(self.taxa, self.points), view=view), self.about()

    def click_ring(self, shown: Shown, event: gr.EventData) -> tuple[Any, ...]:
        """What is shown now, the rings, the rank of the colours, no message, and an empty search box."""
        asked = event._data.get("path") if isinstance(event._data, dict) else None
        path = self.taxa.known(asked if isinstance(asked, list) else ())
        now = shown._replace(path=path, words="")
        return now, rings_html(self.taxa, path), self.rank_below(path), _message(""), ""

    def click_point(self, shown: Shown, rank: str, event: gr.EventData) -> tuple[Any, ...]:
        """What is shown now, the map, and the specimen."""
        place = event._data.get("place") if isinstance(event._data, dict) else None
        if not isinstance(place, int) or not 0 <= place < len(self.points.keys):
            return (gr.skip(),) * 5
        row = self.pictured(int(self.points.keys[place]))
        now = shown._replace(row=row)
        return now, self.view(now, rank), *self.specimen(row)

    def search(self, words: str) -> tuple[Any, ...]:
        """The message, what is shown now, the rings of all, the colours' rank, and the specimen; or that none fits."""
        try:
            found = find_specimens(self.served.library, words)
        except ValueError as error:
            return _message(str(error)), *[gr.skip()] * 6
        now = Shown(words=words, row=found.row)
        finer = self.taxa.named[self.taxa.named.index(found.rank) :][:2] if found.rank else ()
        rank = finer[-1] if finer else gr.skip()
        return _message(found.message), now, rings_html(self.taxa, ()), rank, *self.specimen(found.row)


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


def barcode_of(library: Library, key: int) -> str:
    """The letters of a key in the columns of the gene: the barcode itself would be searched for on the disk.

    Args:
        library: The library.
        key: Its key.
    """
    columns = unpack(np.asarray(library.letters[[key]]), len(library.barcodes.profile.log_odds))
    return "".join("ACGTN"[code] for code in columns[0]).strip("N")


def _message(text: str) -> Any:
    """An update of the line that tells what was found."""
    return gr.HTML(f'<p role="status">{escape(text)}</p>', visible=bool(text))
