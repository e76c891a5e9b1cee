"""A picture of the taxonomy: classes, orders and families as rings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Wedge

TEXT, MUTED = "#22303c", "#66757f"
# Told apart by people who see few colours, too.
PALETTE = ("#4477aa", "#ee8866", "#44aa99", "#ccbb44", "#aa4499", "#66ccee", "#882255", "#99aa55", "#bb9977")
# Taxa below this share of all specimens are drawn together.
LEAST_SHARE = 0.006
# Inner and outer radius, and size of the names in points, of classes, orders and families.
RINGS = ((0.27, 0.53, 11), (0.54, 0.86, 9), (0.87, 1.0, 8))
INCHES = 9.0

Colour = tuple[float, float, float]
Taxon = tuple[str | None, str | None, str | None, int]
OTHER_COLOUR = to_rgb("#c9ced3")
# Of classes, and of orders.
SHADES = (("#6b7b88", "#84929d", "#9caab3", "#8a8f6f", "#a3a888", "#bcc0a5"), PALETTE)


@dataclass(frozen=True)
class Sector:
    """A piece of a ring.

    Attributes:
        level: 0 for a class, 1 for an order, 2 for a family.
        name: What is written on it.
        start: Where it begins, as a share of the circle, clockwise from the top.
        stop: Where it ends.
        colour: Its colour.
    """

    level: int
    name: str
    start: float
    stop: float
    colour: Colour


def taxonomy_sunburst(taxa: Sequence[Taxon], specimens: int) -> Figure:
    """Draw the classes, orders and families of specimens as rings, with a legend.

    Args:
        taxa: Class, order, family, None where there is no label, and number of specimens.
        specimens: Number of all specimens.
    """
    figure = Figure(figsize=(INCHES * 4 / 3, INCHES))
    axes = figure.add_axes((0.25, 0, 0.75, 1))
    draw_rings(axes, taxa, specimens, unit="specimens", inches=INCHES)
    note = (
        "Rings from the inside: class, order,\n"
        f"family. Taxa below {LEAST_SHARE:.1%} are drawn\n"
        "together. A gap has no label."
    )
    figure.text(0.02, 0.94, "Taxonomy", fontsize=17, color=TEXT, weight="bold")
    figure.text(0.02, 0.92, note, fontsize=11, color=MUTED, va="top", linespacing=1.5)
    for level, title, top in ((0, "Class", 0.79), (1, "Order", 0.55)):
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.012, top), "alignment": "left"}
        handles = [
            Patch(color=colour, label=f"{name}  {share}") for name, share, colour in legend(taxa, level, specimens)
        ]
        figure.legend(handles=handles, title=title, title_fontproperties={"weight": "bold"}, frameon=False, **place)
    return figure


def draw_rings(
    axes: Axes, taxa: Sequence[Taxon], total: int, *, unit: str, inches: float, extent: float = 1.42
) -> None:
    """Draw the classes, orders and families as rings, from the inside out; the angle is the number.

    Args:
        axes: Where to draw.
        taxa: Class, order, family, None where there is no label, and number.
        total: Number that is written in the middle.
        unit: What is counted.
        inches: Width and height of the axes.
        extent: Half of the width of the axes over the radius of the rings; names of families stand in the margin.
    """
    points = inches * 72 / (2 * extent)  # in one unit of the axes
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), frame_on=False, aspect="equal", xticks=[], yticks=[])
    for sector in sectors(taxa, [_colours(taxa, level) for level in range(len(SHADES))]):
        inner, outer, _ = RINGS[sector.level]
        start, stop = (90 - 360 * at for at in (sector.stop, sector.start))
        axes.add_patch(Wedge((0, 0), outer, start, stop, width=outer - inner, color=sector.colour, ec="white"))
        _label(axes, sector, points)
    number = f"{total:,}"
    size = min(17, 1.8 * RINGS[0][0] * points / (0.7 * len(number)))  # the hole holds it
    axes.text(0, 0.02, number, ha="center", va="bottom", fontsize=size, color=TEXT, weight="bold")
    axes.text(0, 0, unit, ha="center", va="top", fontsize=12, color=MUTED)


def legend(taxa: Sequence[Taxon], level: int, total: int) -> list[tuple[str, str, Colour]]:
    """Name, share as text, and colour of the most frequent classes (level 0) or orders (1), and of all others together.

    Args:
        taxa: Class, order, family, None where there is no label, and number.
        level: Which ring, 0 or 1.
        total: What the shares are shares of.
    """
    sizes, colours = _sizes(taxa, level), _colours(taxa, level)
    # Those that are too small to be drawn by themselves have no colour in the picture.
    entries = [
        (name, sizes[name], colour if sizes[name] >= LEAST_SHARE * total else OTHER_COLOUR)
        for name, colour in colours.items()
    ]
    rest = [name for name in sizes if name not in colours]
    if rest:
        entries.append((_together(rest), sum(sizes[name] for name in rest), OTHER_COLOUR))
    return [
        (name, f"{size / total:.1%}" if size >= 0.001 * total else "< 0.1%", colour) for name, size, colour in entries
    ]


def sectors(taxa: Sequence[Taxon], colours: Sequence[Mapping[str, Colour]]) -> list[Sector]:
    """Divide the circle among classes, theirs among orders, theirs among families; no label leaves a gap.

    Args:
        taxa: Class, order, family and number of specimens.
        colours: Colours of classes, and of orders; the others share one. Families have tints of that of their order.

    Returns:
        Each class, followed by its orders, each followed by its families; the largest first, at the end those below
        `LEAST_SHARE` together.
    """
    return list(_divide(taxa, 0, 0.0, sum(taxon[3] for taxon in taxa), colours, OTHER_COLOUR))


def _divide(
    taxa: Sequence[Taxon], level: int, start: float, total: int, colours: Sequence[Mapping[str, Colour]], parent: Colour
) -> Iterator[Sector]:
    sizes = _sizes(taxa, level)
    shown = [name for name, size in sizes.most_common() if size / total >= LEAST_SHARE]
    for number, name in enumerate(shown):
        stop = start + sizes[name] / total
        if level < len(colours):
            colour = colours[level].get(name, OTHER_COLOUR)
            yield Sector(level, name, start, stop, colour)
            below = [taxon for taxon in taxa if taxon[level] == name]
            yield from _divide(below, level + 1, start, total, colours, colour)
        else:
            # Neighbours of one colour are told apart by their tint.
            yield Sector(level, name, start, stop, _lighter(parent, 0.25 + 0.13 * (number % 3)))
        start = stop
    rest = [name for name in sizes if name not in shown]
    if rest:
        stop = start + sum(sizes[name] for name in rest) / total
        colour = OTHER_COLOUR if level < len(colours) else _lighter(parent, 0.75)
        yield Sector(level, _together(rest), start, stop, colour)


def _sizes(taxa: Sequence[Taxon], level: int) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for taxon in taxa:
        name = taxon[:3][level]
        if name is not None:
            sizes[name] += taxon[3]
    return sizes


def _colours(taxa: Sequence[Taxon], level: int) -> dict[str, Colour]:
    """A colour for each of the most frequent classes or orders."""
    frequent = _sizes(taxa, level).most_common(len(SHADES[level]))
    return {name: to_rgb(shade) for (name, _), shade in zip(frequent, SHADES[level], strict=False)}


def _together(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} others"


def _lighter(colour: Colour, amount: float) -> Colour:
    red, green, blue = (channel + (1 - channel) * amount for channel in colour)
    return red, green, blue


def _label(axes: Axes, sector: Sector, points: float) -> None:
    """Write the name along the ring or across it, if it fits; names of families stand outside.

    Args:
        axes: Where to write.
        sector: What to name.
        points: Points in one unit of the axes.
    """
    inner, outer, size = RINGS[sector.level]
    width, height = 0.62 * size * len(sector.name) / points, 1.15 * size / points
    outside = sector.level == 2
    radius = outer + 0.015 if outside else (inner + outer) / 2
    length = 2 * np.pi * radius * (sector.stop - sector.start)
    angle = 90 - 180 * (sector.start + sector.stop)
    x, y = radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle))
    # Text is never upside down.
    along, across = angle - 90 if y >= 0 else angle + 90, angle if x >= 0 else angle + 180
    if not outside and length >= 1.1 * width and width < 1.2 * radius:
        rotation = along
    elif length >= height and (outside or width <= outer - inner):
        rotation = across
    else:
        return
    dark = np.dot(sector.colour, (0.3, 0.6, 0.1)) < 0.62 and not outside
    sides = ("left" if x >= 0 else "right") if outside else "center"
    style: dict[str, Any] = {"ha": sides, "va": "center_baseline", "rotation_mode": "anchor", "fontsize": size}
    # Names are no formulas, whatever letters they have.
    axes.text(x, y, sector.name, color="white" if dark else TEXT, rotation=rotation, parse_math=False, **style)
