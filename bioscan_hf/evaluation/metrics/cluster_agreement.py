"""How well clusters agree with labels."""

from __future__ import annotations

import numpy as np
from datasets import Features, Value
from numpy.typing import ArrayLike
from sklearn.metrics import (
    adjusted_rand_score,
    homogeneity_completeness_v_measure,
    normalized_mutual_info_score,
)
from sklearn.metrics.cluster import contingency_matrix

from bioscan_hf.evaluation.metrics.base import InMemoryMetric, integer_labels, labelled
from bioscan_hf.evaluation.metrics.mutual_information import adjusted_mutual_information

NOISE = -1
"""The cluster number that HDBSCAN gives to what is in no cluster."""


class ClusterAgreement(InMemoryMetric):
    """Agreement of clusters with labels; the clusters may be numbered in any way.

    Args:
        predictions: Cluster numbers, (N,). The noise of HDBSCAN, -1, counts as one more cluster, as in the reference
            code of BIOSCAN-5M.
        references: Integer labels, (N,). Specimens of -1 have no label and are left out.

    Returns:
        `ami_arithmetic`: mutual information adjusted for chance, with the mean of the two entropies (scikit-learn's).
        `ami_true_entropy`: the same with the entropy of the labels, as in the BIOSCAN-5M figure of ranks.
        `nmi`: mutual information over the mean of the entropies, not adjusted.
        `ari`: adjusted Rand index.
        `homogeneity`, `completeness`, `v_measure`: the last is their harmonic mean, and thus equal to `nmi`.
        `purity`: share of the specimens that have the most frequent label of their cluster.
        `clusters`, `classes`: how many there are among the labelled specimens.
        `noise`: share of the labelled specimens that are noise.
        `count`, `unlabelled`: specimens used and left out.

    Raises:
        ValueError: If no reference is labelled.

    >>> scores = ClusterAgreement().compute(predictions=[7, 7, 3, 3], references=[0, 0, 1, 0])
    >>> scores["purity"], scores["clusters"], scores["classes"]
    (0.75, 2, 2)
    """

    FEATURES = Features({"predictions": Value("int64"), "references": Value("int64")})
    CITATION = """\
@article{vinh2010information,
    title = {Information Theoretic Measures for Clusterings Comparison: Variants, Properties, Normalization and
        Correction for Chance},
    author = {Vinh, Nguyen Xuan and Epps, Julien and Bailey, James},
    journal = {Journal of Machine Learning Research},
    volume = {11},
    pages = {2837--2854},
    year = {2010}
}"""

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        labels, clusters = integer_labels(references, "references"), integer_labels(predictions, "predictions")
        known = labelled(labels)
        unlabelled = len(labels) - int(known.sum())
        labels, clusters = labels[known], clusters[known]
        contingency = contingency_matrix(labels, clusters, sparse=True)
        homogeneity, completeness, v_measure = homogeneity_completeness_v_measure(labels, clusters)
        return {
            "ami_arithmetic": adjusted_mutual_information(labels, clusters, normaliser="arithmetic"),
            "ami_true_entropy": adjusted_mutual_information(labels, clusters, normaliser="true_entropy"),
            "nmi": float(normalized_mutual_info_score(labels, clusters)),
            "ari": float(adjusted_rand_score(labels, clusters)),
            "homogeneity": float(homogeneity),
            "completeness": float(completeness),
            "v_measure": float(v_measure),
            "purity": float(contingency.max(axis=0).sum() / len(labels)),
            "clusters": contingency.shape[1],
            "classes": contingency.shape[0],
            "noise": float(np.mean(clusters == NOISE)),
            "count": len(labels),
            "unlabelled": unlabelled,
        }
