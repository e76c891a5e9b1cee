"""Embeddings that were computed before, looked up by process id.

For what `bioscan embed` wrote, and for models whose own code does not run beside this package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.base import Report, column
from bioscan_hf.evaluation.encoders.embedding_files import find_files, open_embeddings, says_which

_SHOWN = 5


class Precomputed:
    """An encoder that computes nothing.

    Three kinds of files are read, with their rows in any order:

    - Parquet, one file or a folder of them, as `bioscan embed` writes: the columns `processid` and `embedding` (lists
      of equal length);
    - `.npz`: the arrays `processids` (N,) and `embeddings` (N, D), without pickled objects;
    - `.safetensors`: the tensor `embeddings` (N, D), and in the metadata `processids`, a JSON list.

    Of Parquet and safetensors a few thousand rows are read at a time, so that a file may be larger than the memory;
    `.npz` is read whole.

    Attributes:
        name: Name of the file, without ending.
        dimension: D.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a file: process ids are read and checked, the vectors when they are needed.

        Args:
            path: The file, or a folder of Parquet files.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is of another kind, damaged or laid out otherwise, or a process id occurs twice.
        """
        self._path = Path(path).expanduser()
        self._files = find_files(self._path)
        with says_which(self._path):
            self._stored = open_embeddings(self._files)
        self.name = self._path.resolve().stem
        self.dimension = self._stored.dimension
        self._revision: str | None = None
        counts = pc.value_counts(self._stored.processids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        if len(repeated):
            raise ValueError(f"'{self._path}' has more than one embedding of {_some(repeated)}.")

    @property
    def revision(self) -> str:
        """Digest of the content (see `bioscan_hf.data.files.digest`)."""
        # Not before it is asked for: it reads the whole file.
        if self._revision is None:
            self._revision = digest(*self._files)
        return self._revision

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        """Look up the vector of each specimen.

        Args:
            specimens: N specimens with the column `processid`.
            report: Called after each part of the file with the number of rows read and of all.

        Returns:
            (N, D), in the order of `specimens`, as they are stored.

        Raises:
            ValueError: If a specimen has no embedding, or one that is not finite; the message names some.
        """
        wanted = pa.array(column(specimens, "processid"), pa.string())
        processids = self._stored.processids
        found = pc.index_in(wanted, value_set=processids)
        if found.null_count:
            raise ValueError(
                f"'{self._path}' has no embedding of {_some(wanted.filter(found.is_null()))}; compute them as well, or "
                "leave these specimens out."
            )
        places = found.to_numpy()
        order = np.argsort(places, kind="stable")
        ascending = places[order]
        vectors = np.empty((len(wanted), self.dimension), np.float32)
        start = 0
        with says_which(self._path):
            for block in self._stored.blocks():
                first, last = np.searchsorted(ascending, [start, start + len(block)])
                rows = order[first:last]
                chosen = block[ascending[first:last] - start].astype(np.float32)
                if not (finite := np.isfinite(chosen).all(axis=1)).all():
                    bad = pc.unique(wanted.take(pa.array(rows[~finite])))
                    raise ValueError(f"embeddings must be finite, unlike that of {_some(bad)}")
                vectors[rows] = chosen
                start += len(block)
                if report:
                    report(start, len(processids))
        return vectors


def _some(processids: pa.Array) -> str:
    """Name some process ids, and count the others."""
    shown = ", ".join(repr(processid) for processid in processids[:_SHOWN].to_pylist())
    more = len(processids) - _SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
