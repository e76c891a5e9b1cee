"""Probes: how well do embeddings name specimens?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import resolve_split
from bioscan_hf.evaluation.benchmarks.paper import NEAREST_GENUS, NEAREST_SPECIES
from bioscan_hf.evaluation.embeddings import Embeddings
from bioscan_hf.evaluation.metrics.accuracy import Accuracy
from bioscan_hf.evaluation.neighbours import nearest
from bioscan_hf.evaluation.results import Result


@dataclass(frozen=True)
class Probe:
    """A question to embeddings: which taxon is this specimen, given those keys?

    Attributes:
        name: How the question is called in tables.
        rank: Taxonomic rank to name.
        queries: Split of the specimens to be named.
        keys: Split of the labelled specimens.
    """

    name: str
    rank: str
    queries: str
    keys: str = "train"

    def select(self, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the keys and of the queries that have a label at the rank."""
        labelled = np.array([bool(name) for name in dataset[self.rank]], dtype=bool)
        splits = np.array(dataset["split"][:], dtype=object)
        keys, queries = (
            np.flatnonzero(labelled & np.isin(splits, resolve_split(split))) for split in (self.keys, self.queries)
        )
        return keys, queries


PROBES = (
    Probe(NEAREST_SPECIES, "species", "test"),
    Probe(NEAREST_GENUS, "genus", "test_unseen"),
)
"""Closed and open world by one nearest neighbour (cosine) among the keys in train, as in the BIOSCAN-5M paper."""


def probe_results(
    compared: Sequence[tuple[str, str | None, Embeddings]], dataset: Dataset, *, source: tuple[str, str], command: str
) -> list[Result]:
    """Answer `PROBES` with the embeddings of several encoders.

    Args:
        compared: Name, revision and embeddings of each encoder, of the specimens in `dataset`.
        dataset: As in `nearest_neighbour_accuracy`, for each probe.
        source: Name and revision of the data.
        command: The command that measures this.

    Returns:
        One result per probe and encoder; none of a probe without labelled keys or queries.
    """
    results = []
    for probe in PROBES:
        if not all(len(rows) for rows in probe.select(dataset)):
            continue
        for name, revision, embeddings in compared:
            accuracy, count = nearest_neighbour_accuracy(embeddings, dataset, probe)
            results.append(
                Result(
                    benchmark=probe.name,
                    metric="accuracy",
                    value=accuracy,
                    count=count,
                    model=name,
                    model_revision=revision,
                    dataset=source[0],
                    dataset_revision=source[1],
                    split=probe.queries,
                    command=command,
                )
            )
    return results


def nearest_neighbour_accuracy(embeddings: Embeddings, dataset: Dataset, probe: Probe) -> tuple[float, int]:
    """Name each query as its nearest key is named, and count how often that is right.

    Specimens without a label at the rank are left out. A query whose label no key has counts as wrong.

    Args:
        embeddings: Of the specimens in `dataset`, in its order.
        dataset: Needs the columns `processid`, `split` and the rank.
        probe: What to name.

    Returns:
        Accuracy between 0 and 1, and the number of queries.

    Raises:
        ValueError: If the specimens differ, or there is no labelled key or query.
    """
    if embeddings.processids != dataset["processid"][:]:
        raise ValueError("The embeddings are not those of the dataset: their process ids differ.")
    keys, queries = probe.select(dataset)
    if not len(keys) or not len(queries):
        raise ValueError(
            f"{probe.name}: expected specimens with a {probe.rank} in the splits {probe.keys!r} and {probe.queries!r}; "
            f"got {len(keys)} and {len(queries)}."
        )
    _, labels = np.unique(np.array([name or "" for name in dataset[probe.rank]]), return_inverse=True)
    indices, _ = nearest(embeddings.vectors[keys], embeddings.vectors[queries])
    scores = Accuracy().compute(predictions=labels[keys[indices]], references=labels[queries])
    return scores["accuracy"], len(queries)
