"""The map of a library: its barcodes as points on a canvas, coloured by a rank."""

from __future__ import annotations

import json
from importlib.resources import files

import gradio as gr
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from bioscan_hf.app.points import Points
from bioscan_hf.app.taxa import LibraryTaxa
from bioscan_hf.data.features import RANKS
from bioscan_hf.data.sunburst import OTHER_COLOUR

_TEMPLATE = """
<div class="frame">
  <canvas role="img" aria-label="Map of the barcodes of the library"></canvas>
  <div class="tip" hidden></div>
  <p class="waiting" hidden>Laying out the map: once for a library, up to a minute. <span></span></p>
  <div class="zoom">
    <button type="button" data-zoom="1.6" aria-label="Zoom in">+</button>
    <button type="button" data-zoom="0.625" aria-label="Zoom out">&minus;</button>
    <button type="button" data-zoom="0" aria-label="Show the whole map">⤢</button>
  </div>
</div>
<ul class="legend"></ul>
"""


def map_component() -> gr.HTML:
    """A map without points; its events: `opened`, when it is first seen, and `point`, with the `place` of a click.

    The points come as `value`, see `points_json`, and how they are drawn as `view`, see `view_json`.
    """
    web = files("bioscan_hf.app")
    return gr.HTML(
        "",
        html_template=_TEMPLATE,
        css_template=(web / "library_map.css").read_text(encoding="utf-8"),
        js_on_load=(web / "library_map.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="bs-map",
        view="",
    )


def points_json(taxa: LibraryTaxa, points: Points) -> str:
    """Places of P points, in thousandths of a thousand, and their finest names.

    Args:
        taxa: Of the library.
        points: Its points.
    """
    labels = taxa.library.keys.labels[points.keys]
    names: dict[str, int] = {"no name": 0}
    named = []
    for row in labels.tolist():
        finest = next((place for place in reversed(range(len(RANKS))) if row[place] >= 0), None)
        name = "no name" if finest is None else taxa.library.taxa[RANKS[finest]][row[finest]]
        named.append(names.setdefault(name, len(names)))
    x, y = np.rint(points.places * 10_000).astype(int).T.tolist() if len(points.keys) else ([], [])
    return _as_json({"x": x, "y": y, "names": list(names), "named": named})


def view_json(taxa: LibraryTaxa, points: Points, rank: str, keys: NDArray[np.bool_], selected: int | None) -> str:
    """How the points are drawn: in colours of the most frequent taxa, the others grey, those that are not meant pale.

    Args:
        taxa: Of the library.
        points: Its points.
        rank: By which they are coloured.
        keys: Which keys are meant, (K,).
        selected: Key of the specimen that is shown; None for none.
    """
    legend: list[tuple[str, str, int]] = []
    colours = np.full(len(points.keys), -1)
    frequent = taxa.frequent(rank, keys)
    labels = taxa.labels(rank)
    for place, taxon in enumerate(frequent):
        colours[labels[points.keys] == taxon.label] = place
        legend.append((taxon.name, to_hex(taxon.colour), taxon.specimens))
    without = taxa.specimens(keys & (labels < 0))
    others = taxa.specimens(keys) - without - sum(taxon.specimens for taxon in frequent)
    grey = to_hex(OTHER_COLOUR)
    legend += [(name, grey, count) for name, count in (("others", others), ("no label", without)) if count]
    drawn = np.flatnonzero(points.keys == (-1 if selected is None else selected))
    return _as_json(
        {
            "colours": colours.tolist(),
            "legend": legend,
            "meant": keys[points.keys].astype(int).tolist(),
            "selected": int(drawn[0]) if len(drawn) else -1,
            "other": to_hex(OTHER_COLOUR),
        }
    )


def _as_json(content: object) -> str:
    """Compact, and without `<`, which the page might take for a tag."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
