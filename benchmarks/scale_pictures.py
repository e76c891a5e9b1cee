"""Pictures of the rehearsals: CPU seconds and memory against size, a panel per part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

_COLUMNS = 4
_BLUE = "#0072b2"
Record = dict[str, Any]


def save_pictures(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write scale_cpu.png and scale_memory.png, and return their paths."""
    return [_save(records, folder, cost) for cost in ("cpu", "memory")]


def _save(records: Sequence[Record], folder: Path, cost: str) -> Path:
    rows = math.ceil(len(records) / _COLUMNS)
    figure, grid = plt.subplots(
        rows, _COLUMNS, figsize=(2.6 * _COLUMNS, 2.1 * rows), layout="constrained", sharey=True, squeeze=False
    )
    for axes, record in zip(grid.flat, records, strict=False):
        sizes = [size["n"] for size in record["sizes"]]
        if cost == "cpu":
            seconds = [size["cpu"] for size in record["sizes"]]
            line = [seconds[-1] * size / sizes[-1] for size in sizes]
            axes.plot(sizes, line, color="0.7", linewidth=1, linestyle="--")
            axes.plot(sizes, seconds, color=_BLUE, marker="o", markersize=4)
            axes.annotate(f"{seconds[-1]:,.3g} s", (sizes[-1], seconds[-1]), (-4, 6), **_LABEL)
        else:
            held = [size["held"] for size in record["sizes"]]
            axes.plot(sizes, held, color=_BLUE, marker="o", markersize=4)
            axes.annotate(f"{held[-1]:.2g} GB", (sizes[-1], held[-1]), (-4, 6), **_LABEL)
        axes.set(xscale="log", title=record["title"], xlabel=record["unit"])
        axes.set_yscale("log", base=10 if cost == "cpu" else 2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xticks(sizes, [_short(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.title.set_fontsize(8)
        axes.xaxis.label.set_fontsize(8)
        axes.tick_params(labelsize=7)
        axes.grid(visible=True, which="major", color="0.9")
        axes.margins(0.18, 0.2)
    for axes in list(grid.flat)[len(records) :]:
        axes.set_visible(False)
    figure.supylabel("CPU seconds" if cost == "cpu" else "memory held, GB", fontsize=9)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"scale_{cost}.png"
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


def _short(count: int) -> str:
    return f"{count / 1e6:.2g} M" if count >= 1e5 else f"{count / 1e3:g} k"


_LABEL: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 7}
