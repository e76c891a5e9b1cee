"""Top-k accuracy, per specimen and per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from datasets import Features, List, Value
from numpy.typing import ArrayLike

from bioscan_hf.evaluation.metrics.base import InMemoryMetric, check_depths, integer_labels, label_rows, labelled


class Accuracy(InMemoryMetric):
    """Share of right predictions, per specimen (micro) and per class (macro).

    Args:
        predictions: Integer labels, (N,), or ranked candidates, (N, K), best first. -1 is never right: fill up with it.
        references: Integer labels, (N,). Specimens of -1 have no label and are left out.
        k: Depths, (1,) unless said otherwise. At depth k a specimen is right if one of its first k candidates is (top-k
            accuracy, as CLIBD counts it).

    Returns:
        `accuracy`, where every specimen counts the same, and `macro_accuracy`, where every class of the references
        does: the mean of their recalls, which is the balanced accuracy. At other depths than 1 these are
        `top_3_accuracy`, `top_3_macro_accuracy` and so on. `count` specimens were used, `unlabelled` left out.

    Raises:
        ValueError: If no reference is labelled, or `k` is below 1 or above K.

    >>> Accuracy().compute(predictions=[0, 0, 1, 0], references=[0, 0, 1, 1])["accuracy"]
    0.75
    """

    FEATURES: ClassVar[list[Features]] = [
        Features({"predictions": Value("int64"), "references": Value("int64")}),
        Features({"predictions": List(Value("int64")), "references": Value("int64")}),
    ]

    def _compute(self, predictions: ArrayLike, references: ArrayLike, k: Sequence[int] = (1,)) -> dict[str, float]:
        return accuracies(predictions, references, k)


def accuracies(predictions: ArrayLike, references: ArrayLike, k: Sequence[int] = (1,)) -> dict[str, float]:
    """What `Accuracy` computes, as a function.

    Args:
        predictions: (N,) or (N, K).
        references: (N,).
        k: Depths.

    Raises:
        ValueError: See `Accuracy`.
    """
    truth, candidates = integer_labels(references, "references"), label_rows(predictions, "predictions")
    known = labelled(truth)
    check_depths(k, candidates.shape[1])
    hits = candidates[known] == truth[known, None]
    _, classes, sizes = np.unique(truth[known], return_inverse=True, return_counts=True)
    scores = {}
    for depth in k:
        right = hits[:, :depth].any(axis=1)
        prefix = "" if depth == 1 else f"top_{depth}_"
        scores[f"{prefix}accuracy"] = float(right.mean())
        scores[f"{prefix}macro_accuracy"] = float((np.bincount(classes, weights=right) / sizes).mean())
    return {**scores, "count": len(hits), "unlabelled": len(truth) - len(hits)}
