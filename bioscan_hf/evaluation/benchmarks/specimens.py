"""Specimens for a benchmark, from wherever they may lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.anywhere import has_splits, load_anywhere
from bioscan_hf.data.features import RANKS, resolve_split
from bioscan_hf.data.partition import partition
from bioscan_hf.evaluation.metrics.base import UNLABELLED

_COLUMNS = ("processid", "split", "dna_bin", "dna_barcode", *RANKS)

Say = Callable[[str], None]
"""Told in a sentence what a user should know."""


def load_labelled(
    source: str | Path,
    split: str,
    *,
    splits: Path | None = None,
    image: bool = False,
    limit: int | None = None,
    seed: int = 0,
    draw_splits: bool = True,
    say: Say,
) -> Dataset:
    """Load the specimens of some splits, with their labels and what encoders need.

    Args:
        source: As in `load_anywhere`.
        split: Sum of splits, such as `train+test`.
        splits: Table that replaces the column `split` of a file.
        image: Whether to load images, too.
        limit: Specimens of each split, drawn at random, that are kept; None for all.
        seed: Of the draws.
        draw_splits: Whether specimens of a file without splits are assigned to some (see `partition`); otherwise all of
            them are taken.
        say: Told if splits were drawn.

    Returns:
        The specimens, in the order of their process ids, as the reference has them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a record is bad, or there are no specimens of the splits.
        OSError: If the Hub does not answer.
    """
    columns = ["image", *_COLUMNS] if image else list(_COLUMNS)
    resolve_split(split)  # a misspelt one is an error before anything is read
    has_own = has_splits(source, splits)
    specimens = load_anywhere(source, columns, split=split if has_own else None, splits=splits)
    assert isinstance(specimens, Dataset)
    if not has_own and draw_splits:
        drawn = pa.array(partition(specimens, seed=seed), pa.string())
        specimens = specimens.remove_columns("split").add_column("split", drawn)
        say("The data have no splits; train, test and test_unseen were drawn.")
    rows = rows_of(specimens, split) if has_own or draw_splits else np.arange(len(specimens))
    if not len(rows):
        raise ValueError(
            f"'{source}' has no specimens of the split {split!r}; give its splits by a table (`--splits`)."
        )
    if limit is not None:
        rows = _limited(rows, np.array(specimens["split"], dtype=object), limit, seed)
    processids = np.array(specimens["processid"], dtype=object)
    return specimens.select(rows[np.argsort(processids[rows], kind="stable")])


def rows_of(specimens: Dataset, split: str) -> NDArray[np.int64]:
    """Rows of the specimens of a split, or of a sum of them."""
    return np.flatnonzero(np.isin(np.array(specimens["split"], dtype=object), resolve_split(split)))


def label_numbers(specimens: Dataset, names: Sequence[str]) -> NDArray[np.int64]:
    """Number the labels of some columns, each column by itself.

    Args:
        specimens: N specimens.
        names: R columns: ranks, or `dna_bin`.

    Returns:
        (N, R); -1 for specimens without label.
    """
    numbers = np.empty((len(specimens), len(names)), np.int64)
    for place, name in enumerate(names):
        labels = pa.array(specimens[name][:], pa.string()).dictionary_encode()
        codes = labels.indices.fill_null(UNLABELLED).to_numpy(zero_copy_only=False).astype(np.int64)
        empty = labels.dictionary.index("").as_py()
        numbers[:, place] = np.where(codes == empty, UNLABELLED, codes)
    return numbers


def _limited(rows: NDArray[np.int64], names: NDArray[np.object_], limit: int, seed: int) -> NDArray[np.int64]:
    if limit < 1:
        raise ValueError(f"Expected a limit of at least 1 specimen per split; got {limit}.")
    shuffled = np.random.default_rng(seed).permutation(rows)
    kept = [shuffled[names[shuffled] == name][:limit] for name in sorted(set(names[rows]))]
    return np.concatenate(kept)
