"""The benchmark of identification: its pictures."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from bioscan_hf.evaluation.results import Result
from bioscan_hf.identification.benchmark import ALL, SEEN, SPEED, SWEPT, UNSEEN, Task, question
from bioscan_hf.identification.benchmark_confidence import confident, risk_and_coverage, safe_at
from bioscan_hf.identification.benchmark_programs import OURS

_BINS = 15
# How many times the error that was asked for is shown: what is far above hides what matters.
_SHOWN = 10
_PANELS = (("species", SEEN), ("genus", UNSEEN))


def accuracy_against_speed(results: Sequence[Result], *, title: str) -> Figure:
    """Draw accuracy against queries per second, one panel per question; ours also without its start-up.

    Args:
        results: Of all programs.
        title: Heading of the picture.
    """
    values = {(r.model, r.benchmark, r.metric): r.value for r in results}
    models = list(dict.fromkeys(r.model for r in results))
    figure, panels = plt.subplots(1, len(_PANELS), figsize=(10, 4.2), layout="constrained")
    for axes, (rank, group) in zip(panels, _PANELS, strict=True):
        for number, model in enumerate(models):
            accuracy = values.get((model, question(rank, group), "accuracy"))
            work, whole = (
                values.get((model, SPEED, metric)) for metric in ("queries_per_second", "queries_per_second_with_start")
            )
            if accuracy is None or work is None:
                continue
            style = {"color": f"C{number}", "markersize": 10 if model == OURS else 7}
            if whole is not None and whole < work:
                axes.plot([whole, work], [100 * accuracy] * 2, linewidth=1, color=f"C{number}")
                label = f"{model}, without start-up"
                axes.plot(work, 100 * accuracy, marker="o", fillstyle="none", linestyle="", label=label, **style)
            axes.plot(whole or work, 100 * accuracy, marker="o", linestyle="", label=model, **style)
        axes.set(xscale="log", title=f"{rank} of {group}", xlabel="queries/s", ylabel="accuracy (%)")
        axes.margins(0.15)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    # A program may be missing in a panel.
    shown = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", frameon=False, fontsize="small")
    return figure


def reliability(task: Task, table: pa.Table, *, title: str) -> Figure:
    """Draw how often names are right against how sure they are, one panel per rank; points are as large as the bins.

    Args:
        task: Keys and queries.
        table: Results of `Identifier`.
        title: Heading of the picture.
    """
    figure, panels = plt.subplots(1, len(SWEPT), figsize=(3 * len(SWEPT), 3.5), sharey=True, layout="constrained")
    for axes, rank in zip(panels, SWEPT, strict=True):
        confidences, right = confident(task, table, rank)
        members = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
        sizes = np.bincount(members, minlength=_BINS)
        held = sizes > 0
        sure, correct = (np.bincount(members, weights=w, minlength=_BINS)[held] for w in (confidences, right))
        axes.plot([0, 100], [0, 100], color="0.7", linewidth=1)
        areas = 10 + 290 * sizes[held] / max(sizes.sum(), 1)
        axes.scatter(100 * sure / sizes[held], 100 * correct / sizes[held], s=areas, color="C0", alpha=0.6)
        axes.set(title=f"{rank} ({len(right):,})", xlabel="probability (%)", xlim=(-5, 105), ylim=(-5, 105))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("right (%)")
    figure.suptitle(title)
    return figure


def risk_against_coverage(results: Sequence[Result], task: Task, table: pa.Table, *, title: str) -> Figure:
    """Draw the error of the surest names against the share of queries that they are.

    Errors are shown up to ten times of what was asked for. Crosses are the safe names.

    Args:
        results: With those of the safe names.
        task: Keys and queries.
        table: Results of `Identifier`.
        title: Heading of the picture.
    """
    values = {(r.benchmark, r.metric): r.value for r in results if r.model == OURS}
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for number, rank in enumerate(SWEPT):
        risks, coverages = risk_and_coverage(task, table, rank)
        if not len(risks):
            continue
        axes.plot(100 * coverages, 100 * risks, color=f"C{number}", label=rank)
        coverage, error = (values.get((safe_at(rank, ALL), metric)) for metric in ("coverage", "error"))
        if coverage is not None and error is not None:
            axes.plot(100 * coverage, 100 * error, color=f"C{number}", marker="X", markersize=9)
    limit = 100 * task.settings.max_error
    axes.axhline(limit, color="0.5", linestyle="--", linewidth=1, label=f"{limit:g} % asked for")
    axes.set(
        title=title,
        xlabel="queries that are named (%)",
        ylabel="wrong among these (%)",
        ylim=(-limit / 4, _SHOWN * limit),
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure
