"""How far from the truth, in the tree of life, are wrong names?"""

from __future__ import annotations

import numpy as np
from datasets import Features, List, Value
from numpy.typing import ArrayLike

from bioscan_hf.evaluation.metrics.base import UNLABELLED, InMemoryMetric, label_rows, labelled


class HierarchicalDistance(InMemoryMetric):
    """Mean number of ranks between the true name and the narrowest taxon that it shares with the predicted one.

    Take the ranks at which a specimen's reference has a label, from the widest on, as long as the prediction has the
    same label. The last of them is where the two agree, and the labelled ranks below it are their distance: 0 if all
    labels agree, 1 if all but the narrowest do, and the number of labelled ranks if not even the widest does. Equal
    labels below a difference do not count: a taxon inside another one is another. In a tree this is the height of the
    lowest common ancestor (Bertinetto et al., CVPR 2020), counted in ranks that have a label.

    Args:
        predictions: Integer labels, (N, R), from the widest rank to the narrowest. -1 names no taxon, and agrees with
            no label.
        references: Integer labels, (N, R), likewise; -1 where there is none. Specimens without any are left out. A
            specimen with few labelled ranks cannot be far from the truth: compare only over the same specimens.

    Returns:
        `hierarchical_distance`, the mean over the specimens; `agreement_at_0` to `agreement_at_<R - 1>`, the share of
        the specimens whose narrowest agreement is at the rank of this index, and `no_agreement`, the share of those
        that agree nowhere (these shares sum up to 1). `count` specimens were used, `unlabelled` left out.

    Raises:
        ValueError: If no reference is labelled, or predictions and references differ in their ranks.

    >>> scores = HierarchicalDistance().compute(predictions=[[1, 2, 3], [1, 2, 3]], references=[[1, 2, 4], [1, -1, 3]])
    >>> scores["hierarchical_distance"], scores["agreement_at_1"], scores["agreement_at_2"]
    (0.5, 0.5, 0.5)
    """

    FEATURES = Features({"predictions": List(Value("int64")), "references": List(Value("int64"))})
    CITATION = """\
@inproceedings{bertinetto2020making,
    title = {Making Better Mistakes: Leveraging Class Hierarchies with Deep Networks},
    author = {Bertinetto, Luca and Mueller, Romain and Tertikas, Konstantinos and Samangooei, Sina and
        Lord, Nicholas A.},
    booktitle = {Conference on Computer Vision and Pattern Recognition},
    year = {2020}
}"""

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        truth, predicted = label_rows(references, "references"), label_rows(predictions, "predictions")
        if truth.shape != predicted.shape:
            raise ValueError(
                f"Expected predictions and references at the same ranks; got {predicted.shape[1]} and {truth.shape[1]}."
            )
        known = labelled(truth)
        truth, predicted = truth[known], predicted[known]
        has_label = truth != UNLABELLED
        agrees = np.logical_and.accumulate((predicted == truth) | ~has_label, axis=1) & has_label
        ranks = truth.shape[1]
        narrowest = np.where(agrees.any(axis=1), ranks - 1 - agrees[:, ::-1].argmax(axis=1), ranks)
        shares = np.bincount(narrowest, minlength=ranks + 1) / len(truth)
        return {
            "hierarchical_distance": float((has_label.sum(axis=1) - agrees.sum(axis=1)).mean()),
            **{f"agreement_at_{rank}": float(share) for rank, share in enumerate(shares[:-1])},
            "no_agreement": float(shares[-1]),
            "count": len(truth),
            "unlabelled": len(known) - len(truth),
        }
