"""Pictures of results of identification: small, so that their text can be read on a phone."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from bioscan_hf.data.pictures import GRID, Place, draw_sites
from bioscan_hf.data.sunburst import MUTED, PALETTE, TEXT, Taxon, draw_rings

DPI = 180
# Of rings and map; the histograms stand side by side.
INCHES = 5.6
KNOWN, NEW = PALETTE[0], PALETTE[1]
# Share of the queries at the low end that the histogram of identities draws as one bar.
TAIL = 0.005


def as_png(figure: Figure) -> str:
    """A picture as PNG in base64."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return base64.b64encode(content.getvalue()).decode()


def taxa_rings(taxa: Sequence[Taxon], queries: int) -> Figure:
    """Draw the classes, orders and families of safe names as rings.

    Args:
        taxa: Class, order, family, None where there is no safe name, and number of queries.
        queries: Number of all queries.
    """
    figure = Figure(figsize=(INCHES, INCHES))
    # Names of families need the same margin, in points, as in a large picture.
    draw_rings(figure.add_axes((0, 0, 1, 1)), taxa, queries, unit="queries", inches=INCHES, extent=1.62)
    return figure


def sites(places: Sequence[Place]) -> Figure:
    """Draw a map with a dot for each cell of one degree.

    Args:
        places: Latitude and longitude in decimal degrees, and number of queries, of each cell; at least one.
    """
    figure = Figure(figsize=(INCHES, 0.52 * INCHES))
    axes = figure.add_axes((0.005, 0.14, 0.99, 0.85))
    draw_sites(axes, figure.add_axes((0.03, 0.085, 0.94, 0.03)), places, dot=0.5)
    axes.margins(0.005)
    return figure


def novelty_histogram(counts: NDArray[np.int64], threshold: float) -> Figure:
    """Draw how many queries have which novelty; those that are flagged have another colour.

    Args:
        counts: (N,) queries in N intervals of equal width from 0 to 1.
        threshold: From where on a query is flagged as novel.
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    figure, axes = _axes("novelty")
    flagged = edges[:-1] >= threshold - 1e-9
    axes.bar(edges[:-1], counts, 0.9 / len(counts), align="edge", color=np.where(flagged, NEW, KNOWN))
    axes.axvline(threshold, color=TEXT, linewidth=1, linestyle="--")
    axes.text(threshold + 0.01, 1.01, "flagged as novel", transform=axes.get_xaxis_transform(), fontsize=9, color=TEXT)
    axes.set_xlim(0, 1)
    return figure


def identity_histogram(counts: NDArray[np.int64]) -> Figure:
    """Draw how many queries have which alignment identity with their nearest specimen.

    Args:
        counts: (101,) queries whose identity in whole percent, rounded down, is 0 to 100; at least one. The last ones
            are identical with their nearest specimen.
    """
    lowest = min(int(np.searchsorted(np.cumsum(counts), TAIL * counts.sum(), side="right")), 90)
    shown = counts[lowest:].copy()
    shown[0] += counts[:lowest].sum()
    percent = np.arange(lowest, 101)
    figure, axes = _axes("identity with the nearest specimen (%)")
    colours = np.where(percent < 100, KNOWN, PALETTE[2])
    axes.bar(percent, shown, 0.9, color=colours)
    identical = f"{counts[100] / counts.sum():.0%} identical"
    axes.text(1, 1.01, identical, transform=axes.transAxes, fontsize=9, color=TEXT, ha="right")
    axes.set_xlim(lowest - 0.6, 100.6)
    step = next(step for step in (1, 2, 5, 10, 20) if 100 - lowest <= 6 * step)
    axes.set_xticks(range(100, lowest - 1, -step))
    if counts[:lowest].any():
        axes.text(0, 1.01, f"first bar: below {lowest + 1}", transform=axes.transAxes, fontsize=9, color=MUTED)
    return figure


def _axes(label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(label, color=TEXT, fontsize=10)
    axes.set_ylabel("queries", color=TEXT, fontsize=10)
    axes.grid(color=GRID, linewidth=0.8, axis="y")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    return figure, axes
