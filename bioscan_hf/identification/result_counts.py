"""Counts of results of identification, batch by batch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.data.statistics import CELLS, TREE_RANKS, count_cells, places_of_cells

if TYPE_CHECKING:
    from bioscan_hf.data.sunburst import Taxon

NOVELTY_BINS = 20
# Notes may hold any number; beyond so many kinds they are counted together.
KINDS_OF_NOTES = 100
OTHER_NOTES = "other notes"


class FoundTaxon(NamedTuple):
    """A taxon that is the deepest safe name of some queries.

    Attributes:
        name: Its name.
        rank: Its rank.
        queries: How many.
        identity: Mean alignment identity with their nearest specimens, 0 to 1; None if none has one.
    """

    name: str
    rank: str
    queries: int
    identity: float | None


class ResultCounts:
    """Counts what tables of results hold; the memory grows with the taxa found, not with the queries.

    Attributes:
        queries: Number of queries.
        named: Those with a name, safe or not.
        rated: Those with a probability.
        novel: Those flagged as novel.
        noted: Those with notes.
        safe_ranks: Queries by their deepest safe rank, None where no name is safe.
        evidence: Queries by what they were identified by, None where there was nothing.
        notes: Queries by note, with numbers and quoted text left out.
        novelty: (`NOVELTY_BINS`,) queries by novelty, in intervals of equal width from 0 to 1.
        identity: (101,) queries by alignment identity with the nearest specimen, in whole percent, rounded down.
        cells: (`CELLS`,) queries by place, as from `count_cells`.
    """

    def __init__(self) -> None:
        self.queries = self.named = self.rated = self.novel = self.noted = 0
        self.safe_ranks: Counter[str | None] = Counter()
        self.evidence: Counter[str | None] = Counter()
        self.notes: Counter[str] = Counter()
        self.novelty = np.zeros(NOVELTY_BINS, np.int64)
        self.identity = np.zeros(101, np.int64)
        self.cells = np.zeros(CELLS, np.int64)
        self._tree: Counter[tuple[str | None, ...]] = Counter()
        # Of each rank and name: queries, those with an identity, and the sum of these.
        self._taxa: dict[tuple[str, str], tuple[int, int, float]] = {}

    def add(self, results: pa.Table) -> None:
        """Count the rows of a table of results.

        Args:
            results: Any number of rows; columns as `Identifier` gives them.

        Raises:
            KeyError: If a column is missing.
        """
        self.queries += len(results)
        self.named += _with_any(results, RANKS)
        self.rated += _with_any(results, [f"{rank}_probability" for rank in RANKS])
        self.novel += pc.sum(results["novel"], min_count=0).as_py()
        self._count_names(results)
        self._count_notes(results["notes"])
        for evidence, count in _groups(results, ["evidence"], [([], "count_all")]):
            self.evidence[evidence] += count
        self.novelty += _histogram(results["novelty"], NOVELTY_BINS, NOVELTY_BINS)
        self.identity += _histogram(results["nearest_identity"], 100, 101)
        self.cells += count_cells(results["coord-lat"].to_numpy(), results["coord-lon"].to_numpy())

    def taxa(self) -> list[FoundTaxon]:
        """Deepest safe names, the most frequent first."""
        found = [
            FoundTaxon(name, rank, queries, identity / compared if compared else None)
            for (rank, name), (queries, compared, identity) in self._taxa.items()
        ]
        return sorted(found, key=lambda taxon: (-taxon.queries, taxon.name, taxon.rank))

    def tree(self) -> list[Taxon]:
        """Class, order and family, None where the name is not safe, and number of queries; the largest first."""
        taxa = [(names[0], names[1], names[2], count) for names, count in self._tree.items()]
        return sorted(taxa, key=lambda taxon: (-taxon[3], [name or "" for name in taxon[:3]]))

    def places(self) -> list[tuple[float, float, int]]:
        """Latitude and longitude of the middle of each cell with queries, and their number."""
        return places_of_cells(self.cells)

    def _count_names(self, results: pa.Table) -> None:
        for safe, *names, count in _groups(results, ["safe_rank", *TREE_RANKS], [([], "count_all")]):
            self.safe_ranks[safe] += count
            # Below the safe rank names are guesses.
            deepest = -1 if safe is None else RANKS.index(safe)
            safe_names = (
                name if RANKS.index(rank) <= deepest else None for rank, name in zip(TREE_RANKS, names, strict=True)
            )
            self._tree[tuple(safe_names)] += count
        sums = [([], "count_all"), ("nearest_identity", "count"), ("nearest_identity", "sum")]
        for rank, name, count, compared, identity in _groups(results, ["safe_rank", "safe_taxon"], sums):
            if rank is not None and name is not None:
                before = self._taxa.get((rank, name), (0, 0, 0.0))
                self._taxa[rank, name] = before[0] + count, before[1] + compared, before[2] + (identity or 0.0)

    def _count_notes(self, notes: pa.ChunkedArray) -> None:
        counted = pc.value_counts(notes.drop_null().combine_chunks())
        for text, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            self.noted += count
            kinds = dict.fromkeys(_kind(note) for note in text.split("; "))
            for kind in dict.fromkeys(kind if self._is_counted(kind) else OTHER_NOTES for kind in kinds):
                self.notes[kind] += count

    def _is_counted(self, kind: str) -> bool:
        return kind in self.notes or len(self.notes) < KINDS_OF_NOTES


def _kind(note: str) -> str:
    """A note without the numbers and the quoted text that differ from query to query."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+(?:[,.]\d+)*", "…", note)


def _with_any(table: pa.Table, columns: Sequence[str]) -> int:
    """How many rows have a value in any of some columns."""
    return pc.sum(pc.coalesce(*(pc.if_else(table[name].is_valid(), 1, None) for name in columns)), min_count=0).as_py()


def _groups(table: pa.Table, columns: Sequence[str], aggregates: Sequence[tuple[Any, str]]) -> list[tuple[Any, ...]]:
    """Each combination of values that occurs, followed by its aggregates."""
    grouped = table.group_by(list(columns)).aggregate(list(aggregates))
    named = [name if isinstance(name, str) else "" for name, _ in aggregates]
    order = [*columns, *(f"{name}_{how}".removeprefix("_") for name, (_, how) in zip(named, aggregates, strict=True))]
    return list(zip(*(grouped[name].to_pylist() for name in order), strict=True))


def _histogram(values: pa.ChunkedArray, per_unit: int, bins: int) -> NDArray[np.int64]:
    """How many values, between 0 and 1, lie in each of some intervals of width `1 / per_unit`."""
    numbers = values.drop_null().to_numpy().astype(np.float64)
    # Rounded first: 0.57 in single precision is a little less than 57 hundredths.
    places = np.floor(np.round(per_unit * numbers[np.isfinite(numbers)], 4)).astype(np.int64)
    return np.bincount(np.clip(places, 0, bins - 1), minlength=bins)
