"""Pictures of benchmark 3: accuracies by rank, and what was retrieved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import ImageOps

from bioscan_hf.evaluation.benchmarks.cross_modal_retrieval import NEIGHBOURS, Retrieved, Task
from bioscan_hf.evaluation.benchmarks.paper import PUBLISHED, RETRIEVED_RANKS, SEEN, UNSEEN, retrieval_name
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import IMAGE, Pair
from bioscan_hf.evaluation.benchmarks.retrieval_tables import MACRO
from bioscan_hf.evaluation.metrics.base import UNLABELLED
from bioscan_hf.evaluation.results import Result

_PANELS_IN_A_ROW = 3
_BAR = 0.2
# Inches of an image, of a row of cards, and of the names below; pixels of an image.
_SIDE, _CARD, _NAMES, _PIXELS = 1.2, 0.5, 0.3, 180
_NAME_LETTERS = 22
# By the narrowest rank that is right.
_FRAMES = {"species": "C2", "genus": "gold", "family": "C1"}
_WRONG = "C3"


def accuracy_by_rank(results: Sequence[Result], pairs: Sequence[Pair], *, title: str) -> Figure:
    """Draw the macro top-1 accuracy of a model at each rank, one panel per pair, with published numbers pale beside.

    Args:
        results: Of one model.
        pairs: What was asked.
        title: Heading of the picture.
    """
    values = {result.benchmark: result.value for result in results if result.metric == MACRO}
    # The first published model of a pair is the best one.
    others = {p.benchmark: p for p in reversed(PUBLISHED) if p.metric == MACRO}
    rows = -(-len(pairs) // _PANELS_IN_A_ROW)
    columns = min(len(pairs), _PANELS_IN_A_ROW)
    figure, grid = plt.subplots(
        rows, columns, figsize=(4.4 * columns + 1.2, 2.9 * rows + 0.8), squeeze=False, layout="constrained"
    )
    series = [(SEEN, "C0"), (UNSEEN, "C1")]
    published = ""
    for axes, pair in zip(grid.flat, pairs, strict=False):
        for place, (group, colour) in enumerate(series):
            for x, rank in enumerate(RETRIEVED_RANKS):
                name = retrieval_name(*pair, rank, group)
                if name in values:
                    _bar(axes, x + (place - 1.5) * _BAR, values[name], colour)
                if name in others:
                    _bar(axes, x + (place + 0.5) * _BAR, others[name].value, colour, alpha=0.3)
                    published = others[name].model
        axes.set_xticks(range(len(RETRIEVED_RANKS)), RETRIEVED_RANKS)
        axes.set(title=pair.title, ylabel="macro top-1 accuracy (%)", ylim=(0, 112), xlim=(-0.5, 3.5))
        axes.set_yticks(range(0, 101, 20))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(pairs) :]:
        axes.set_axis_off()
    shown = [Patch(color=colour, label=group) for group, colour in series]
    if published:
        shown += [Patch(color=c, alpha=0.3, label=f"{group}, {published}, published") for group, c in series]
    figure.suptitle(title)
    figure.legend(handles=shown, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def _bar(axes: Axes, x: float, value: float, colour: str, alpha: float = 1.0) -> None:
    axes.bar(x, 100 * value, _BAR * 0.92, color=colour, alpha=alpha)
    axes.text(x, 100 * value + 1.5, f"{100 * value:.0f}", ha="center", fontsize=6.5)


class Found(NamedTuple):
    """A query, of a group, and its nearest keys (5,): rows of specimens."""

    group: str
    query: int
    keys: NDArray[np.int64]


def choose_queries(task: Task, found: Mapping[str, Retrieved], wanted: int) -> list[Found]:
    """Choose queries to show, half of them of unseen species, from as many orders as there are.

    The choice depends on the seed and on which specimens can be queries, not on what was found.

    Args:
        task: Keys and queries.
        found: By group: what was retrieved.
        wanted: How many; fewer if there are no more with a species.
    """
    chosen = []
    shares = {group: (wanted + 1 - place) // 2 if len(found) > 1 else wanted for place, group in enumerate(found)}
    for group, (queries, keys) in found.items():
        named = np.flatnonzero(task.labels["species"][queries] != UNLABELLED)
        shuffled = np.random.default_rng(task.settings.seed).permutation(named)
        before: Counter[int] = Counter()
        turns = []
        for place in shuffled:
            order = int(task.labels["order"][queries[place]])
            turns.append(before[order])
            before[order] += 1
        # First one query of each order, then a second one.
        first = shuffled[np.argsort(turns, kind="stable")][: shares[group]]
        chosen += [Found(group, int(queries[place]), keys[place]) for place in first]
    return chosen


def retrieved_keys(specimens: Dataset, rows: Sequence[Found], *, title: str) -> Figure:
    """Draw queries, each with its nearest keys beside, framed by the narrowest rank at which they are right.

    Specimens without image, and all if images are not loaded, are cards with their process id.

    Args:
        specimens: Have `processid`, the ranks, and perhaps `image`.
        rows: What is shown.
        title: Heading of the picture.
    """
    # A narrow empty column parts the queries from the keys.
    widths = [1, 0.12, *[1] * NEIGHBOURS]
    height = (_SIDE if IMAGE in specimens.column_names else _CARD) + _NAMES
    figure, grid = plt.subplots(
        len(rows),
        len(widths),
        figsize=(_SIDE * sum(widths) + 0.6, height * len(rows) + 0.8),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"width_ratios": widths},
    )
    for line, (group, query, keys) in zip(grid, rows, strict=True):
        asked, *nearest = (specimens[int(row)] for row in (query, *keys))
        _draw(line[0], asked, None)
        line[0].set_ylabel(group.replace(" ", "\n"), fontsize="small")
        line[1].set_axis_off()
        for axes, specimen in zip(line[2:], nearest, strict=True):
            _draw(axes, specimen, _frame(asked, specimen))
    for axes, name in zip(grid[0, [0, *range(2, len(widths))]], ["query", *range(1, NEIGHBOURS + 1)], strict=True):
        axes.set_title(str(name), fontsize="small")
    shown = [Patch(color=colour, label=f"same {rank}") for rank, colour in _FRAMES.items()]
    figure.suptitle(title)
    figure.legend(
        handles=[*shown, Patch(color=_WRONG, label="another family")],
        loc="outside lower center",
        ncols=len(shown) + 1,
        frameon=False,
        fontsize="small",
    )
    return figure


def _frame(query: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    right = [rank for rank in _FRAMES if query[rank] and query[rank] == key[rank]]
    return _FRAMES[right[0]] if right else _WRONG


def _draw(axes: Axes, specimen: Mapping[str, Any], frame: str | None) -> None:
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1), aspect="equal" if IMAGE in specimen else "auto")
    if (image := specimen.get(IMAGE)) is not None:
        # Whole, for specimens may be long.
        axes.imshow(ImageOps.pad(image.convert("RGB"), (_PIXELS, _PIXELS), color="white"), extent=(0, 1, 0, 1))
    else:
        axes.set_facecolor("0.95")
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6, "color": "0.3"}
        axes.text(0.5, 0.5, specimen["processid"], parse_math=False, **style)
    named = [specimen[rank] for rank in reversed(RETRIEVED_RANKS) if specimen[rank]]
    name = named[0] if named else "no label"
    shown = name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"
    axes.set_xlabel(shown, fontsize=6, labelpad=2, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=frame or "0.7", linewidth=2.5 if frame else 1)
