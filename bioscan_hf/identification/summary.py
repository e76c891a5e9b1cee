"""What was identified, on one page: ranks reached, taxa found, novelty, places, notes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from jinja2 import Environment, StrictUndefined
from matplotlib.colors import to_hex

from bioscan_hf import __version__
from bioscan_hf.data.features import RANKS
from bioscan_hf.data.sunburst import LEAST_SHARE, legend
from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.identification.novelty import NOVEL
from bioscan_hf.identification.result_counts import ResultCounts
from bioscan_hf.identification.summary_pictures import (
    as_png,
    identity_histogram,
    novelty_histogram,
    sites,
    taxa_rings,
)

TAXA = 30
"""Rows of the table of taxa."""


@dataclass(frozen=True)
class Origin:
    """How results were made.

    Attributes:
        source: What was identified, one line.
        library: Name of the library.
        specimens: Specimens in the library.
        model: Name of the model.
        max_error: Share of names that may be wrong where a name is called safe.
        command: The command line, or the call.
    """

    source: str
    library: str
    specimens: int
    model: str
    max_error: float
    command: str


class Tile(NamedTuple):
    """A number at the top of the page.

    Attributes:
        name: What is counted.
        queries: The number.
        share: Its share of the queries; None if it has none.
    """

    name: str
    queries: int
    share: float | None


class Reached(NamedTuple):
    """A rank of the page.

    Attributes:
        rank: Its name.
        deepest: Queries whose deepest safe rank it is.
        named: Queries with a safe name at it: those, and the ones whose safe rank is finer.
    """

    rank: str
    deepest: int
    named: int


class Summary:
    """Counts results batch by batch, in constant memory, and writes them as a page.

    Attributes:
        counts: What was counted.
    """

    def __init__(self, counts: ResultCounts | None = None) -> None:
        """Begin with what was counted already, or with nothing."""
        self.counts = counts or ResultCounts()

    def add(self, results: pa.Table) -> None:
        """Count the rows of a table of results.

        Args:
            results: Any number of rows; columns as `Identifier` gives them.

        Raises:
            KeyError: If a column is missing.
        """
        self.counts.add(results)

    def write(self, path: Path, origin: Origin) -> None:
        """Write one HTML file that holds its pictures and asks the network for nothing.

        Args:
            path: Where to write; a missing folder is made.
            origin: How the results were made.

        Raises:
            OSError: If it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(self.page(origin).encode())

    def page(self, origin: Origin) -> str:
        """The page as HTML.

        Args:
            origin: How the results were made.
        """
        counts = self.counts
        taxa = counts.taxa()
        template = (files("bioscan_hf.identification") / "summary.html").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(template).render(
            origin=origin,
            counts=counts,
            tiles=_tiles(counts),
            reached=_reached(counts),
            taxa=taxa[:TAXA],
            distinct_taxa=len(taxa),
            notes=sorted(counts.notes.items(), key=lambda note: (-note[1], note[0])),
            threshold=NOVEL,
            least_share=LEAST_SHARE,
            located=int(counts.cells.sum()),
            version=__version__,
            **_pictures(counts),
        )


def _tiles(counts: ResultCounts) -> list[Tile]:
    parts = {
        "named to species, safely": counts.safe_ranks["species"],
        "flagged as novel": counts.novel,
        "without a safe name": counts.safe_ranks[None],
        "with notes": counts.noted,
    }
    shares = [Tile(name, count, count / counts.queries if counts.queries else None) for name, count in parts.items()]
    return [Tile("queries", counts.queries, None), *shares]


def _reached(counts: ResultCounts) -> list[Reached]:
    """All ranks, the finest first."""
    rows: list[Reached] = []
    for rank in reversed(RANKS):
        deepest = counts.safe_ranks[rank]
        rows.append(Reached(rank, deepest, deepest + (rows[-1].named if rows else 0)))
    return rows


def _pictures(counts: ResultCounts) -> dict[str, Any]:
    """Pictures as PNG in base64, None where there is nothing to draw, and the legends of the rings."""
    tree, places = counts.tree(), counts.places()
    drawn = any(name for *names, _ in tree for name in names)
    legends = [
        (
            title,
            [
                (name, share.replace("%", "\u00a0%"), to_hex(colour))
                for name, share, colour in legend(tree, level, counts.queries)
            ],
        )
        for level, title in enumerate(("Class", "Order"))
        if drawn
    ]
    return {
        "legends": legends,
        "rings": as_png(taxa_rings(tree, counts.queries)) if drawn else None,
        "novelty": as_png(novelty_histogram(counts.novelty, NOVEL)) if counts.novelty.any() else None,
        "identity": as_png(identity_histogram(counts.identity)) if counts.identity.any() else None,
        "map": as_png(sites(places)) if places else None,
    }
