"""Pictures of the benchmarks' results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bioscan_hf.evaluation.benchmarks.pages import Column
from bioscan_hf.evaluation.benchmarks.paper import Published
from bioscan_hf.evaluation.results import Result

# Published models in a picture: the best ones; more hide what was measured.
_PUBLISHED_BARS, _PUBLISHED_CURVES = 4, 2
RANK_NAMES = {"dna_bin": "BIN"}


def accuracy_bars(
    results: Sequence[Result], columns: Sequence[Column], published: Sequence[Published], *, title: str
) -> Figure:
    """Draw one panel per question with a bar per model; the best published numbers are pale, and below.

    Args:
        results: What was measured.
        columns: Questions, each with its metric; those that nothing was measured for are left out.
        published: For comparison.
        title: Heading of the picture.
    """
    groups = []
    for column in columns:
        own = {r.model: r.value for r in results if (r.benchmark, r.metric) == column[1:]}
        asked = sorted((p for p in published if (p.benchmark, p.metric) == column[1:]), key=lambda p: -p.value)
        others = {p.model: p.value for p in asked[:_PUBLISHED_BARS]}
        if own:
            groups.append((column.title, own, others))
    rows = max(len(own) + len(others) + bool(others) for _, own, others in groups)
    figure, panels = plt.subplots(
        1, len(groups), figsize=(5 * len(groups), 1.3 + 0.3 * rows), squeeze=False, layout="constrained"
    )
    for axes, (name, own, others) in zip(panels[0], groups, strict=True):
        # Apart, for they are of other data, unless what was measured is of BIOSCAN-5M, too.
        bars = [(model, value, "C0") for model, value in sorted(own.items(), key=lambda bar: -bar[1])]
        ticks = list(range(len(own))) + list(range(len(own) + 1, len(own) + 1 + len(others)))
        bars += [(f"{model}, published", value, "0.8") for model, value in others.items()]
        for place, (_, value, colour) in zip(ticks, bars, strict=True):
            axes.barh(place, 100 * value, color=colour)
            axes.text(100 * value + 1, place, f"{100 * value:.1f}", va="center", fontsize="small")
        axes.set_yticks(ticks, [bar[0] for bar in bars], fontsize="small")
        axes.set(title=name, xlabel="accuracy (%)", xlim=(0, 108), ylim=(rows - 0.5, -0.5))
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return figure


def rank_curves(
    results: Sequence[Result],
    questions: Mapping[str, str],
    metric: str,
    published: Sequence[Published],
    *,
    title: str,
    label: str,
) -> Figure:
    """Draw a metric over the taxonomic ranks, one line per model; the best published ones are dashed.

    Args:
        results: What was measured.
        questions: By rank: the question. Ranks at which nothing was measured are left out.
        metric: The metric.
        published: For comparison.
        title: Heading of the picture.
        label: What the metric is called.
    """
    own = {(r.model, r.benchmark): r for r in results if r.metric == metric and r.benchmark in questions.values()}
    asked = {rank: name for rank, name in questions.items() if any(benchmark == name for _, benchmark in own)}
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    places = np.arange(len(asked))
    for model in dict.fromkeys(model for model, _ in own):
        found = [own.get((model, name)) for name in asked.values()]
        values = [np.nan if r is None else 100 * r.value for r in found]
        spreads = [0.0 if r is None or r.spread is None else 100 * r.spread for r in found]
        (line,) = axes.plot(places, values, marker="o", label=model)
        axes.errorbar(places, values, yerr=spreads, fmt="none", capsize=3, color=line.get_color())
    others = {
        (p.model, p.benchmark): 100 * p.value for p in published if p.metric == metric and p.benchmark in asked.values()
    }
    models = list(dict.fromkeys(model for model, _ in others))
    models.sort(key=lambda model: -np.mean([others.get((model, name), 0) for name in asked.values()]))
    for grey, model in zip(("0.35", "0.6"), models[:_PUBLISHED_CURVES], strict=False):
        values = [others.get((model, name), np.nan) for name in asked.values()]
        axes.plot(places, values, marker=".", linestyle="--", color=grey, label=f"{model} (published, BIOSCAN-5M)")
    axes.set_xticks(places, [RANK_NAMES.get(rank, rank) for rank in asked])
    axes.set(title=title, ylabel=label, ylim=(0, 103))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure
