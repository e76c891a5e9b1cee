"""Accuracy on seen and on unseen species, and their harmonic mean."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import harmonic_mean
from typing import ClassVar

from datasets import Features, List, Value
from numpy.typing import ArrayLike

from bioscan_hf.evaluation.metrics.accuracy import accuracies
from bioscan_hf.evaluation.metrics.base import UNLABELLED, InMemoryMetric, integer_labels, label_rows


class SeenUnseenAccuracy(InMemoryMetric):
    """Accuracy of queries of seen species, of queries of unseen species, and the harmonic mean of the two.

    Args:
        predictions: Integer labels, (N,), or ranked candidates, (N, K), best first.
        references: Integer labels, (N,). Specimens of -1 have no label and are left out.
        is_seen: Whether the query's species is a seen one, (N,) booleans.
        k: Depths, as in `Accuracy`; (1,) unless said otherwise.

    Returns:
        `seen_accuracy`, `unseen_accuracy` and `harmonic_accuracy`, which is 2 / (1 / seen + 1 / unseen), and 0 where
        one of the two is 0; likewise `seen_macro_accuracy` and so on, with the mean over the classes of each group, and
        `seen_top_3_accuracy` and so on at other depths than 1. `count` specimens were used, `unlabelled` left out; both
        come for the groups, too (`seen_count`).

    Raises:
        ValueError: If one group has no labelled specimen, or `k` is below 1 or above K.

    >>> scores = SeenUnseenAccuracy().compute(
    ...     predictions=[1, 1, 2, 0], references=[1, 1, 2, 2], is_seen=[True, True, False, False]
    ... )
    >>> scores["seen_accuracy"], scores["unseen_accuracy"], round(scores["harmonic_accuracy"], 3)
    (1.0, 0.5, 0.667)
    """

    FEATURES: ClassVar[list[Features]] = [
        Features({"predictions": predictions, "references": Value("int64"), "is_seen": Value("bool")})
        for predictions in (Value("int64"), List(Value("int64")))
    ]
    CITATION = """\
@inproceedings{gong2025clibd,
    title = {{CLIBD}: Bridging Vision and Genomics for Biodiversity Monitoring at Scale},
    author = {Gong, ZeMing and Wang, Austin T. and Huo, Xiaoliang and others},
    booktitle = {International Conference on Learning Representations},
    year = {2025}
}"""

    def _compute(
        self, predictions: ArrayLike, references: ArrayLike, is_seen: ArrayLike, k: Sequence[int] = (1,)
    ) -> dict[str, float]:
        truth, candidates = integer_labels(references, "references"), label_rows(predictions, "predictions")
        seen = integer_labels(is_seen, "is_seen").astype(bool)
        scores: dict[str, dict[str, float]] = {}
        for group, members in {"seen": seen, "unseen": ~seen}.items():
            if (truth[members] == UNLABELLED).all():
                raise ValueError(f"Expected labelled queries of {group} species; there are none. See `is_seen`.")
            scores[group] = accuracies(candidates[members], truth[members], k)
        seen_scores, unseen_scores = scores["seen"], scores["unseen"]
        harmonic = {
            f"harmonic_{name}": float(harmonic_mean([seen_scores[name], unseen_scores[name]]))
            for name in seen_scores
            if name.endswith("accuracy")
        }
        groups = {f"{group}_{name}": value for group, of_group in scores.items() for name, value in of_group.items()}
        totals = {name: seen_scores[name] + unseen_scores[name] for name in ("count", "unlabelled")}
        return {**groups, **harmonic, **totals}
