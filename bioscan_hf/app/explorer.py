"""What the tab for looking around answers: a click in the rings, a click on the map, a search."""

from __future__ import annotations

from functools import cached_property
from html import escape
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from bioscan_hf.app.alignment import barcode_of
from bioscan_hf.app.library_map import points_json, view_json
from bioscan_hf.app.lookup import find_specimens
from bioscan_hf.app.points import Points, library_points
from bioscan_hf.app.rings import rings_html
from bioscan_hf.app.served import Served
from bioscan_hf.app.specimen_view import specimen_html
from bioscan_hf.app.taxa import LibraryTaxa, TaxonPath
from bioscan_hf.data.features import RANKS

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
            return find_specimens(self.served, shown.words).keys
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
        return next((row for row in rows if self.served.id_of(row) in self.served.pictures), rows[0])

    def specimen(self, row: int) -> tuple[str, str | None, Any]:
        """The card of a specimen, its barcode as FASTA, and an update of the button that hands it over."""
        library = self.served.library
        key = int(library.keys.of_specimen[row])
        same = int(library.keys.specimens[key])
        caption = f"One of {same:,} specimens with this barcode" if same > 1 else ""
        barcode = barcode_of(library, key)
        fasta = f">{self.served.id_of(row)}\n{barcode}" if barcode else None
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
            found = find_specimens(self.served, words)
        except ValueError as error:
            return _message(str(error)), *[gr.skip()] * 6
        now = Shown(words=words, row=found.row)
        rank: Any = gr.skip()
        if found.rank is not None:
            finer = (other for other in self.taxa.ranks if RANKS.index(other) > RANKS.index(found.rank))
            rank = next(finer, found.rank)
        return _message(found.message), now, rings_html(self.taxa, ()), rank, *self.specimen(found.row)


def _message(text: str) -> Any:
    """An update of the line that tells what was found."""
    return gr.HTML(f'<p role="status">{escape(text)}</p>', visible=bool(text))
