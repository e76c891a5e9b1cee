"""The taxa of a dataset as a tree, for classifiers whose ranks agree with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS

_TEXT = ("string", "large_string", "string_view", "null")  # a column of None alone has the type null
_Taxon = tuple[int, str]  # place of the rank in `ranks`, name


@dataclass(frozen=True)
class TaxonTree:
    """Taxa at some ranks, each with one lineage.

    Attributes:
        ranks: From broad to fine.
        taxa: The names at each rank, sorted; a label is an index into them.
        lineages: For each leaf, a taxon without others below it: the index of its taxon at each rank, -1 for none.
    """

    ranks: tuple[str, ...]
    taxa: dict[str, list[str]]
    lineages: list[list[int]]

    @classmethod
    def of(cls, specimens: Dataset, ranks: Sequence[str] = ("order", "family", "genus", "species")) -> TaxonTree:
        """Find the tree of the labels of some specimens.

        Of several parents that specimens give a taxon, the finest counts, and of several at one rank the most frequent:
        where some specimens of a genus have a subfamily and others none, the genus belongs to the subfamily.

        Args:
            specimens: Needs a column per rank; None and the empty text are no label.
            ranks: Some of `bioscan_hf.data.features.RANKS`, from broad to fine.

        Raises:
            ValueError: If `ranks` are not such, a column is missing or no text, or no specimen has a label.
        """
        if not ranks or list(ranks) != [rank for rank in RANKS if rank in ranks]:
            raise ValueError(f"`ranks` must be some of {list(RANKS)}, in this order; got {list(ranks)}.")
        parents = _parents(_distinct_rows(specimens, ranks))
        if not parents:
            raise ValueError(f"None of the specimens has a label at the ranks {list(ranks)}.")
        taxa = {rank: sorted(name for place, name in parents if place == i) for i, rank in enumerate(ranks)}
        index = {(i, name): j for i, rank in enumerate(ranks) for j, name in enumerate(taxa[rank])}
        leaves = sorted(set(parents) - set(parents.values()), key=lambda taxon: (-taxon[0], taxon[1]))
        lineages = []
        for leaf in leaves:
            row = [-1] * len(ranks)
            taxon: _Taxon | None = leaf
            while taxon is not None:
                row[taxon[0]] = index[taxon]
                taxon = parents[taxon]
            lineages.append(row)
        return cls(tuple(ranks), taxa, lineages)

    def labels(self, specimens: Dataset) -> NDArray[np.int64]:
        """Label specimens at each rank.

        The finest name of a specimen that the tree knows decides; broader ranks follow from it, so that a specimen
        without its genus, or with another one than its species has in the tree, gets that of the tree.

        Args:
            specimens: N specimens, with a column per rank.

        Returns:
            (N, ranks); -1 for no label.

        Raises:
            ValueError: If a column is missing or no text.
        """
        # The labels that follow from each taxon; first those of no taxon.
        rows = [np.full((1, len(self.ranks)), -1)]
        row_of = np.zeros(len(specimens), np.int32)
        lineages = np.array(self.lineages)
        # From broad to fine: what is found last stays.
        for i, (rank, column) in enumerate(zip(self.ranks, _columns(specimens, self.ranks), strict=True)):
            own = lineages[:, i]
            above = np.full((len(self.taxa[rank]), len(self.ranks)), -1)
            above[own[own >= 0], : i + 1] = lineages[own >= 0, : i + 1]
            index = pc.index_in(column, pa.array(self.taxa[rank], pa.string())).fill_null(-1).to_numpy()
            np.copyto(row_of, index + sum(map(len, rows)), where=index >= 0)
            rows.append(above)
        labels: NDArray[np.int64] = np.concatenate(rows)[row_of]
        return labels

    def as_config(self) -> dict[str, Any]:
        """Fields of `BarcodeBertConfig` for a classifier of these taxa."""
        return {"ranks": list(self.ranks), "taxa": self.taxa, "lineages": self.lineages}


def _columns(specimens: Dataset, ranks: Sequence[str]) -> list[pa.ChunkedArray]:
    """The names at each rank, as text."""
    others = [rank for rank in ranks if getattr(specimens.features.get(rank), "dtype", None) not in _TEXT]
    if others:
        raise ValueError(f"The specimens need a column of names (text) for each rank; {others} are missing or no text.")
    table = specimens.select_columns(list(ranks)).with_format("arrow")[:]
    return [table[rank].cast(pa.string()) for rank in ranks]


def _distinct_rows(specimens: Dataset, ranks: Sequence[str]) -> list[tuple[tuple[str | None, ...], int]]:
    """The different combinations of labels, and how many specimens have each."""
    table = pa.table(dict(zip(ranks, _columns(specimens, ranks), strict=True)))
    counted = table.group_by(list(ranks)).aggregate([([], "count_all")]).to_pydict()
    return list(zip(zip(*(counted[rank] for rank in ranks), strict=True), counted["count_all"], strict=True))


def _parents(rows: Sequence[tuple[tuple[str | None, ...], int]]) -> Mapping[_Taxon, _Taxon | None]:
    """The next broader taxon of each, None for the broadest."""
    votes: dict[_Taxon, dict[_Taxon, int]] = defaultdict(lambda: defaultdict(int))
    for names, count in rows:
        parent: _Taxon | None = None
        for i, name in enumerate(names):
            if name:
                own = votes[i, name]
                if parent is not None:
                    own[parent] += count
                parent = (i, name)
    # The finest parent, then the most frequent, then the first by name.
    return {
        taxon: min(given, key=lambda parent: (-parent[0], -given[parent], parent[1]), default=None)
        for taxon, given in votes.items()
    }
