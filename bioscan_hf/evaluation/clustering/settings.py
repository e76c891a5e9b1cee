"""What a clustering is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Reduction = Literal["umap", "pca", "none"]
Method = Literal["ward", "average", "kmeans", "hdbscan"]


@dataclass(frozen=True)
class Clustering:
    """Settings of a clustering; `dataclasses.asdict` writes them beside results.

    The defaults are the recipe of BIOSCAN-5M's zero-shot clustering, as its code runs it (scottclowe/zs-ssl-clustering,
    branch BIOSCAN-5M, `cluster.py`).

    Attributes:
        reduction: How dimensions are reduced before: UMAP with Euclidean distances, principal components, or not.
        dimensions: Dimensions after the reduction.
        neighbours: Of each sample, itself included, in the graph of UMAP.
        min_dist: Least distance between points in UMAP, 0 to 1.
        method: Ward's or average linkage, k-means or HDBSCAN, with Euclidean distances. HDBSCAN finds the number of
            clusters by itself, and leaves out noise.
        min_cluster_size: Samples that make a cluster in HDBSCAN.

    Raises:
        ValueError: If a value is not one of these, or out of range.
    """

    reduction: Reduction = "umap"
    dimensions: int = 50
    neighbours: int = 30
    min_dist: float = 0.0
    method: Method = "ward"
    min_cluster_size: int = 5

    def __post_init__(self) -> None:
        for name, allowed in (("reduction", get_args(Reduction)), ("method", get_args(Method))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` must be one of {list(allowed)}; got {getattr(self, name)!r}.")
        for name, least in (("dimensions", 1), ("neighbours", 2), ("min_cluster_size", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least}; got {value!r}.")
        if not 0 <= self.min_dist <= 1:
            raise ValueError(f"`min_dist` must be 0 to 1; got {self.min_dist!r}.")
