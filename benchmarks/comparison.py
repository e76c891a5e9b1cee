"""What a comparison is: figures of ours beside those of a peer, and the bars that they should reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

COMPARISONS = {
    "dataset": "dataset:compare",
    "images": "images:compare",
    "multimodal_loading": "multimodal_loading:compare",
    "tokens": "barcodebert:compare_tokens",
    "embedding": "barcodebert:compare_embedding",
    "training_step": "barcodebert:compare_training",
    "contrastive_loss": "clibd:compare_loss",
    "processor": "clibd:compare_processor",
    "towers": "clibd:compare_towers",
    "knn": "knn:compare",
    "ami": "ami:compare",
    "clustering": "clustering:compare",
    "identification": "identification:compare",
}
"""Module and function of each, in the order of the page."""
GIVE_PEER = "absent: give --peer PYTHON"


@dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Attributes:
        quick: Whether tiny sizes are measured in this process, to see that everything runs.
        rounds: How often what takes turns does so; the best counts.
        peer: Python of the environment of bioscan-dataset, if there is one.
        metadata: CSV in the form of the released metadata; made if not given.
        data: Specimens with labels for the identification; the embedded sample if not given.
        splits: Their table of splits, if it is apart.
    """

    quick: bool = False
    rounds: int = 2
    peer: str | None = None
    metadata: Path | None = None
    data: Path | None = None
    splits: Path | None = None


@dataclass(frozen=True)
class Bar:
    """What a figure was asked to be before it was measured.

    Attributes:
        limit: The bound.
        of: Which figure: ours, or how many times it is better than the peer's.
        least: Whether it must be at least the limit, or at most.
    """

    limit: float
    of: Literal["ratio", "ours"] = "ratio"
    least: bool = True

    def is_met(self, row: Row) -> bool | None:
        """Whether a row reaches it; None if the figure is not there."""
        value = row.ratio if self.of == "ratio" else row.ours
        if value is None:
            return None
        return value >= self.limit if self.least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """A figure of ours, and that of a peer.

    Attributes:
        what: What was measured.
        size: On how much.
        unit: Of both figures.
        way: Ours.
        ours: Its figure.
        peer: The peer's way, if there is one.
        theirs: Its figure; None if the peer is absent.
        absent: Why it is.
        higher: Whether the higher figure is the better one.
        bar: What was asked for.
    """

    what: str
    size: str
    unit: str
    way: str
    ours: float
    peer: str | None = None
    theirs: float | None = None
    absent: str | None = None
    higher: bool = False
    bar: Bar | None = None

    @property
    def ratio(self) -> float | None:
        """How many times ours is better; None without a peer's figure, or where a figure is 0."""
        if self.theirs is None or not self.ours or not self.theirs:
            return None
        return self.ours / self.theirs if self.higher else self.theirs / self.ours

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        peer = self.peer and {"way": self.peer, "value": self.theirs, "absent": self.absent}
        bar = self.bar and {
            "of": self.bar.of,
            "at_least" if self.bar.least else "at_most": self.bar.limit,
            "met": self.bar.is_met(self),
        }
        return {
            "what": self.what,
            "size": self.size,
            "unit": self.unit,
            "better": "higher" if self.higher else "lower",
            "ours": {"way": self.way, "value": self.ours},
            "peer": peer,
            "ratio": self.ratio,
            "bar": bar,
        }


@dataclass(frozen=True)
class Comparison:
    """What a program found.

    Attributes:
        title: What is compared, in some words.
        rows: The figures.
        versions: Of the packages concerned.
        checks: Whether the ways give the same, by what is said of it.
        notes: What a reader must know to judge the figures.
    """

    title: str
    rows: list[Row]
    versions: dict[str, str]
    checks: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def beside(
    what: str,
    size: str,
    unit: str,
    figures: Mapping[str, float],
    pairs: Iterable[tuple[str, str]],
    *,
    titles: Mapping[str, str],
    bars: Mapping[tuple[str, str], Bar] | None = None,
    higher: bool = False,
) -> list[Row]:
    """Rows of several ways.

    Args:
        what: What was measured.
        size: On how much.
        unit: Of the figures.
        figures: By way.
        pairs: A way of ours and one of a peer, for each row; those of which ours was not measured are left out.
        titles: Of the ways.
        bars: By pair.
        higher: Whether the higher figure is the better one.
    """
    return [
        Row(
            what,
            size,
            unit,
            titles[way],
            figures[way],
            titles[peer],
            figures.get(peer),
            absent=None if peer in figures else GIVE_PEER,
            higher=higher,
            bar=(bars or {}).get((way, peer)),
        )
        for way, peer in pairs
        if way in figures
    ]
