"""Benchmark 3 of the BIOSCAN-5M paper: do images, barcodes and texts find specimens of their taxon, and one another?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.evaluation.benchmarks.barcode_classification import Measured
from bioscan_hf.evaluation.benchmarks.paper import (
    HARMONIC,
    RETRIEVED_RANKS,
    SEEN,
    UNSEEN,
    retrieval_name,
)
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import (
    ALL,
    CONCAT,
    DNA,
    IMAGE,
    JOINT,
    MODALITIES,
    TEXT,
    Pair,
    RetrievalSettings,
    parts_of,
)
from bioscan_hf.evaluation.benchmarks.specimens import label_numbers, rows_of
from bioscan_hf.evaluation.metrics.accuracy import Accuracy
from bioscan_hf.evaluation.metrics.base import UNLABELLED
from bioscan_hf.evaluation.metrics.seen_unseen import SeenUnseenAccuracy
from bioscan_hf.evaluation.neighbours import nearest_k
from bioscan_hf.evaluation.unit_length import unit_length

DEPTHS = (1, 3, 5)
NEIGHBOURS = max(DEPTHS)
METRICS = tuple(
    f"{'' if depth == 1 else f'top_{depth}_'}{metric}" for depth in DEPTHS for metric in ("accuracy", "macro_accuracy")
)
"""Per query and per taxon; at depths 3 and 5 one of so many keys must be right."""
_NAMES = {IMAGE: "image", DNA: "barcode", TEXT: "label"}


class Embedded(NamedTuple):
    """Embeddings of some specimens: their rows (P,), ascending, and their vectors (P, D), of length 1."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some of these rows."""
        return self.vectors[np.searchsorted(self.rows, rows)]


class Retrieved(NamedTuple):
    """Rows of queries (Q,), and of the nearest keys of each, (Q, 5), the most similar first."""

    queries: NDArray[np.int64]
    keys: NDArray[np.int64]


class Task:
    """Keys and queries of the benchmark, with their labels, and with what they have to be embedded.

    Attributes:
        settings: What is asked.
        labels: By rank: the label of each specimen, (N,); -1 for none.
        keys: Rows of the keys.
        queries: By group: rows of the queries; without groups that have none.
    """

    def __init__(
        self, specimens: Dataset, settings: RetrievalSettings, present: Mapping[str, NDArray[np.int64]]
    ) -> None:
        """Find keys and queries.

        Args:
            specimens: N specimens with `split` and the ranks.
            settings: What is asked.
            present: By modality, image and DNA: rows of the specimens that have it. Whoever has a label at a rank has a
                text.

        Raises:
            ValueError: If there are no keys or no queries, or some are both.
        """
        self.settings = settings
        self.labels = dict(zip(RETRIEVED_RANKS, label_numbers(specimens, RETRIEVED_RANKS).T, strict=True))
        labelled = np.any([labels != UNLABELLED for labels in self.labels.values()], axis=0)
        self._has = {
            modality: np.isin(np.arange(len(specimens)), present.get(modality, ())) for modality in (IMAGE, DNA)
        }
        self._has[TEXT] = labelled
        self.keys = rows_of(specimens, settings.keys)
        found = {group: rows_of(specimens, split) for group, split in settings.groups.items()}
        self.queries = {group: rows for group, rows in found.items() if len(rows)}
        splits = " and ".join(map(repr, settings.groups.values()))
        if not len(self.keys) or not self.queries:
            raise ValueError(
                f"Expected keys in the splits {settings.keys!r} and queries in {splits}; got {len(self.keys):,} keys "
                f"and {sum(map(len, self.queries.values())):,} queries."
            )
        if any(np.isin(rows, self.keys).any() for rows in self.queries.values()):
            raise ValueError(
                f"Keys must be of other splits than queries, {splits}, which would find themselves; got "
                f"{settings.keys!r}."
            )

    def having(self, kind: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that have what a query or key needs; one thing suffices for the kind `all`."""
        has = [self._has[modality][rows] for modality in parts_of(kind)]
        return rows[np.any(has, axis=0) if kind == ALL else np.all(has, axis=0)]

    def needed(self, modality: str, pairs: Sequence[Pair]) -> NDArray[np.int64]:
        """Rows of the specimens of which pairs need a modality, ascending."""
        rows = [np.empty(0, np.int64)]
        for pair in pairs:
            for kind, group in ((pair.key, [self.keys]), (pair.query, list(self.queries.values()))):
                if modality in parts_of(kind):
                    rows += [self.having(modality, self.having(kind, own)) for own in group]
        return np.unique(np.concatenate(rows))

    def groups(self, pair: Pair, rank: str) -> list[str]:
        """Groups with a query whose label at a rank a key has, too."""
        labels = self.labels[rank]
        known = labels[self.having(pair.key, self.keys)]
        known = known[known != UNLABELLED]
        return [
            group for group, rows in self.queries.items() if np.isin(labels[self.having(pair.query, rows)], known).any()
        ]

    def why_not(self, pair: Pair) -> str | None:
        """Why a pair cannot be asked; None if it can."""
        keys = self.having(pair.key, self.keys)
        if len(keys) < NEIGHBOURS:
            return f"{NEIGHBOURS} keys are needed, and {len(keys):,} have {needs(pair.key)}"
        for group, rows in self.queries.items():
            if not len(self.having(pair.query, rows)):
                return f"none of the {len(rows):,} queries of {group} has {needs(pair.query)}"
        if not any(self.groups(pair, rank) for rank in RETRIEVED_RANKS):
            return f"no query has a label ({', '.join(RETRIEVED_RANKS)}) that one of its keys has, too"
        return None


def needs(kind: str) -> str:
    """What a specimen must have to be a query or key of a kind, in words."""
    return (" or " if kind == ALL else " and ").join(_NAMES[part] for part in parts_of(kind))


def retrieve(task: Task, pair: Pair, embedded: Mapping[str, Embedded]) -> dict[str, Retrieved]:
    """Find the five keys most similar to each query.

    Args:
        task: Keys and queries.
        pair: What of them is compared.
        embedded: By modality: vectors of all specimens that `task.needed` names. A modality that no specimen has may
            be absent, where keys are of `all`.

    Returns:
        By group of queries.

    Raises:
        ValueError: If vectors that are averaged or compared differ in width, or are not finite.
    """
    widths = {name: embedded[name].vectors.shape[1] for name in pair.modalities if name in embedded}
    if pair.query != CONCAT and len(set(widths.values())) > 1:
        raise ValueError(
            f"{pair.title} needs embeddings of one width, in one space; got "
            f"{', '.join(f'{width:,} of {modality}' for modality, width in widths.items())}. Leave out this pair, or "
            "take a model whose encoders were aligned."
        )
    kinds = [name for name in MODALITIES if name in embedded] if pair.key == ALL else [pair.key]
    stacked = {kind: task.having(kind, task.keys) for kind in kinds}
    keys = np.concatenate([_vectors(kind, rows, embedded) for kind, rows in stacked.items()])
    key_rows = np.concatenate(list(stacked.values()))
    found = {}
    for group, own in task.queries.items():
        queries = task.having(pair.query, own)
        nearest, _ = nearest_k(keys, _vectors(pair.query, queries, embedded), NEIGHBOURS)
        found[group] = Retrieved(queries, key_rows[nearest])
    return found


def _vectors(kind: str, rows: NDArray[np.int64], embedded: Mapping[str, Embedded]) -> NDArray[np.float32]:
    parts = [embedded[part].of(rows) for part in parts_of(kind)]
    if kind == JOINT:
        return unit_length(np.mean(parts, axis=0))
    return unit_length(np.hstack(parts)) if kind == CONCAT else parts[0]


def score(task: Task, pair: Pair, found: Mapping[str, Retrieved]) -> Iterator[Measured]:
    """Score what was retrieved at each rank, by its own labels: a genus may be right where the family is wrong.

    Queries without a label at a rank are left out there, and a key without one is never right. CLIBD's code writes
    `not_classified` for a missing label and counts that as a taxon like others. A rank is left out for groups of whose
    labels no key has any. The harmonic mean is that of CLIBD, 2 / (1 / seen + 1 / unseen).

    Args:
        task: Keys and queries.
        pair: What was compared.
        found: What `retrieve` found.
    """
    splits = {**task.settings.groups, HARMONIC: "+".join(task.settings.groups.values())}
    for rank in RETRIEVED_RANKS:
        labels, groups = task.labels[rank], task.groups(pair, rank)
        if not groups:
            continue
        candidates = np.concatenate([labels[found[group].keys] for group in groups])
        truth = np.concatenate([labels[found[group].queries] for group in groups])
        if len(groups) > 1:
            is_seen = np.repeat([group == SEEN for group in groups], [len(found[group].queries) for group in groups])
            scores = SeenUnseenAccuracy().compute(
                predictions=candidates, references=truth, is_seen=is_seen, k=list(DEPTHS)
            )
            prefixes = {SEEN: "seen_", UNSEEN: "unseen_", HARMONIC: "harmonic_"}
        else:
            scores = Accuracy().compute(predictions=candidates, references=truth, k=list(DEPTHS))
            prefixes = {groups[0]: ""}
        for group, prefix in prefixes.items():
            count = int(scores["count" if group == HARMONIC else f"{prefix}count"])
            name = retrieval_name(*pair, rank, group)
            for metric in METRICS:
                yield Measured(name, metric, scores[f"{prefix}{metric}"], count, splits[group])
