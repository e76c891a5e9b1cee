"""Selections of specimens."""

from __future__ import annotations

from datasets import Dataset

from bioscan_hf.data.features import resolve_split


def select_split(dataset: Dataset, split: str) -> Dataset:
    """Keep the specimens of a split, a union of splits or a sum such as `train+val` (see `resolve_split`).

    Args:
        dataset: Needs the column `split`.
        split: Name of what to keep.

    Raises:
        ValueError: If `split` is not known.

    >>> from bioscan_hf import load_specimens, select_split
    >>> set(select_split(load_specimens(), "seen")["split"]) == {"train", "val", "test"}
    True
    """
    wanted = set(resolve_split(split))
    # The column as a whole: to go through it row by row takes fifty times as long.
    splits = dataset.with_format(None)["split"][:]
    return dataset.select([i for i, name in enumerate(splits) if name in wanted])
