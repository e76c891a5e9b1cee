"""Benchmark 2 of the BIOSCAN-5M paper: do clusters of embeddings agree with the taxonomy, without any training?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks.paper import clustering_name
from bioscan_hf.evaluation.benchmarks.specimens import label_numbers
from bioscan_hf.evaluation.clustering.clusters import cluster
from bioscan_hf.evaluation.clustering.reduction import z_score
from bioscan_hf.evaluation.clustering.settings import Clustering
from bioscan_hf.evaluation.metrics.base import UNLABELLED
from bioscan_hf.evaluation.metrics.cluster_agreement import ClusterAgreement
from bioscan_hf.tokenization.kmer import MAX_NUCLEOTIDES

TARGETS = (*RANKS[1:], "dna_bin")
"""What clusters are compared with: the ranks below the phylum, and BINs."""
METRICS = ("ami_true_entropy", "ami_arithmetic", "nmi", "ari", "homogeneity", "completeness", "purity", "noise")
_ROWS_AT_A_TIME = 1000
DNA, IMAGES, JOINT = "DNA", "images", "images + DNA"


@dataclass(frozen=True)
class ClusteringSettings:
    """What is clustered, and how; the defaults are the paper's.

    Attributes:
        split: Splits of the specimens.
        rank: There are as many clusters as distinct labels of this rank.
        one_per_barcode: Whether one specimen of each distinct barcode takes part. Barcodes are compared up to their
            660th letter, without trailing N; which of their specimens it is, is drawn.
        seeds: Seeds of the repetitions; results are means over them.
        recipe: How clusters are found.
    """

    split: str = "test+test_unseen"
    rank: str = "species"
    one_per_barcode: bool = False
    seeds: tuple[int, ...] = (0,)
    recipe: Clustering = field(default_factory=Clustering)

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("Expected at least one seed; got none.")
        if self.rank not in TARGETS:
            raise ValueError(f"Expected one of {list(TARGETS)} as the rank; got {self.rank!r}.")

    @property
    def named_rank(self) -> str:
        """The rank in the plural."""
        plurals = {"class": "classes", "family": "families", "subfamily": "subfamilies", "genus": "genera"}
        return {**plurals, "order": "orders", "species": "species", "dna_bin": "BINs"}[self.rank]


@dataclass(frozen=True)
class Clustered:
    """A number: the question, the metric, its mean and standard deviation over seeds, and the specimens behind it."""

    benchmark: str
    metric: str
    value: float
    spread: float | None
    count: int


class Task:
    """The specimens of the benchmark with their labels.

    Attributes:
        classes: Number of distinct labels of the rank.
    """

    def __init__(self, specimens: Dataset, rank: str = "species") -> None:
        """Read the labels.

        Args:
            specimens: N specimens with the ranks and `dna_bin`.
            rank: See `ClusteringSettings`.

        Raises:
            ValueError: If they have fewer than two distinct labels of the rank.
        """
        labels = label_numbers(specimens, TARGETS)
        self._count = len(labels)
        self._labels = {
            target: column
            for target, column in zip(TARGETS, labels.T, strict=True)
            if len(np.unique(column[column != UNLABELLED])) > 1
        }
        if rank not in self._labels:
            known = int((labels[:, TARGETS.index(rank)] != UNLABELLED).sum())
            raise ValueError(
                f"Expected specimens with at least two different labels of the rank {rank}; {known:,} of "
                f"{len(specimens):,} have one{', always the same' if known else ''}. Choose a labelled `--split`, or "
                "another `--rank`."
            )
        truth = self._labels[rank]
        self.classes = len(np.unique(truth[truth != UNLABELLED]))

    def measure(self, vectors: NDArray[np.float32], modality: str, settings: ClusteringSettings) -> Iterator[Clustered]:
        """Cluster embeddings once per seed, and compare the clusters with each rank and with BINs.

        Args:
            vectors: (N, D), in the order of the specimens.
            modality: `DNA`, `IMAGES` or `JOINT`.
            settings: How.

        Raises:
            ValueError: If vectors are not as many as specimens, are not finite, or too few for the settings (see
                `cluster`).
            ImportError: If a package of the extra `clustering` is missing.
        """
        if len(vectors) != self._count:
            raise ValueError(f"Expected a vector for each of the {self._count:,} specimens; got {len(vectors):,}.")
        runs = [cluster(vectors, settings.recipe, clusters=self.classes, seed=seed) for seed in settings.seeds]
        for target, labels in self._labels.items():
            scores = [ClusterAgreement().compute(predictions=found, references=labels) for found in runs]
            for metric in METRICS:
                values = [score[metric] for score in scores]
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                name = clustering_name(modality, target)
                yield Clustered(name, metric, float(np.mean(values)), spread, int(scores[0]["count"]))


def joint(images: NDArray[np.float32], barcodes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embedding of both modalities: the features of each, standardised, side by side.

    Args:
        images: (N, D).
        barcodes: (N, E).

    Returns:
        (N, D + E).
    """
    return np.hstack([z_score(images), z_score(barcodes)])


def one_per_barcode(specimens: Dataset, *, seed: int = 0) -> NDArray[np.int64]:
    """Choose one specimen of each distinct barcode: see `ClusteringSettings`.

    Args:
        specimens: N specimens with `dna_barcode`.
        seed: Of the choice.

    Returns:
        Rows of the chosen ones, ascending.
    """
    barcodes = pa.array(specimens["dna_barcode"][:], pa.string())
    hashes = barcode_hashes(barcodes, max_nucleotides=MAX_NUCLEOTIDES, strip="trailing")
    order = np.random.default_rng(seed).permutation(len(hashes))
    _, first = np.unique(hashes[order], return_index=True)
    return np.sort(order[first])


def with_modalities(specimens: Dataset, columns: Sequence[str]) -> NDArray[np.int64]:
    """Rows of the specimens that have all of some columns, such as `image` and `dna_barcode`."""
    present = np.ones(len(specimens), bool)
    if not columns:
        return np.flatnonzero(present)
    start = 0
    # In parts, for all images together may not fit into memory.
    for table in specimens.select_columns(list(columns)).with_format("arrow").iter(_ROWS_AT_A_TIME):
        for name in columns:
            present[start : start + len(table)] &= table[name].is_valid().to_numpy()
        start += len(table)
    return np.flatnonzero(present)
