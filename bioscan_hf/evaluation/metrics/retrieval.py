"""How good is a ranked list of retrieved keys?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Features, List, Value
from numpy.typing import ArrayLike

from bioscan_hf.evaluation.metrics.base import InMemoryMetric, check_depths, integer_labels, label_rows, labelled


class Retrieval(InMemoryMetric):
    """Recall at k, mean average precision and mean reciprocal rank of the K keys retrieved for each query.

    Args:
        predictions: Labels of the retrieved keys, (N, K) integers, best first; -1 for a key without a label.
        references: Labels of the queries, (N,) integers. Queries of -1 have no label and are left out.
        relevant: Number of keys that have the query's label in the whole set of keys, (N,).
        k: Depths of the recall, (1,) unless said otherwise.

    Returns:
        `recall_at_1` and so on: share of the queries with a hit (a key of the query's label) among the first k, as is
        usual for images and for CLIP; not the share of the relevant keys.
        `map`: mean over the queries of the average precision cut at K: the sum of the precisions at the hits over
        min(K, relevant), the most hits that there can be.
        `mrr`: mean over the queries of 1 / position of the first hit.
        Queries without a hit have 0 in all three, also those that have no relevant key. `count` queries were used,
        `unlabelled` left out.

    Raises:
        ValueError: If no reference is labelled, `k` is below 1 or above K, or a query has more hits than relevant keys.

    >>> scores = Retrieval().compute(predictions=[[2, 1, 1]], references=[1], relevant=[2], k=(1, 3))
    >>> scores["recall_at_1"], scores["recall_at_3"], round(scores["map"], 3), scores["mrr"]
    (0.0, 1.0, 0.583, 0.5)
    """

    FEATURES = Features({"predictions": List(Value("int64")), "references": Value("int64"), "relevant": Value("int64")})
    CITATION = """\
@book{manning2008introduction,
    title = {Introduction to Information Retrieval},
    author = {Manning, Christopher D. and Raghavan, Prabhakar and Sch{\\"u}tze, Hinrich},
    publisher = {Cambridge University Press},
    year = {2008}
}"""

    def _compute(
        self, predictions: ArrayLike, references: ArrayLike, relevant: ArrayLike, k: Sequence[int] = (1,)
    ) -> dict[str, float]:
        truth, retrieved = integer_labels(references, "references"), label_rows(predictions, "predictions")
        known = labelled(truth)
        depth = retrieved.shape[1]
        check_depths(k, depth)
        hits = retrieved[known] == truth[known, None]
        found, available = hits.cumsum(axis=1), integer_labels(relevant, "relevant")[known]
        if (found[:, -1] > available).any():
            query = int(np.argmax(found[:, -1] > available))
            raise ValueError(
                f"`relevant` must count all keys of the query's label; a query of label {truth[known][query]} has "
                f"{available[query]}, but {found[query, -1]} of its retrieved keys have this label."
            )
        positions = np.arange(1, depth + 1)
        precision_sums = (hits * found / positions).sum(axis=1)
        # The first hit is the best of its reciprocal positions.
        reciprocal = (hits / positions).max(axis=1)
        return {
            **{f"recall_at_{cut}": float(hits[:, :cut].any(axis=1).mean()) for cut in k},
            "map": float((precision_sums / np.clip(available, 1, depth)).mean()),
            "mrr": float(reciprocal.mean()),
            "count": len(hits),
            "unlabelled": len(truth) - len(hits),
        }
