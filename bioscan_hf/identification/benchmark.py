"""The benchmark of identification: keys, queries, what a program answers, and how often it is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks.barcode_classification import Measured
from bioscan_hf.evaluation.benchmarks.specimens import rows_of

SEEN, UNSEEN, ALL = "seen species", "unseen species", "all queries"
"""Groups of queries."""
SWEPT = RANKS[RANKS.index("order") :]
SPEED = "speed"
"""What is measured of the time and memory of a program."""

Names = NDArray[np.object_]
"""Names of taxa, (N,); None where there is none."""


@dataclass(frozen=True)
class Settings:
    """What is asked.

    Attributes:
        keys: Split of the known specimens.
        queries: Split of the queries of seen species.
        queries_unseen: Split of the queries of species that have no keys.
        calibration: Splits that confidence and novelty are learnt from.
        threads: Of each program.
        max_error: Error that safe names may have, between 0 and 1.
        limit: Queries of each split, drawn at random; None for all.
        seed: Of the draw.

    Raises:
        ValueError: If `max_error` is out of range.
    """

    keys: str = "train"
    queries: str = "test"
    queries_unseen: str = "test_unseen"
    calibration: str = "val+val_unseen+other_heldout"
    threads: int = 2
    max_error: float = 0.01
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.max_error < 1:
            raise ValueError(f"`max_error` must be between 0 and 1, such as 0.01; got {self.max_error}.")


@dataclass(frozen=True)
class Speed:
    """What naming the queries takes, after the library has been made.

    Attributes:
        seconds: From reading to writing, without start-up where this can be told apart.
        whole_seconds: Of the whole program, from its start to its end; None for what is no program of its own.
        cpu_seconds: Of all threads of the program; None for what is no program of its own.
        peak_bytes: Largest memory that the program held; None for what is no program of its own.
    """

    seconds: float
    whole_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Answers:
    """What a program answers to all queries of a task, in their order.

    Attributes:
        model: Name of the program.
        names: Names of the queries, (Q,), at each rank.
        speed: What it took.
        table: The table of results of `Identifier`, with confidence and novelty; None for other programs.
        revision: Digest of its weights, if it has some.
    """

    model: str
    names: Mapping[str, Names]
    speed: Speed
    table: pa.Table | None = None
    revision: str | None = None


class Task:
    """Keys and queries, with their names. Queries of seen species come first."""

    def __init__(self, known: Dataset, asked: Dataset, settings: Settings) -> None:
        """Find keys and queries.

        Args:
            known: Specimens of the keys, and of the calibration, with `processid`, `split`, `dna_barcode` and the
                ranks.
            asked: The queries, likewise.
            settings: Which splits they are of.

        Raises:
            ValueError: If there are no keys or no queries.
        """
        self.settings = settings
        self.known = known
        self.keys = known.select(rows_of(known, settings.keys))
        splits = {SEEN: settings.queries, UNSEEN: settings.queries_unseen}
        rows = {group: rows_of(asked, split) for group, split in splits.items()}
        self.queries = asked.select(np.concatenate(list(rows.values())))
        if not len(self.keys) or not len(self.queries):
            raise ValueError(
                f"Expected keys in the split {settings.keys!r} and queries in {settings.queries!r} and "
                f"{settings.queries_unseen!r}; got {len(self.keys):,} keys and {len(self.queries):,} queries. "
                "Choose other splits, or give them by a table (`--splits`)."
            )
        places = np.arange(len(self.queries))
        seen = places < len(rows[SEEN])
        groups = {SEEN: places[seen], UNSEEN: places[~seen], ALL: places}
        self.groups: dict[str, NDArray[np.int64]] = {group: found for group, found in groups.items() if len(found)}
        """Places of the queries of each group that has some."""
        self.splits = {**splits, ALL: f"{settings.queries}+{settings.queries_unseen}"}

    @cached_property
    def truth(self) -> dict[str, Names]:
        """Names of the queries at each rank, (Q,)."""
        return {rank: names_of(self.queries[rank][:]) for rank in RANKS}

    @cached_property
    def key_names(self) -> dict[str, Names]:
        """Names of the keys at each rank, (K,)."""
        return {rank: names_of(self.keys[rank][:]) for rank in RANKS}

    def named_as(self, hits: NDArray[np.int64]) -> dict[str, Names]:
        """Give each query the names of a key.

        Args:
            hits: (Q,) index of the key; -1 for none.
        """
        return {
            rank: np.array([None if hit < 0 else names[hit] for hit in hits], dtype=object)
            for rank, names in self.key_names.items()
        }

    def labelled(self, rank: str, group: str = ALL) -> NDArray[np.int64]:
        """Places of the queries of a group that have a name at a rank."""
        rows = self.groups.get(group, np.empty(0, np.int64))
        return rows[is_named(self.truth[rank][rows])]


def names_of(names: Sequence[str | None]) -> Names:
    """Turn a column into an array, where the empty name is none."""
    return np.array([name or None for name in names], dtype=object)


def is_named(names: Names) -> NDArray[np.bool_]:
    """Which names are there, (N,)."""
    return np.array([name is not None for name in names], dtype=bool)


def score_names(task: Task, answers: Answers) -> Iterator[Measured]:
    """Score the names of a program: the share of the queries with a label at a rank that have this name."""
    for rank in SWEPT:
        for group in (SEEN, UNSEEN):
            # The species of these have no keys, so no program can name them.
            if (rank, group) == ("species", UNSEEN) or not len(rows := task.labelled(rank, group)):
                continue
            right = answers.names[rank][rows] == task.truth[rank][rows]
            yield Measured(question(rank, group), "accuracy", float(right.mean()), len(rows), task.splits[group])


def question(rank: str, group: str) -> str:
    """Name of the question for a rank, for results."""
    return f"{rank}, {group}"


def score_speed(task: Task, speed: Speed) -> Iterator[Measured]:
    """Tell what a program took: queries per second, CPU seconds, megabytes (10^6 bytes)."""
    count = len(task.queries)
    values = {
        "queries_per_second": count / speed.seconds,
        "queries_per_second_with_start": None if speed.whole_seconds is None else count / speed.whole_seconds,
        "cpu_seconds": speed.cpu_seconds,
        "peak_megabytes": None if speed.peak_bytes is None else speed.peak_bytes / 1e6,
    }
    for metric, value in values.items():
        if value is not None:
            yield Measured(SPEED, metric, value, count, task.splits[ALL])
