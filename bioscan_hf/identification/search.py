"""The keys most similar to each query: all compared, or, of millions, those in the most similar cells."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

# Similarities that are held at once: 16 MB, of which much stays in the caches.
_SIMILARITIES = 1 << 22
# Keys that are compared at once, with up to a thousand queries: so few that float16, turned into float32, stays in the
# caches.
_KEYS = 1 << 12
_CELLS_PER_ROOT, _KEYS_PER_CELL, _PROBED = 2, 40, 16
# Keys per cell that the cells are learnt from.
_LEARNT_FROM = 64


class Index(Protocol):
    """Finds keys by cosine similarity."""

    def search(
        self, queries: NDArray[np.float32], k: int, *, without: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k most similar keys.

        Args:
            queries: (Q, D), of length 1.
            k: At most the number of keys.
            without: (K,): keys that are passed over, not all of them.

        Returns:
            Keys (Q, k), the most similar first, and of equally similar ones the first; and cosines (Q, k), to five
            digits: further ones depend on how many are compared at once.
        """


class ExactIndex:
    """Compares each query with all keys.

    Args:
        vectors: (K, D), of length 1, float32 or float16; they may be mapped from a file.
    """

    def __init__(self, vectors: torch.Tensor) -> None:
        self._vectors = vectors

    def search(
        self, queries: NDArray[np.float32], k: int, *, without: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Index`."""
        k = min(k, len(self._vectors) - (0 if without is None else int(without.sum())))
        passed_over = None if without is None else torch.from_numpy(without)
        found = np.empty((len(queries), k), np.int64)
        cosines = np.empty((len(queries), k), np.float32)
        step = max(1, _SIMILARITIES // min(len(self._vectors), _KEYS))
        for start in range(0, len(queries), step):
            block = torch.from_numpy(queries[start : start + step])
            best = _best(block, self._vectors, k, passed_over)
            rows = slice(start, start + len(block))
            cosines[rows], found[rows] = best[0].numpy(), best[1].numpy()
        return _ordered(found, cosines)


def _best(
    queries: torch.Tensor, vectors: torch.Tensor, k: int, without: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest cosines of each query, over blocks of keys."""
    values, places = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(vectors), _KEYS):
        cosines = queries @ vectors[start : start + _KEYS].float().T
        if without is not None:
            cosines.masked_fill_(without[start : start + _KEYS], -torch.inf)
        top = cosines.topk(min(k, cosines.shape[1]), dim=1)
        values, places = torch.cat([values, top.values], dim=1), torch.cat([places, top.indices + start], dim=1)
        if values.shape[1] > k:
            kept = values.topk(k, dim=1)
            values, places = kept.values, places.gather(1, kept.indices)
    return values, places


class CellIndex:
    """Compares each query with the keys of the most similar cells only, by faiss (extra `index`).

    Args:
        index: An inverted file of faiss.
        path: The file that it is mapped from, if it is.
    """

    def __init__(self, index: Any, path: Path | None = None) -> None:
        self._faiss, self._index, self._path = load_faiss(), index, path
        self._probed = min(_PROBED, index.nlist)

    @classmethod
    def build(cls, vectors: torch.Tensor) -> CellIndex:
        """Divide keys into cells, in which they are float16.

        Args:
            vectors: (K, D), of length 1, float32 or float16.

        Raises:
            OSError: If faiss is not installed.
        """
        faiss = load_faiss()
        count, dimension = vectors.shape
        cells = max(1, min(int(_CELLS_PER_ROOT * count**0.5), count // _KEYS_PER_CELL))
        index = faiss.index_factory(dimension, f"IVF{cells},SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 0
        chosen = np.sort(np.random.default_rng(0).permutation(count)[: _LEARNT_FROM * cells])
        index.train(vectors[torch.from_numpy(chosen)].float().numpy())
        for start in range(0, count, _KEYS):
            index.add(vectors[start : start + _KEYS].float().numpy())
        return cls(index)

    @classmethod
    def load(cls, path: Path) -> CellIndex:
        """Map a file that `save` wrote.

        Raises:
            OSError: If faiss is not installed, or the file cannot be read.
            ValueError: If it holds an index of another kind.
        """
        faiss = load_faiss()
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        except (RuntimeError, MemoryError) as error:
            raise OSError(
                f"'{path}' cannot be read ({str(error).splitlines()[0]}); build the library again."
            ) from error
        if not isinstance(index, faiss.IndexIVFScalarQuantizer):
            raise ValueError(f"'{path}' is no index of cells, but {type(index).__name__}; build the library again.")
        return cls(index, path)

    @property
    def shape(self) -> tuple[int, int]:
        """Keys, and entries of a vector."""
        return self._index.ntotal, self._index.d

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._path is not None:
            shutil.copyfile(self._path, path)
            return
        try:
            self._faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise OSError(f"'{path}' cannot be written ({str(error).splitlines()[0]}); free some space.") from error

    def search(
        self, queries: NDArray[np.float32], k: int, *, without: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Index`; where the cells hold fewer than k keys, the last one found stands for the missing."""
        # As torch has them: a thread of several that search at a time shall have no threads of its own.
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        options = {"nprobe": self._probed}
        if without is not None:
            options["sel"] = self._faiss.IDSelectorBitmap(np.packbits(~without, bitorder="little"))
        cosines, found = self._index.search(
            queries, min(k, self._index.ntotal), params=self._faiss.SearchParametersIVF(**options)
        )
        if found.max(initial=0) >= self._index.ntotal:
            raise ValueError(f"'{self._path}' is damaged: it names keys that there are not; build the library again.")
        missing = found < 0
        last = np.maximum((~missing).sum(axis=1, keepdims=True) - 1, 0)
        found = np.where(missing, np.take_along_axis(found, last, axis=1), found)
        return _ordered(np.maximum(found, 0), np.where(missing, -1.0, cosines).astype(np.float32))


def _ordered(found: NDArray[np.int64], cosines: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keys and rounded cosines of each query, in their order."""
    cosines = cosines.round(5)
    order = np.lexsort((found, -cosines), axis=1)
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def load_faiss() -> Any:
    """Import faiss.

    Raises:
        OSError: If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise OSError(
            "An index of cells needs faiss: `pip install 'bioscan-hf[index]'`, or use the exact one."
        ) from error
    return faiss
