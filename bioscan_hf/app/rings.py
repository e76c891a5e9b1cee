"""The taxonomy of a library as rings to click on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

import gradio as gr
from matplotlib.colors import to_hex, to_rgb

from bioscan_hf.app.taxa import LibraryTaxa, TaxonPath
from bioscan_hf.data.sunburst import SHADES, Colour, Sector, Taxon, sectors

# Inner and outer radius of the rings, and size of the letters, in a circle of radius 100.
_RINGS = ((29, 54), (55, 80), (81, 100))
_LETTERS = 6.2
# Width of a letter over its height.
_NARROW = 0.56
# How far the colours of a ring's neighbours go towards white.
_TINTS = (0.3, 0.45, 0.15)


def rings_component(taxa: LibraryTaxa) -> gr.HTML:
    """The rings of all specimens; its event `ring` tells the `path` of the taxon that was clicked."""
    web = files("bioscan_hf.app")
    return gr.HTML(
        rings_html(taxa, ()),
        # `${value}` is put in as it is, while Handlebars would run what stands in `${...}` in a name.
        html_template="${value}",
        css_template=(web / "rings.css").read_text(encoding="utf-8"),
        js_on_load=(web / "rings.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="bs-rings",
    )


def rings_html(taxa: LibraryTaxa, path: TaxonPath) -> str:
    """Draw a taxon: the way to it, the next three ranks below it as rings, and its number in the middle.

    Args:
        taxa: Of the library.
        path: Of the taxon; at the finest rank the others of its parent are drawn, too, but pale.
    """
    centre = path if len(path) < len(taxa.ranks) else path[:-1]
    below = taxa.below(centre)
    ranks = taxa.ranks[len(centre) : len(centre) + 3]
    counts = _counts(below)
    pieces, names = [], []
    for sector, own in _with_paths(sectors(below, _colours(taxa, centre, below))):
        known = own in counts
        count = f"{counts[own]:,} specimens" if known else "too small to be drawn by themselves"
        label = f"{sector.name} ({ranks[sector.level]}): {count}" if known else f"{sector.name}: {count}"
        pale = len(path) > len(centre) and own != path[len(centre) :][: len(own)]
        pieces.append(_piece(sector, label, (*centre, *own) if known else None, pale=pale))
        names.append(_name(sector))
    number = taxa.specimens(taxa.inside(path))
    rings = f"Rings from the inside: {', '.join(ranks)}." if len(ranks) > 1 else f"The ring: {ranks[0]}."
    hint = f"{rings} Click a part to see only its specimens."
    half = _RINGS[len(ranks) - 1][1] + 1
    box = f"{-half} {-half} {2 * half} {2 * half}"
    return (
        f'{_crumbs(path)}<svg viewBox="{box}" role="group" aria-label="Taxonomy as rings">'
        f"{''.join(pieces)}{''.join(names)}{_middle(number, path)}</svg>"
        f'<p class="hint" data-usual="{hint}">{hint}</p>'
    )


def _crumbs(path: TaxonPath) -> str:
    """The taxa on the way, each a button that leads back to it."""
    links = [
        f'<button type="button" data-path="{escape(json.dumps(path[:length]))}">{escape(name)}</button>'
        for length, name in enumerate(["All", *path])
    ]
    return f'<nav aria-label="Taxon">{"<span>&rsaquo;</span>".join(links)}</nav>'


def _counts(below: Sequence[Taxon]) -> Counter[TaxonPath]:
    """Specimens of each taxon, by its path from the centre."""
    counts: Counter[TaxonPath] = Counter()
    for *names, number in below:
        for length in range(1, 4):
            own = tuple(name for name in names[:length] if isinstance(name, str))
            if len(own) == length:
                counts[own] += number
    return counts


def _with_paths(found: Sequence[Sector]) -> list[tuple[Sector, TaxonPath]]:
    """Sectors, of which each follows the one that it belongs to, with their paths."""
    pairs, path = [], list[str]()
    for sector in found:
        path[sector.level :] = [sector.name]
        pairs.append((sector, tuple(path)))
    return pairs


def _colours(taxa: LibraryTaxa, centre: TaxonPath, below: Sequence[Taxon]) -> list[Mapping[str, Colour]]:
    """Of the taxa of the inner two rings; those of the third follow from them.

    Orders have the colours of the map. Classes are grey, so that these stand out.
    """
    keys = taxa.inside(centre)
    ranks = taxa.ranks[len(centre) :]
    inner = {taxon.name: taxon.colour for taxon in taxa.frequent(ranks[0], keys)}
    if ranks[0] == "class" and len(ranks) > 1:
        greys = {name: to_rgb(shade) for name, shade in zip(inner, SHADES[0], strict=False)}
        return [greys, {taxon.name: taxon.colour for taxon in taxa.frequent(ranks[1], keys)}]
    sizes = Counter[tuple[str, str]]()
    for first, second, _, number in below:
        if first in inner and second is not None:
            sizes[first, second] += number
    tints = {}
    for place, (first, second) in enumerate(sorted(sizes, key=lambda pair: (pair[0], -sizes[pair]))):
        amount = _TINTS[place % len(_TINTS)]
        red, green, blue = (channel + (1 - channel) * amount for channel in inner[first])
        tints[second] = (red, green, blue)
    return [inner, tints]


def _piece(sector: Sector, label: str, path: TaxonPath | None, *, pale: bool) -> str:
    inner, outer = _RINGS[sector.level]
    chosen = "" if path is None else f' data-path="{escape(json.dumps(path))}"'
    faint = ' class="pale"' if pale else ""
    return (
        f'<path d="{_outline(inner, outer, sector.start, sector.stop)}" fill="{to_hex(sector.colour)}"{faint}{chosen} '
        f'data-label="{escape(label)}" aria-label="{escape(label)}"/>'
    )


def _outline(inner: float, outer: float, start: float, stop: float) -> str:
    """A part of a ring between two shares of the circle, or all of it."""
    if stop - start > 0.9999:
        circles = (f"M0 {-r}A{r} {r} 0 1 1 0 {r}A{r} {r} 0 1 1 0 {-r}Z" for r in (outer, inner))
        return "".join(circles)
    large = int(stop - start > 0.5)
    (a, b), (c, d), (e, f), (g, h) = (
        _at(radius, share) for radius, share in ((outer, start), (outer, stop), (inner, stop), (inner, start))
    )
    return (
        f"M{a:.2f} {b:.2f}A{outer} {outer} 0 {large} 1 {c:.2f} {d:.2f}"
        f"L{e:.2f} {f:.2f}A{inner} {inner} 0 {large} 0 {g:.2f} {h:.2f}Z"
    )


def _at(radius: float, share: float) -> tuple[float, float]:
    angle = 2 * math.pi * share
    return radius * math.sin(angle), -radius * math.cos(angle)


def _name(sector: Sector) -> str:
    """The name along the ring or across it, if it fits."""
    inner, outer = _RINGS[sector.level]
    radius, width = (inner + outer) / 2, _NARROW * _LETTERS * len(sector.name)
    length = 2 * math.pi * radius * (sector.stop - sector.start)
    middle = (sector.start + sector.stop) / 2 if sector.stop - sector.start < 0.9999 else 0.0
    turn = 360 * middle
    if length >= 1.1 * width and width < 1.2 * radius:
        rotation = turn if math.cos(math.radians(turn)) >= 0 else turn + 180
    elif length >= 1.15 * _LETTERS and width <= outer - inner - 2:
        rotation = turn - 90 if math.sin(math.radians(turn)) >= 0 else turn + 90
    else:
        return ""
    x, y = _at(radius, middle)
    light = sum(share * channel for share, channel in zip((0.3, 0.6, 0.1), sector.colour, strict=True)) < 0.62
    return (
        f'<text transform="translate({x:.2f} {y:.2f}) rotate({rotation:.1f})" '
        f'fill="{"#fff" if light else "#22303c"}">{escape(sector.name)}</text>'
    )


def _middle(number: int, path: TaxonPath) -> str:
    back = '<text class="back" y="17">show all</text>' if path else ""
    return (
        f'<g class="middle" data-path="[]" data-label="All specimens"><circle r="27"/>'
        f'<text class="number" y="-5">{number:,}</text><text y="6">specimens</text>{back}</g>'
    )
