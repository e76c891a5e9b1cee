"""Top-1 accuracy, per specimen and per class."""

from __future__ import annotations

from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from numpy.typing import ArrayLike

UNLABELLED = -1


class Accuracy(evaluate.Metric):
    """Share of right predictions.

    `compute(predictions=, references=)` takes integer labels, (N,) each. Specimens whose reference is -1 have no label
    and are left out. It returns `accuracy` (every specimen counts the same), `macro_accuracy` (every class counts the
    same: the mean over the classes of the references) and `count` (the specimens with a label).

    Raises:
        ValueError: If no reference is labelled.
    """

    def __init__(self, **kwargs: Any) -> None:
        # In memory: no files in the user's cache for some thousand integers.
        super().__init__(**{"keep_in_memory": True, **kwargs})

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of right predictions, per specimen (micro) and per class (macro).",
            citation="",
            inputs_description="predictions, references: integer labels, (N,); references of -1 are left out.",
            features=Features({"predictions": Value("int64"), "references": Value("int64")}),
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        truth = np.asarray(references)
        labelled = truth != UNLABELLED
        if not labelled.any():
            raise ValueError("Accuracy needs at least one labelled specimen; all references are -1.")
        truth = truth[labelled]
        right = np.asarray(predictions)[labelled] == truth
        _, classes = np.unique(truth, return_inverse=True)
        per_class = np.bincount(classes, weights=right) / np.bincount(classes)
        return {"accuracy": float(right.mean()), "macro_accuracy": float(per_class.mean()), "count": len(truth)}
