"""Pictures of a dataset: its taxonomy, its places, the lengths of its barcodes, how uneven its classes are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path as Outline
from matplotlib.ticker import EngFormatter, FuncFormatter
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.data.statistics import Statistics
from bioscan_hf.data.sunburst import MUTED, PALETTE, TEXT, taxonomy_sunburst

GRID, SEA, LAND, COAST = "#dfe4e8", "#eef3f7", "#cfd6da", "#b4bec4"
MAX_BINS = 120
# Latitudes between which the map is drawn.
SOUTH, NORTH = -58.0, 84.0
Place = tuple[float, float, int]
RANK_NAMES = {"dna_bin": "BIN", "dna_barcode": "barcode"}


@dataclass(frozen=True)
class Picture:
    """One picture of a dataset.

    Attributes:
        name: Name of its file, without the ending.
        alt: What it shows, for those who do not see it.
        draw: Draws it.
        is_empty: Whether there is nothing to draw.
    """

    name: str
    alt: str
    draw: Callable[[Statistics], Figure]
    is_empty: Callable[[Statistics], bool]


def save_pictures(statistics: Statistics, folder: Path) -> list[Picture]:
    """Draw all pictures that there are data for, and write each as `<name>.png`.

    Returns:
        Those that were written.
    """
    drawn = [picture for picture in PICTURES if not picture.is_empty(statistics)]
    for picture in drawn:
        picture.draw(statistics).savefig(folder / f"{picture.name}.png", dpi=130)
    return drawn


def site_map(places: Sequence[Place], specimens: int) -> Figure:
    """Draw where specimens come from: one dot for each cell of one degree.

    Args:
        places: Latitude and longitude in decimal degrees, and number, of each cell; at least one.
        specimens: Number of all specimens.
    """
    figure = Figure(figsize=(12, 6.5))
    axes = figure.add_axes((0.01, 0.11, 0.98, 0.78))
    draw_sites(axes, figure.add_axes((0.02, 0.07, 0.2, 0.022)), places)
    located = sum(count for *_, count in places)
    note = f"{located:,} specimens from {len(places):,} cells; {specimens - located:,} without coordinates"
    figure.text(0.02, 0.94, "Collection sites", fontsize=17, color=TEXT, weight="bold")
    figure.text(0.98, 0.94, note, fontsize=10, color=MUTED, ha="right")
    figure.text(0.23, 0.071, "specimens in a cell of 1°", fontsize=10, color=MUTED)
    figure.text(0.98, 0.071, "Equal Earth projection; land: Natural Earth", fontsize=10, color=MUTED, ha="right")
    return figure


def draw_sites(axes: Axes, scale: Axes, places: Sequence[Place], *, dot: float = 1.0) -> None:
    """Draw a map of the world with a dot for each place, and the scale of its colours.

    Args:
        axes: Where to draw the map.
        scale: Where to draw the scale.
        places: Latitude and longitude in decimal degrees, and number; at least one.
        dot: Factor of the area of the dots.
    """
    # The largest last, on top of the others.
    latitudes, longitudes, counts = np.array(sorted(places, key=lambda place: place[2])).T
    axes.set(frame_on=False, aspect="equal", xticks=[], yticks=[])
    _draw_earth(axes)
    x, y = equal_earth(longitudes, latitudes).T
    dots = axes.scatter(
        x,
        y,
        s=dot * (10 + 12 * np.log10(counts)),
        c=counts,
        norm=LogNorm(1, max(counts.max(), 10)),
        cmap="plasma_r",
        edgecolors="white",
        linewidths=0.4,
        zorder=3,
    )
    bar = scale.figure.colorbar(dots, cax=scale, orientation="horizontal", format=EngFormatter(sep=""), drawedges=False)
    bar.outline.set_linewidth(0)
    bar.minorticks_off()
    scale.tick_params(colors=MUTED, labelsize=9, length=0)


def _draw_earth(axes: Axes) -> None:
    edge = np.linspace(SOUTH, NORTH, 50)
    west, east = (equal_earth(np.full(50, side), edge) for side in (-180.0, 180.0))
    axes.add_patch(Polygon(np.concatenate([west, east[::-1]]), facecolor=SEA, edgecolor=GRID))
    for meridian in range(-150, 180, 30):
        axes.plot(*equal_earth(np.full(50, float(meridian)), edge).T, color=GRID, linewidth=0.6)
    for parallel in range(-30, 90, 30):
        axes.plot(*equal_earth(np.array([-180.0, 180.0]), np.full(2, float(parallel))).T, color=GRID, linewidth=0.6)
    land = json.loads((files("bioscan_hf.data") / "land.json").read_text(encoding="utf-8"))
    rings = [equal_earth(*np.array(ring).T) for polygon in land["polygons"] for ring in polygon]
    outline = Outline.make_compound_path(*(Outline(ring, closed=True) for ring in rings))
    axes.add_patch(PathPatch(outline, facecolor=LAND, edgecolor=COAST, linewidth=0.4, zorder=2))


def equal_earth(longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project places to the plane without distorting areas.

    Equal Earth projection (Savric, Patterson and Jenny, 2019, doi 10.1080/13658816.2018.1504949).

    Args:
        longitudes: (N,) degrees.
        latitudes: (N,) degrees.

    Returns:
        (N, 2) x and y, in radii of the Earth.
    """
    a, b, c, d = 1.340264, -0.081106, 0.000893, 0.003796
    t = np.arcsin(np.sqrt(3) / 2 * np.sin(np.radians(latitudes)))
    x = 2 * np.radians(longitudes) * np.cos(t) / np.sqrt(3) / (a + 3 * b * t**2 + 7 * c * t**6 + 9 * d * t**8)
    y = a * t + b * t**3 + c * t**7 + d * t**9
    return np.column_stack([x, y])


def barcode_lengths(statistics: Statistics) -> Figure:
    """Draw how many barcodes have which length."""
    lengths, counts = np.array(statistics.barcodes.lengths).T
    total, frequent = counts.sum(), counts.argmax()
    width = max(1, -(-(lengths.max() - lengths.min() + 1) // MAX_BINS))
    bins = np.arange(lengths.min(), lengths.max() + width + 1, width) - 0.5
    figure, axes = _axes("Lengths of the barcodes", "nucleotides", "barcodes")
    note = f"{counts[frequent] / total:.0%} have {lengths[frequent]} nucleotides"
    axes.set_title(f"{note}, {statistics.barcodes.with_n / total:.1%} contain N", fontsize=10, color=MUTED, loc="right")
    axes.hist(lengths, bins.tolist(), weights=counts, color=PALETTE[0])
    axes.set_yscale("log")
    axes.set_ylim(0.7, None)
    axes.yaxis.set_major_formatter(_thousands())
    return figure


def category_sizes(statistics: Statistics) -> Figure:
    """Draw the number of specimens of each category, the largest first, for every rank."""
    figure, axes = _axes(
        "Sizes of the categories", "categories of a rank, the largest first", "specimens in a category"
    )
    ranks = [rank for rank in statistics.ranks if rank.categories]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(RANKS)))
    colours = dict(zip(RANKS, shades, strict=True)) | {"dna_bin": PALETTE[1], "dna_barcode": PALETTE[4]}
    for rank in ranks:
        sizes, counts = np.array(rank.category_sizes).T
        last = np.cumsum(counts)
        places = np.column_stack([last - counts + 1, last]).ravel()
        label = f"{RANK_NAMES.get(rank.rank, rank.rank)} ({rank.categories:,})"
        style: dict[str, Any] = {"marker": "o"} if rank.categories == 1 else {}
        axes.plot(places, np.repeat(sizes, 2), color=colours[rank.rank], label=label, linewidth=2, **style)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_thousands())
    axes.legend(title="rank (categories)", frameon=False, loc="upper left", bbox_to_anchor=(1, 1), alignment="left")
    return figure


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=17, color=TEXT, weight="bold", loc="left", pad=14)
    axes.set_xlabel(x, color=TEXT, fontsize=11)
    axes.set_ylabel(y, color=TEXT, fontsize=11)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, which="both")
    axes.spines[:].set_visible(False)
    return figure, axes


def _thousands() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value:,.0f}")


PICTURES = (
    Picture(
        "taxonomy",
        "Rings of classes, orders and families; the angle is the number of specimens.",
        lambda statistics: taxonomy_sunburst(statistics.taxa, statistics.specimens),
        lambda statistics: not any(name for *names, _ in statistics.taxa for name in names),
    ),
    Picture(
        "sites",
        "Map of the world with a dot for each cell of one degree where specimens were collected.",
        lambda statistics: site_map(statistics.places, statistics.specimens),
        lambda statistics: not statistics.places,
    ),
    Picture(
        "barcode_lengths",
        "Number of barcodes of each length.",
        barcode_lengths,
        lambda statistics: not statistics.barcodes.lengths,
    ),
    Picture(
        "category_sizes",
        "Specimens of each category, the largest first, one line for each rank.",
        category_sizes,
        lambda statistics: not any(rank.categories for rank in statistics.ranks),
    ),
)
