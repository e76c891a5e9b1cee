"""The specimens of a run: which are trained on, and which are for evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, IterableDataset

from bioscan_hf.data.anywhere import has_splits, load_anywhere
from bioscan_hf.training.arguments import BarcodeDataArguments, DataArguments


def training_specimens(arguments: DataArguments, columns: Sequence[str], default: str) -> Dataset | IterableDataset:
    """What to train on: `train_split`, else the default splits, and of data without splits all.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If there is nothing of the split, or a record is bad.
    """
    split = arguments.train_split
    if split is None and has_splits(arguments.data, arguments.splits):
        split = default
    return load_anywhere(arguments.data, columns, split=split, splits=arguments.splits, streaming=arguments.streaming)


def evaluation_specimens(arguments: BarcodeDataArguments, columns: Sequence[str], default: str) -> Dataset | None:
    """What to evaluate with during training: `eval_split`, else what there is of the default splits.

    Returns:
        At most `max_eval_samples` specimens, the same each time; None if there are none and none were asked for.

    Raises:
        ValueError: If there is nothing of `eval_split`.
    """
    split = arguments.eval_split or default
    if arguments.eval_split is None and not has_splits(arguments.data, arguments.splits):
        return None
    try:
        specimens = load_anywhere(arguments.data, columns, split=split, splits=arguments.splits)
    except ValueError:
        # A file need not have the splits that nobody asked for.
        if arguments.eval_split is not None:
            raise
        return None
    assert isinstance(specimens, Dataset)
    if arguments.max_eval_samples is not None and len(specimens) > arguments.max_eval_samples:
        order = np.random.default_rng(0).permutation(len(specimens))
        specimens = specimens.select(np.sort(order[: arguments.max_eval_samples]))
    return specimens
