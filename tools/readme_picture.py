"""Draw what the package does: two simulated specimens, and what `Identifier` says about them.

python tools/readme_picture.py docs/images/identification.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bioscan_hf import Identifier, Library, load_specimens, select_split
from bioscan_hf.data.features import RANKS
from bioscan_hf.data.pictures import GRID, draw_sites, equal_earth
from bioscan_hf.data.sunburst import MUTED, PALETTE, TEXT

# Each with what the reader is told about it; the identifier sees the barcode only.
QUERIES = (
    ("SIMA2930-26", "a specimen of a species that the library has"),
    ("SIMA3953-26", "a specimen of a species that the library does not have"),
)
NEAREST = 3
SURE, NEW, UNSURE, EMPTY = PALETTE[0], "#d1622f", "#c9d3dc", "#f1f4f7"
COLOURS = {"A": PALETTE[2], "C": PALETTE[0], "G": PALETTE[3], "T": PALETTE[4]}
STRIPES = 60
Row = Mapping[str, Any]


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="picture to write")
    output = parser.parse_args().output
    specimens = load_specimens(image=True)
    others = select_split(specimens, "val+val_unseen+other_heldout")
    identifier = Identifier(Library.build(select_split(specimens, "train"), calibration=others), nearest=NEAREST)
    rows = {processid: row for row, processid in enumerate(specimens["processid"])}
    figure = Figure(figsize=(13, 7), facecolor="white")
    for place, (processid, title) in enumerate(QUERIES):
        query = specimens[rows[processid]]
        [answer] = identifier([query["dna_barcode"]], [processid]).to_pylist()
        draw(figure, 0.52 - 0.49 * place, title, query, answer, specimens, rows)
    note = "Simulated specimens of the embedded sample: every name is invented."
    figure.text(0.988, 0.012, note, fontsize=9, color=MUTED, ha="right")
    figure.savefig(output, dpi=110)


def draw(
    figure: Figure, bottom: float, title: str, query: Row, answer: Row, specimens: Dataset, rows: Mapping[str, int]
) -> None:
    """One query and its answer, side by side.

    Args:
        figure: Where to draw.
        bottom: Of this half, as a share of the height.
        title: What the reader is told about the query.
        query: The specimen.
        answer: Row of the results.
        specimens: All of the sample.
        rows: Row of each process id in them.
    """
    places = ["nearest" if i == 0 else f"nearest_{i + 1}" for i in range(NEAREST)]
    nearest = [specimens[rows[answer[f"{place}_processid"]]] for place in places]
    figure.text(0.012, bottom + 0.43, title, fontsize=14, color=TEXT, weight="bold")
    letters = query["dna_barcode"]
    for left, words in (
        (0.197, "names, and how sure they are"),
        (0.57, "nearest in the library"),
        (0.79, "where they were collected"),
    ):
        figure.text(left, bottom + 0.385, words, fontsize=11, color=MUTED)
    photograph(figure.add_axes((0.012, bottom + 0.1, 0.15, 0.279)), query)
    stripes(figure.add_axes((0.012, bottom + 0.047, 0.15, 0.03)), letters[:STRIPES])
    figure.text(0.012, bottom + 0.02, f"barcode, {STRIPES} of {len(letters)} letters", fontsize=9, color=MUTED)
    names(figure.add_axes((0.195, bottom + 0.01, 0.35, 0.365)), answer)
    for row, (place, specimen) in enumerate(zip(places, nearest, strict=True)):
        axes = figure.add_axes((0.57, bottom + 0.263 - 0.122 * row, 0.06, 0.112))
        photograph(axes, specimen)
        identity = f"{100 * answer[f'{place}_identity']:.1f} % equal letters"
        axes.text(1.1, 0.58, specimen["species"], transform=axes.transAxes, fontsize=9, color=TEXT, style="italic")
        axes.text(1.1, 0.28, identity, transform=axes.transAxes, fontsize=9, color=MUTED)
    sites(figure, bottom, query, nearest)


def photograph(axes: Axes, specimen: Row) -> None:
    """The image of a specimen."""
    axes.imshow(specimen["image"])
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(GRID)


def stripes(axes: Axes, letters: str) -> None:
    """A stripe for each letter."""
    axes.imshow([[to_rgb(COLOURS.get(letter, "white")) for letter in letters]], aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def names(axes: Axes, answer: Row) -> None:
    """A bar for each rank, the safe rank marked, and a line about novelty."""
    shown = [rank for rank in RANKS if rank != "phylum" and answer[rank]]
    safe = RANKS.index(answer["safe_rank"])
    axes.set(xlim=(-0.3, 1.6), ylim=(len(shown) + 0.9, -0.6), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    for line, rank in enumerate(shown):
        sure, told = answer[f"{rank}_probability"], RANKS.index(rank) <= safe
        style = "italic" if rank in ("genus", "species") else "normal"
        axes.barh(line, 1, 0.66, color=EMPTY)
        axes.barh(line, sure, 0.66, color=SURE if told else UNSURE)
        axes.text(-0.03, line, rank, ha="right", va="center", fontsize=10, color=MUTED)
        axes.text(0.02, line, answer[rank], va="center", fontsize=10, color="white" if told else MUTED, style=style)
        axes.text(1.02, line, f"{100 * sure:.1f} %", va="center", fontsize=10, color=TEXT if told else MUTED)
        if rank == answer["safe_rank"]:
            axes.text(1.26, line, "safe to here", va="center", fontsize=10, color=SURE, weight="bold")
    words = "probably new to the library" if answer["novel"] else "not new to the library"
    verdict = f"{words} (novelty {answer['novelty']:.2f})"
    axes.text(
        0, len(shown) + 0.3, verdict, va="center", fontsize=12, color=NEW if answer["novel"] else TEXT, weight="bold"
    )


def sites(figure: Figure, bottom: float, query: Row, nearest: Sequence[Row]) -> None:
    """A map of where the query and the nearest specimens are from."""
    located = [(query, NEW, 130), *((specimen, SURE, 50) for specimen in nearest)]
    axes, scale = figure.add_axes((0.785, bottom + 0.1, 0.21, 0.27)), figure.add_axes((0, 0, 0.01, 0.01))
    draw_sites(axes, scale, [(own["coord-lat"], own["coord-lon"], 1) for own, *_ in located], dot=0.01)
    scale.set_visible(False)
    axes.margins(0.005)
    for own, colour, size in located:
        [[x, y]] = equal_earth(np.array([own["coord-lon"]]), np.array([own["coord-lat"]]))
        axes.scatter(x, y, s=size, color=colour, edgecolors="white", linewidths=1, zorder=4)
    for left, colour, what in ((0.79, NEW, "this specimen"), (0.88, SURE, "the nearest")):
        figure.text(left, bottom + 0.045, "●", fontsize=10, color=colour)
        figure.text(left + 0.013, bottom + 0.047, what, fontsize=9, color=MUTED)


if __name__ == "__main__":
    main()
