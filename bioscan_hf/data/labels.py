"""Names of taxa as integers and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioscan_hf.data.features import RANKS

LABEL_COLUMNS: tuple[str, ...] = (*RANKS, "dna_bin")
"""Columns with a vocabulary."""

NO_LABEL = -1


class Labels:
    """The vocabulary of each rank: all names of the whole dataset, sorted, whatever the split.

    An index is the place of a name in that list, -1 stands for no label. These are the indices of bioscan-dataset with
    pandas 3; with pandas 2 that package numbers names differently, so a saved index needs its vocabulary beside it.

    Attributes:
        names: Names of each rank, and of `dna_bin`, by index.

    >>> labels = Labels({"order": ["Coleoptera", "Diptera"]})
    >>> labels.label2index("order", ["Diptera", None])
    array([ 1, -1])
    >>> labels.index2label("order", 0)
    'Coleoptera'
    """

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = {rank: tuple(values) for rank, values in names.items()}
        self._values = {rank: pa.array(values, pa.string()) for rank, values in self.names.items()}

    @classmethod
    def read(cls, folder: Path, ranks: Sequence[str] = LABEL_COLUMNS) -> Labels:
        """Read `<rank>.txt`, one name per line, from a folder."""
        return cls({rank: (folder / f"{rank}.txt").read_text(encoding="utf-8").splitlines() for rank in ranks})

    def encode(self, rank: str, column: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Indices, int64, of a column of names; null gives -1.

        Raises:
            ValueError: If a name is not in the vocabulary.
        """
        indices = pc.index_in(column, value_set=self._vocabulary(rank))
        unknown = pc.and_(pc.is_null(indices), pc.is_valid(column))
        if pc.any(unknown).as_py():
            name = column.filter(unknown)[0].as_py()
            raise ValueError(f"{name!r} is not in the vocabulary of {rank}, which has {len(self.names[rank]):,} names.")
        return np.asarray(pc.fill_null(indices, NO_LABEL)).astype(np.int64)

    def label2index(self, rank: str, label: str | Sequence[str | None] | None) -> int | np.ndarray:
        """Index of a name, or of each of several; no name, None or empty, gives -1.

        Raises:
            ValueError: If a name or the rank is not known.
        """
        if label is None or isinstance(label, str):
            return int(self.encode(rank, pa.array([label or None], pa.string()))[0])
        return self.encode(rank, pa.array([name or None for name in label], pa.string()))

    def index2label(self, rank: str, index: int | Sequence[int] | np.ndarray) -> str | list[str | None] | None:
        """Name of an index, or of each of several; -1 gives None.

        Raises:
            ValueError: If there is no such index or rank.
        """
        self._vocabulary(rank)
        names = self.names[rank]
        wanted = np.atleast_1d(np.asarray(index))
        if not np.issubdtype(wanted.dtype, np.integer):
            raise ValueError(f"An index must be an integer; got {index!r}. `label2index` takes names.")
        if wanted.size and (wanted.min() < NO_LABEL or wanted.max() >= len(names)):
            raise ValueError(f"{rank} has the indices 0 to {len(names) - 1}, and -1 for none; got {index!r}.")
        found = [None if i == NO_LABEL else names[i] for i in wanted.tolist()]
        return found if np.ndim(index) else found[0]

    def _vocabulary(self, rank: str) -> pa.Array:
        if rank not in self._values:
            raise ValueError(f"There are labels for {list(self.names)}; got {rank!r}.")
        return self._values[rank]
