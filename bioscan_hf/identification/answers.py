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
    """What is told of a library's specimens.

    Attributes:
        columns: `processid`, `taxon` (the finest name that the library has for it) and `dna_bin`, a row for each.
    """

    columns: dict[str, pa.ChunkedArray]

    @classmethod
    def of(cls, library: Library) -> Described:
        """Read them."""
        table = library.columns(["processid", "dna_bin"])
        labels = library.keys.labels[library.keys.of_specimen]
        finest = np.where((labels >= 0).any(axis=1), len(RANKS) - 1 - (labels[:, ::-1] >= 0).argmax(axis=1), -1)
        taxa = np.full(len(labels), None, object)
        for place, rank in enumerate(RANKS):
            rows = finest == place
            taxa[rows] = np.array(library.taxa[rank], object)[labels[rows, place]]
        return cls(
            {
                "processid": table["processid"].combine_chunks(),
                "taxon": pa.array(taxa, pa.string()),
                "dna_bin": table["dna_bin"].combine_chunks(),
            }
        )

    def at(self, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Columns of some specimens, null for -1."""
        indices = pa.array(np.maximum(rows, 0), mask=rows < 0)
        return {name: column.take(indices) for name, column in self.columns.items()}
