"""Benchmark 1 of the BIOSCAN-5M paper: naming specimens by their barcode, in the closed and in the open world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.baselines import blast
from bioscan_hf.evaluation.baselines.cnn import CnnEncoder, train_cnn
from bioscan_hf.evaluation.benchmarks.paper import FINE_TUNED, LINEAR_PROBE
from bioscan_hf.evaluation.benchmarks.specimens import label_numbers, rows_of
from bioscan_hf.evaluation.linear import linear_discriminant, linear_probe
from bioscan_hf.evaluation.metrics.accuracy import Accuracy
from bioscan_hf.evaluation.metrics.base import UNLABELLED
from bioscan_hf.evaluation.metrics.f1 import F1
from bioscan_hf.evaluation.metrics.hierarchical_distance import HierarchicalDistance
from bioscan_hf.evaluation.neighbours import nearest_k
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.evaluation.voting import NEIGHBOURS, TEMPERATURE, vote

LINEAR_DISCRIMINANT = "species, seen species (linear discriminant)"
ASKED = (("seen species", "species"), ("unseen species", "genus"))
"""The two questions of the paper: the group of the queries, and the rank that is asked for."""
SWEPT = RANKS[RANKS.index("order") :]
_DEPTHS = (1, 3, 5)

Report = Callable[[str, int, int], None]
"""Called with the name of a task, what is done, and what there is in all."""


@dataclass(frozen=True)
class ClassificationSettings:
    """How specimens are named; the defaults are the paper's.

    Attributes:
        keys: Split of the known specimens.
        queries: Split of the queries of seen species.
        queries_unseen: Split of the queries of species that have no keys.
        neighbours: Keys that vote.
        temperature: Of their votes.
        linear_probe: Whether to fit the paper's linear probe by gradient descent, which takes minutes, besides the
            linear discriminant.
        seed: Of probes and of the CNN.
    """

    keys: str = "train"
    queries: str = "test"
    queries_unseen: str = "test_unseen"
    neighbours: int = NEIGHBOURS
    temperature: float = TEMPERATURE
    linear_probe: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """A number: the question, the metric, its value, the queries behind it, and their split."""

    benchmark: str
    metric: str
    value: float
    count: int
    split: str


class Task:
    """Keys and queries of the benchmark, with their labels."""

    def __init__(self, specimens: Dataset, settings: ClassificationSettings) -> None:
        """Find keys and queries.

        Args:
            specimens: With `processid`, `split`, `dna_barcode` and the ranks.
            settings: Which splits they are of.

        Raises:
            ValueError: If there are no keys or queries, none with the label that is asked for, no query whose label a
                key has, or fewer keys than neighbours.
        """
        self.settings = settings
        self.barcodes: list[str] = specimens["dna_barcode"][:]
        self.labels = dict(zip(RANKS, label_numbers(specimens, RANKS).T, strict=True))
        self.keys = rows_of(specimens, settings.keys)
        groups = {"seen species": settings.queries, "unseen species": settings.queries_unseen}
        self.splits = {group: split for group, split in groups.items() if len(rows_of(specimens, split))}
        self.queries = {group: rows_of(specimens, split) for group, split in self.splits.items()}
        self._check()

    def _check(self) -> None:
        splits = f"{self.settings.queries!r} and {self.settings.queries_unseen!r}"
        if not len(self.keys) or not self.queries:
            raise ValueError(
                f"Expected keys in the split {self.settings.keys!r} and queries in {splits}; got {len(self.keys):,} "
                f"keys and {sum(map(len, self.queries.values())):,} queries."
            )
        for group, rank in ASKED:
            for rows, split in ((self.keys, self.settings.keys), (self.queries.get(group), self.splits.get(group))):
                if rows is not None and not (self.labels[rank][rows] != UNLABELLED).any():
                    raise ValueError(
                        f"None of the {len(rows):,} specimens of the split {split!r} has a {rank}, which is asked for. "
                        "Choose a labelled split."
                    )
        asked = [(rank, found) for group, rank in ASKED if (found := self.labelled(rank, group)) is not None]
        if not asked:
            raise ValueError(
                f"No query of the splits {splits} has a species, or an unseen one a genus, that is among those of the "
                f"keys, {self.settings.keys!r}. Choose other splits."
            )
        for rank, (keys, _) in asked:
            if not 1 <= self.settings.neighbours <= len(keys):
                raise ValueError(
                    f"Expected at least 1 neighbour and at most as many as keys, {len(keys):,}; got "
                    f"{self.settings.neighbours:,} to vote for the {rank}."
                )

    def labelled(self, rank: str, group: str) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Rows of the keys and of the queries that have a label at a rank; None if no query's label has a key."""
        if group not in self.queries:
            return None
        labels = self.labels[rank]
        keys, queries = (rows[labels[rows] != UNLABELLED] for rows in (self.keys, self.queries[group]))
        return (keys, queries) if np.isin(labels[queries], labels[keys]).any() else None

    def score(self, name: str, rank: str, group: str, candidates: NDArray[np.int64]) -> Iterator[Measured]:
        """Score the names of the queries of a group.

        Args:
            name: Of the question.
            rank: That was asked for.
            group: Of the queries.
            candidates: Labels of the queries with a label, (Q,), or ranked ones (Q, K).
        """
        found = self.labelled(rank, group)
        assert found is not None
        truth = self.labels[rank][found[1]]
        ranked = candidates if candidates.ndim == 2 else candidates[:, None]
        depths = [depth for depth in _DEPTHS if depth <= ranked.shape[1]]
        scores = Accuracy().compute(predictions=ranked, references=truth, k=depths)
        f1 = F1().compute(predictions=ranked[:, 0], references=truth)
        for metric, value in {**scores, **f1}.items():
            if metric.endswith("accuracy") or metric == "macro_f1":
                yield Measured(name, metric, value, len(truth), self.splits[group])


def measure_embeddings(task: Task, vectors: NDArray[np.float32], *, report: Report) -> Iterator[Measured]:
    """Ask all questions to embeddings; those of linear classifiers only where the keys allow to fit one.

    Args:
        task: Keys and queries.
        vectors: (N, D), of all specimens of the task; they get length 1.
        report: Told of the progress.

    Raises:
        ValueError: If vectors are not finite, or not as many as specimens.
    """
    if len(vectors) != len(task.barcodes):
        raise ValueError(f"Expected a vector for each of the {len(task.barcodes):,} specimens; got {len(vectors):,}.")
    vectors = unit_length(vectors)
    yield from _by_nearest(task, vectors)
    settings = task.settings
    for group, rank in ASKED:
        if (found := task.labelled(rank, group)) is None:
            continue
        keys, queries = found
        # One neighbour has been asked already.
        if settings.neighbours > 1:
            named = vote(
                vectors[keys],
                task.labels[rank][keys],
                vectors[queries],
                k=settings.neighbours,
                temperature=settings.temperature,
            )
            yield from task.score(f"{settings.neighbours}-NN {rank}, {group}", rank, group, named)
        # What all barcodes have in common says nothing, and dominates the cosines of counts; no labels are needed.
        centred = unit_length(vectors - vectors[keys].mean(axis=0))
        nearest_keys, _ = nearest_k(centred[keys], centred[queries], 1)
        named = task.labels[rank][keys[nearest_keys[:, 0]]]
        yield from task.score(f"1-NN {rank}, {group} (centred)", rank, group, named)
    yield from _by_classifiers(task, vectors, report)


def _by_nearest(task: Task, vectors: NDArray[np.float32]) -> Iterator[Measured]:
    searched: dict[tuple[str, bytes], NDArray[np.int64]] = {}
    for group in task.queries:
        for rank in SWEPT:
            if (found := task.labelled(rank, group)) is None:
                continue
            keys, queries = found
            # Mostly the same keys have labels at several ranks; they are searched once.
            place = (group, keys.tobytes() + queries.tobytes())
            if place not in searched:
                searched[place], _ = nearest_k(vectors[keys], vectors[queries], min(max(_DEPTHS), len(keys)))
            candidates = task.labels[rank][keys[searched[place]]]
            yield from task.score(f"1-NN {rank}, {group}", rank, group, candidates)
        yield from _distance(task, vectors, group)


def _distance(task: Task, vectors: NDArray[np.float32], group: str) -> Iterator[Measured]:
    queries = task.queries[group]
    found, _ = nearest_k(vectors[task.keys], vectors[queries], 1)
    # A label that a key lacks agrees with none.
    ranks = [rank for rank in SWEPT if (task.labels[rank][queries] != UNLABELLED).any()]
    named, truth = (
        np.stack([task.labels[rank][rows] for rank in ranks], axis=1) for rows in (task.keys[found[:, 0]], queries)
    )
    distance = HierarchicalDistance().compute(predictions=named, references=truth)
    name = "hierarchical_distance"
    yield Measured(f"1-NN, {group}", name, distance[name], int(distance["count"]), task.splits[group])


def _by_classifiers(task: Task, vectors: NDArray[np.float32], report: Report) -> Iterator[Measured]:
    group, rank = ASKED[0]
    if (found := task.labelled(rank, group)) is None:
        return
    keys, queries = found
    labels = task.labels[rank][keys]
    classes = len(np.unique(labels))
    if classes < 2:
        return
    # From one barcode per species nothing can be learnt of how they vary within one.
    if len({(task.barcodes[row], label) for row, label in zip(keys, labels, strict=True)}) > classes:
        report("linear discriminant", 0, 1)
        named = linear_discriminant(vectors[keys], labels).predict(vectors[queries])
        yield from task.score(LINEAR_DISCRIMINANT, rank, group, named)
        report("linear discriminant", 1, 1)
    if task.settings.linear_probe:
        probe = linear_probe(
            vectors[keys],
            labels,
            seed=task.settings.seed,
            report=lambda done, total: report("linear probe, epochs", done, total),
        )
        yield from task.score(LINEAR_PROBE, rank, group, probe.predict(vectors[queries]))


def measure_blast(task: Task, *, report: Report) -> Iterator[Measured]:
    """Ask the two questions to BLAST: each query has the name of its best hit, or none.

    Raises:
        OSError: If BLAST is not installed, or fails.
    """
    for group, rank in ASKED:
        if (found := task.labelled(rank, group)) is None:
            continue
        keys, queries = ([task.barcodes[row] for row in rows] for rows in found)
        hits = blast.best_hits(keys, queries, report=lambda done, total: report("BLAST, queries", done, total))
        named = np.where(hits < 0, UNLABELLED, task.labels[rank][found[0]][hits])
        yield from task.score(f"1-NN {rank}, {group}", rank, group, named)


def train_baseline_cnn(task: Task, *, device: str | None = None, report: Report) -> CnnEncoder | None:
    """Train the CNN of the paper on the keys; None if no query is of their species, or there is but one of these."""
    group, rank = ASKED[0]
    if (found := task.labelled(rank, group)) is None or len(np.unique(task.labels[rank][found[0]])) < 2:
        return None
    keys = found[0]
    return train_cnn(
        [task.barcodes[row] for row in keys],
        task.labels[rank][keys],
        seed=task.settings.seed,
        device=device,
        report=lambda done, total: report("CNN, epochs", done, total),
    )


def measure_cnn(task: Task, cnn: CnnEncoder) -> Iterator[Measured]:
    """Score the names that the CNN itself gives."""
    group, rank = ASKED[0]
    found = task.labelled(rank, group)
    assert found is not None
    named = cnn.predict([task.barcodes[row] for row in found[1]])
    yield from task.score(FINE_TUNED, rank, group, named)


def shown_columns(settings: ClassificationSettings) -> Sequence[tuple[str, str]]:
    """Title and question of the columns of the benchmark's table, whose metric is the accuracy."""
    counts = dict.fromkeys((1, settings.neighbours))
    return (
        ("fine-tuned", FINE_TUNED),
        ("linear probe", LINEAR_PROBE),
        ("LDA", LINEAR_DISCRIMINANT),
        *((f"{k}-NN", f"{k}-NN species, seen species") for k in counts),
        *((f"{k}-NN, genus", f"{k}-NN genus, unseen species") for k in counts),
        ("centred 1-NN, genus", "1-NN genus, unseen species (centred)"),
    )
