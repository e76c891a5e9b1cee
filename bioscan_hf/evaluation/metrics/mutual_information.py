"""Adjusted mutual information, exact and fast, with the normalisers found in the literature."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

Normaliser = Literal["arithmetic", "geometric", "min", "max", "true_entropy"]
"""What the mutual information of two equal partitions is taken to be: a mean of both entropies, or one of them."""


def adjusted_mutual_information(labels: ArrayLike, clusters: ArrayLike, *, normaliser: Normaliser) -> float:
    """Mutual information of labels and clusters, adjusted for chance: (MI - E[MI]) / (normaliser - E[MI]).

    E[MI] is the expectation over random partitions with the same sizes (Vinh, Epps and Bailey, JMLR 2010). All but
    `true_entropy` are the `average_method` of `sklearn.metrics.adjusted_mutual_info_score`, whose special cases hold
    here: 1 if there is one class and one cluster, 0 if there is one of either, and no denominator nearer to 0 than the
    resolution of float64. `true_entropy` is the one of the figure of ranks of BIOSCAN-5M, in which one clustering, as
    fine as species, is compared with wide ranks, too: 1 where every cluster holds one class only.

    Args:
        labels: N classes. All values count: leave out -1 before if it means no label.
        clusters: N numbers of clusters.
        normaliser: Mean of the entropies H(labels) and H(clusters), or `true_entropy` for H(labels).

    Returns:
        At most 1 but for rounding; about 0 for chance. Where the normaliser equals E[MI], as with a cluster for each
        specimen and `min` or `true_entropy`, it is rounding noise.

    Raises:
        ValueError: If the lengths differ, there are no labels, or the normaliser is not known.

    >>> adjusted_mutual_information([0, 0, 1, 1], [5, 5, 6, 7], normaliser="arithmetic")  # doctest: +ELLIPSIS
    0.571...
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape or not labels.size:
        raise ValueError(f"Expected as many labels as clusters, at least one; got {labels.shape} and {clusters.shape}.")
    if normaliser not in get_args(Normaliser):
        raise ValueError(f"`normaliser` must be one of {get_args(Normaliser)}; got {normaliser!r}.")
    contingency = contingency_matrix(labels, clusters, sparse=True)
    class_sizes, cluster_sizes = (np.asarray(contingency.sum(axis=axis)).ravel() for axis in (1, 0))
    if len(class_sizes) == 1 or len(cluster_sizes) == 1:
        return float(len(class_sizes) == len(cluster_sizes))
    own, other = entropy(class_sizes), entropy(cluster_sizes)
    upper = {
        "arithmetic": (own + other) / 2,
        "geometric": np.sqrt(own * other),
        "min": min(own, other),
        "max": max(own, other),
        "true_entropy": own,
    }[normaliser]
    information = mutual_info_score(None, None, contingency=contingency)
    expected = expected_mutual_information(class_sizes, cluster_sizes)
    return float(_away_from_zero(information - expected) / _away_from_zero(upper - expected))


def expected_mutual_information(class_sizes: NDArray[np.int64], cluster_sizes: NDArray[np.int64]) -> float:
    """E[MI] in nats of two random partitions of these sizes.

    The overlap of a class and a cluster is hypergeometric and depends on their two sizes only. So each pair of sizes is
    computed once, all clusters of a class size at a time; the distinct sizes sum up to N at most, and so does memory.

    Args:
        class_sizes: Specimens of each class; they sum up to N.
        cluster_sizes: Specimens of each cluster; they sum up to N.
    """
    n = int(class_sizes.sum())
    log_factorial = gammaln(np.arange(n + 1) + 1)
    sizes, counts = np.unique(cluster_sizes, return_counts=True)
    expected = 0.0
    for size, count in zip(*np.unique(class_sizes, return_counts=True), strict=True):
        least = np.maximum(1, size + sizes - n)
        overlaps = np.minimum(size, sizes) - least + 1
        pair = np.repeat(np.arange(len(sizes)), overlaps)
        shared = np.arange(len(pair)) - (np.cumsum(overlaps) - overlaps - least)[pair]
        # The factors of the probability that vary with the overlap, and those that do not.
        fixed = (
            log_factorial[size]
            + log_factorial[n - size]
            - log_factorial[n]
            + log_factorial[sizes]
            + log_factorial[n - sizes]
        )
        varying = (
            log_factorial[shared]
            + log_factorial[size - shared]
            + log_factorial[sizes[pair] - shared]
            + log_factorial[n - size - sizes[pair] + shared]
        )
        surprise = np.log(n / size) + np.log(shared / sizes[pair])
        expected += count * np.sum(counts[pair] * shared / n * surprise * np.exp(fixed[pair] - varying))
    return float(expected)


def _away_from_zero(value: float) -> float:
    epsilon = float(np.finfo(np.float64).eps)
    return min(value, -epsilon) if value < 0 else max(value, epsilon)
