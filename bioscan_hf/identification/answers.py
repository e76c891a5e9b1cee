"""What is told about queries, as arrays, and about the specimens that are nearest to them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.library import Library


class Answers(NamedTuple):
    """What is told about N queries.

    Attributes:
        evidence: (N,) objects: the modality by which they are named, or None.
        answered: (N,): whether there was something to go by.
        names: (N, ranks): place among the library's taxa; -1 for none.
        probabilities: (N, ranks); NaN for none.
        safe: (N,): the deepest safe rank; -1 for none.
        novelty: (N,); NaN if it is not known.
        specimens: (N, nearest): rows of the library's specimens; -1 for none.
        similarities: (N, nearest); NaN for none.
        identities: (N, nearest); NaN for none.
    """

    evidence: NDArray[Any]
    answered: NDArray[np.bool_]
    names: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    safe: NDArray[np.int64]
    novelty: NDArray[np.float32]
    specimens: NDArray[np.int64]
    similarities: NDArray[np.float32]
    identities: NDArray[np.float32]

    @classmethod
    def none(cls, count: int, nearest: int) -> Answers:
        """Nothing."""
        unknown = np.full((count, nearest), np.nan, np.float32)
        return cls(
            np.full(count, None, object),
            np.zeros(count, bool),
            np.full((count, len(RANKS)), -1),
            np.full((count, len(RANKS)), np.nan, np.float32),
            np.full(count, -1),
            np.full(count, np.nan, np.float32),
            np.full((count, nearest), -1),
            unknown,
            unknown,
        )

    def at(self, places: NDArray[np.int64]) -> Answers:
        """The answers at these places, nothing for -1 and for what is not answered."""
        none = Answers.none(len(places), self.specimens.shape[1])
        if not len(self.answered):
            return none
        used = (places >= 0) & self.answered[places]
        parts: list[Any] = [part[places] for part in self]
        return none._where(used, Answers(*parts))

    def filled_up(self, other: Answers) -> Answers:
        """These, and those of another where there are none."""
        return self._where(~self.answered & other.answered, other)

    def _where(self, mask: NDArray[np.bool_], other: Answers) -> Answers:
        pairs: list[tuple[Any, Any]] = list(zip(self, other, strict=True))
        parts = [np.where(mask.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine) for mine, theirs in pairs]
        return Answers(*parts)


class Described(NamedTuple):
    """What is told of a library's N specimens.

    Attributes:
        columns: `processid` and `dna_bin`, a row for each.
        keys: int32 (N,): key of each.
        taxa: int32 (K,): of each key the finest name that the library has for it, a place in `names`; -1 for none.
        names: Those of all ranks.
    """

    columns: dict[str, pa.Array]
    keys: NDArray[np.int32]
    taxa: NDArray[np.int32]
    names: pa.Array

    @classmethod
    def of(cls, library: Library) -> Described:
        """Read them."""
        table = library.columns(["processid", "dna_bin"])
        names: list[str] = []
        taxa = np.full(len(library.keys.first), -1, np.int32)
        # From broad to fine: what is found last stays.
        for place, rank in enumerate(RANKS):
            labels = library.keys.labels[:, place]
            taxa = np.where(labels >= 0, labels + len(names), taxa).astype(np.int32)
            names += library.taxa[rank]
        columns = {name: table[name].combine_chunks() for name in ("processid", "dna_bin")}
        return cls(columns, library.keys.of_specimen, taxa, pa.array(names, pa.string()))

    def at(self, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Columns of some specimens, null for -1: `processid`, `taxon` and `dna_bin`."""
        none = rows < 0
        indices = pa.array(np.maximum(rows, 0), mask=none)
        taxa = self.taxa[self.keys[np.maximum(rows, 0)]]
        return {
            "processid": self.columns["processid"].take(indices),
            "taxon": self.names.take(pa.array(np.maximum(taxa, 0), mask=none | (taxa < 0))),
            "dna_bin": self.columns["dna_bin"].take(indices),
        }
