"""Selections of specimens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    wanted = pa.array(resolve_split(split), pa.string())
    # As Arrow has them: lists of five million names and places would take a gigabyte.
    splits = dataset.with_format("arrow").select_columns("split")[:]["split"].cast(pa.string())
    return dataset.select(np.flatnonzero(pc.is_in(splits, value_set=wanted)))
