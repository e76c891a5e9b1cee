"""The barcodes of a library as points of a plane, where similar ones lie close together."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.evaluation.cached import default_cache
from bioscan_hf.evaluation.clustering.reduction import reduce
from bioscan_hf.evaluation.clustering.settings import Clustering
from bioscan_hf.identification.barcode_space import FITS
from bioscan_hf.identification.library import Library

MAX_POINTS = 5000
"""Barcodes that are drawn; of more, so many are taken at random."""
UMAP = Clustering(reduction="umap", dimensions=2, neighbours=15, min_dist=0.8)
SEED = 0
# Two who open the page at once wait for one computation.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Points:
    """P keys of a library in a plane.

    Attributes:
        keys: int64 (P,): which of the library's keys, ascending.
        places: float32 (P, 2): the longer side of their rectangle goes from 0 to 1, the shorter from 0 to less.
        method: How they were laid out, for the page.
        total: Keys that could have been drawn.
    """

    keys: NDArray[np.int64]
    places: NDArray[np.float32]
    method: str
    total: int


def library_points(library: Library, cache: Path | None = None) -> Points:
    """Lay out the keys of a library, or look up how they were laid out before.

    UMAP needs more than 15 points; fewer lie along their two principal components.

    Args:
        library: The library.
        cache: Folder of maps; by default in the cache of Hugging Face.

    Raises:
        ImportError: If umap-learn is missing.
    """
    keys, total = _drawn(library)
    vectors = library.vectors[keys].float().numpy()
    seen = (vectors != 0).any(axis=1)  # an encoder sees nothing in a barcode that is too short for it
    keys, vectors = keys[seen], vectors[seen]
    if len(keys) <= UMAP.neighbours:
        return Points(keys, _from_zero(_turned(vectors)), "principal components", total)
    path = map_file(vectors, cache)
    with _LOCK:
        places = _read(path, len(keys))
        if places is None:
            places = _from_zero(_turned(reduce(vectors, UMAP, seed=SEED)))
            with suppress(OSError):  # where nothing can be kept, it is laid out again next time
                write_map(path, places)
    return Points(keys, places, "UMAP", total)


def map_file(vectors: NDArray[np.float32], cache: Path | None = None) -> Path:
    """Where the places of vectors are kept: under a name made of all that decides on them.

    Args:
        vectors: (P, D).
        cache: As for `library_points`.
    """
    content = hashlib.sha256(json.dumps([version("umap-learn"), repr(UMAP), SEED, vectors.shape]).encode())
    content.update(np.ascontiguousarray(vectors).data)
    folder = default_cache().with_name("maps") if cache is None else cache
    return folder / f"{content.hexdigest()[:20]}.npy"


def write_map(path: Path, places: NDArray[np.float32]) -> None:
    """Keep places, (P, 2)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    np.save(content, places, allow_pickle=False)
    with whole_file(path) as file:
        file.write(content.getvalue())


def _read(path: Path, count: int) -> NDArray[np.float32] | None:
    """What is kept; None if there is nothing, or it is damaged."""
    try:
        places: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return places if places.shape == (count, 2) and places.dtype == np.float32 else None


def _drawn(library: Library) -> tuple[NDArray[np.int64], int]:
    """Keys whose barcodes fit the gene, at most `MAX_POINTS`, and how many there are."""
    keys = np.flatnonzero(library.flags & FITS)
    chosen = keys
    if len(keys) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(SEED).choice(keys, MAX_POINTS, replace=False))
    return chosen, len(keys)


def _turned(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first two principal components, (P, 2): places in a plane are turned, so that they are wide, not high."""
    turned = np.zeros((len(vectors), 2), np.float32)
    if len(vectors):
        left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        turned[:, : len(sizes)] = left[:, :2] * sizes[:2]
    return turned


def _from_zero(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move and scale places, (P, 2); those that are all the same become 0."""
    if not len(places):
        return places
    extent = np.ptp(places, axis=0).max()
    return np.asarray((places - places.min(axis=0)) / max(extent, 1e-9), np.float32)
