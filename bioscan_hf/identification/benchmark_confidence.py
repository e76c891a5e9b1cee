"""The benchmark of identification: are names as sure as is said, and are new species told?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks.barcode_classification import Measured
from bioscan_hf.evaluation.metrics.calibration import CalibrationError
from bioscan_hf.identification.benchmark import ALL, SEEN, UNSEEN, Names, Task, is_named, names_of

CALIBRATION_ERROR = "expected_calibration_error"
NOVELTY, FLAG = "novelty", "novel flag"


def score_confidence(task: Task, table: pa.Table) -> Iterator[Measured]:
    """Score what `Identifier` says of its names.

    Args:
        task: Keys and queries.
        table: Its results, (Q,).
    """
    for rank in RANKS:
        confidences, right = confident(task, table, rank)
        if len(confidences):
            scores = CalibrationError().compute(predictions=confidences, references=right)
            for metric in (CALIBRATION_ERROR, "brier_score", "mean_confidence", "accuracy"):
                yield Measured(calibration_of(rank), metric, scores[metric], len(right), task.splits[ALL])
    yield from _score_safe(task, table)
    yield from _score_novelty(task, table)


def confident(task: Task, table: pa.Table, rank: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities of the names at a rank, and whether they are right.

    Returns:
        (N,) each, of the queries that have a label, and a name with a probability, at the rank.
    """
    rows = task.labelled(rank)
    probabilities = numbers(table, f"{rank}_probability")[rows]
    right = names_of(table[rank].to_pylist())[rows] == task.truth[rank][rows]
    given = np.isfinite(probabilities)
    return probabilities[given], right[given].astype(bool)


def risk_and_coverage(task: Task, table: pa.Table, rank: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of names that are wrong among the surest ones, and the share of queries that these are.

    Returns:
        Risks and coverages, one for each probability that occurs, from the highest; empty if there is none.
    """
    confidences, right = confident(task, table, rank)
    order = np.argsort(-confidences, kind="stable")
    counts = np.arange(1, len(order) + 1)
    risks = np.cumsum(~right[order]) / counts
    # Equally sure names are taken all or none.
    last = np.append(np.diff(confidences[order]) != 0, True)[: len(order)]
    return risks[last], counts[last] / max(len(task.labelled(rank)), 1)


def numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column of numbers, (Q,); not a number where it is null."""
    return np.array([np.nan if value is None else value for value in table[name].to_pylist()], dtype=np.float64)


def calibration_of(rank: str) -> str:
    """Name of the question whether names at a rank are as sure as is said."""
    return f"calibration, {rank}"


def safe_of(group: str) -> str:
    """Name of the question whether safe names of a group of queries are."""
    return f"safe rank, {group}"


def safe_at(rank: str, group: str) -> str:
    """Name of the question whether those names at a rank are right that are safe there or deeper."""
    return f"safe at {rank}, {group}"


def _score_safe(task: Task, table: pa.Table) -> Iterator[Measured]:
    depths = {rank: depth for depth, rank in enumerate(RANKS)}
    deepest = np.array([depths.get(rank, -1) for rank in table["safe_rank"].to_pylist()])
    taxa = names_of(table["safe_taxon"].to_pylist())
    truth = np.stack([task.truth[rank] for rank in RANKS])[deepest, np.arange(len(deepest))]
    for group, rows in task.groups.items():
        yield from _safe(safe_of(group), deepest[rows] >= 0, taxa[rows], truth[rows], task.splits[group])
    for rank, depth in depths.items():
        names = names_of(table[rank].to_pylist())
        safe = (deepest >= depth) & is_named(names)
        for group, rows in task.groups.items() if safe.any() else ():
            at_rank = safe[rows], names[rows], task.truth[rank][rows]
            yield from _safe(safe_at(rank, group), *at_rank, task.splits[group])


def _safe(benchmark: str, safe: NDArray[np.bool_], names: Names, truth: Names, split: str) -> Iterator[Measured]:
    yield Measured(benchmark, "coverage", float(safe.mean()), len(safe), split)
    known = safe & is_named(truth)
    if known.any():
        yield Measured(benchmark, "error", float((names != truth)[known].mean()), int(known.sum()), split)


def _score_novelty(task: Task, table: pa.Table) -> Iterator[Measured]:
    if SEEN not in task.groups or UNSEEN not in task.groups:
        return
    new = np.zeros(len(task.queries), bool)
    new[task.groups[UNSEEN]] = True
    scores = numbers(table, "novelty")
    given = np.isfinite(scores)
    split = task.splits[ALL]
    if len(set(new[given])) == 2:
        area = float(roc_auc_score(new[given], scores[given]))
        yield Measured(NOVELTY, "auroc", area, int(given.sum()), split)
    flags = numbers(table, "novel")
    given = np.isfinite(flags)
    flagged, new = flags[given] > 0, new[given]
    counts = {"accuracy": (flagged == new, given.sum()), "precision": (new[flagged], flagged.sum())}
    counts["recall"] = (flagged[new], new.sum())
    for metric, (right, count) in counts.items():
        if count:
            yield Measured(FLAG, metric, float(right.mean()), int(count), split)
