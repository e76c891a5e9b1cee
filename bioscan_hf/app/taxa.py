"""The taxa of a library: which keys belong to them, how frequent they are, and in which colours they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.data.sunburst import PALETTE, Colour, Taxon
from bioscan_hf.identification.library import Library

COLOURS: tuple[Colour, ...] = tuple(map(to_rgb, (*PALETTE, "#7766cc", "#117733", "#dd77aa")))
"""Of the most frequent taxa, the most frequent first."""
# Those in between are missing for many specimens, which would leave gaps.
_RINGS = ("class", "order", "family", "genus", "species")
TaxonPath = tuple[str, ...]
"""Names from the broadest on, at the first of `LibraryTaxa.ranks`; empty for all specimens."""


class Frequent(NamedTuple):
    """A frequent taxon.

    Attributes:
        name: Its name.
        label: Its place among the library's taxa of its rank.
        specimens: How many there are.
        colour: How it is drawn.
    """

    name: str
    label: int
    specimens: int
    colour: Colour


class LibraryTaxa:
    """The taxa of a library's keys.

    Attributes:
        library: The library.
        named: Ranks at which it has names, from the broadest.
        ranks: Those of them that are drawn as rings, of which three are seen at once.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.named = tuple(rank for rank in RANKS if library.taxa[rank])
        self.ranks = tuple(rank for rank in _RINGS if rank in self.named) or self.named

    def labels(self, rank: str) -> NDArray[np.int32]:
        """Place of each key's taxon among those of a rank, (K,); -1 for none."""
        return self.library.keys.labels[:, RANKS.index(rank)]

    def known(self, path: Sequence[str]) -> TaxonPath:
        """The names of a path up to the first that the library does not have there."""
        for length in range(min(len(path), len(self.ranks)), 0, -1):
            if self.inside(tuple(path[:length])).any():
                return tuple(path[:length])
        return ()

    def inside(self, path: TaxonPath) -> NDArray[np.bool_]:
        """Which keys belong to the taxon at the end of a path, (K,)."""
        inside = np.ones(len(self.library.keys.first), bool)
        for rank, name in zip(self.ranks, path, strict=False):
            names = self.library.taxa[rank]
            inside &= self.labels(rank) == (names.index(name) if name in names else -2)
        return inside

    def specimens(self, keys: NDArray[np.bool_]) -> int:
        """How many specimens some keys, (K,), have."""
        return int(self.library.keys.specimens[keys].sum())

    def frequent(self, rank: str, keys: NDArray[np.bool_]) -> list[Frequent]:
        """The most frequent taxa of a rank among some keys, (K,), as many as there are colours."""
        names = self.library.taxa[rank]
        labels, counts = self.labels(rank)[keys], self.library.keys.specimens[keys]
        sizes = np.bincount(labels[labels >= 0], weights=counts[labels >= 0], minlength=len(names)).astype(int)
        order = np.argsort(-sizes, kind="stable")[: len(COLOURS)]
        return [
            Frequent(names[label], int(label), int(sizes[label]), colour)
            for label, colour in zip(order, COLOURS, strict=False)
            if sizes[label]
        ]

    def below(self, path: TaxonPath) -> list[Taxon]:
        """What a taxon has at the next three ranks of the rings, and how many specimens."""
        keys = self.inside(path)
        ranks = self.ranks[len(path) : len(path) + 3]
        # One number for each combination: of these, the distinct ones of millions are found in a second.
        sizes = [len(self.library.taxa[rank]) + 1 for rank in ranks]
        codes = np.ravel_multi_index([self.labels(rank)[keys] + 1 for rank in ranks], sizes)
        distinct, places = np.unique(codes, return_inverse=True)
        counts = np.bincount(places, weights=self.library.keys.specimens[keys], minlength=len(distinct))
        rows = np.stack(np.unravel_index(distinct, sizes), axis=1) - 1
        taxa: list[Taxon] = []
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            names: list[str | None] = [None, None, None]
            for place, (rank, label) in enumerate(zip(ranks, row, strict=True)):
                names[place] = self.library.taxa[rank][label] if label >= 0 else None
            taxa.append((names[0], names[1], names[2], int(count)))
        return taxa
