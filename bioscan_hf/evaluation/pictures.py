"""Pictures: a map of embeddings and the curves of a training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from bioscan_hf.evaluation.clustering.reduction import reduce
from bioscan_hf.evaluation.clustering.settings import Clustering

# More orders than this would not be told apart by colour.
MAX_COLOURS = 10
OTHER, UNLABELLED = "other", "no label"
# t-SNE of this many points takes some ten seconds on two cores; UMAP of so many does, too.
MAX_POINTS = {"t-SNE": 2000, "UMAP": 5000}
SMOOTHED_STEPS = 20


def embedding_map(
    vectors: NDArray[np.float32],
    labels: Sequence[str | None],
    *,
    title: str,
    method: Literal["t-SNE", "UMAP"] = "t-SNE",
    seed: int = 0,
) -> Figure:
    """Draw embeddings in the plane, coloured by label.

    Args:
        vectors: (N, D); a random `MAX_POINTS` of them are drawn if there are more.
        labels: N names; the `MAX_COLOURS` most frequent have a colour of their own, the others share one.
        title: Heading of the picture.
        method: How they are brought into the plane; UMAP needs the extra `clustering`.
        seed: Seed of the choice of points and of the method.

    Returns:
        The picture.

    Raises:
        ValueError: If there are fewer than 4 vectors, or some are not finite.
        ImportError: If UMAP is asked for and missing.
    """
    if len(vectors) < 4:
        raise ValueError(f"A map needs at least 4 embeddings; got {len(vectors)}.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[: MAX_POINTS[method]])
    names = np.array([labels[i] or UNLABELLED for i in chosen], dtype=object)
    if method == "UMAP":
        neighbours = min(Clustering.neighbours, len(chosen) - 1)
        points = reduce(vectors[chosen], Clustering(dimensions=2, neighbours=neighbours, min_dist=0.1), seed=seed)
    else:
        perplexity = min(30, (len(chosen) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors[chosen])
    frequent = [name for name, _ in Counter(names).most_common() if name != UNLABELLED][:MAX_COLOURS]
    groups = {name: names == name for name in frequent}
    groups[OTHER] = ~np.isin(names, [*frequent, UNLABELLED])
    groups[UNLABELLED] = names == UNLABELLED

    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    for i, (name, members) in enumerate(groups.items()):
        if members.any():
            colour = {OTHER: "0.45", UNLABELLED: "0.8"}.get(name, f"C{i}")
            x, y = points[members].T
            label = f"{name} ({members.sum():,})".replace("$", r"\$")  # no formula
            axes.scatter(x, y, s=7, color=colour, label=label, linewidths=0)
    axes.set(title=title, xticks=[], yticks=[], xlabel=f"{method} of {len(chosen):,} specimens")
    figure.legend(loc="outside right upper", markerscale=3, frameon=False, fontsize="small")
    return figure


def loss_curve(history: Sequence[Mapping[str, float]], *, chance: float | None, title: str) -> Figure:
    """Draw the losses over the steps, and in a second panel what else was evaluated.

    Args:
        history: Records with "step" and some of "loss" and "eval_loss" (nats) and "eval_<metric>", oldest first.
        chance: Loss of a model that knows nothing, in nats, drawn as a line for comparison; None for no line.
        title: Heading of the picture.

    Returns:
        The picture; without a second panel if no record has another metric.
    """
    names = dict.fromkeys(name for record in history for name in record if name.startswith("eval_"))
    metrics = [name for name in names if name != "eval_loss"]
    rows = 2 if metrics else 1
    figure, grid = plt.subplots(rows, figsize=(8, 1 + 3 * rows), sharex=True, squeeze=False, layout="constrained")
    panels = grid[:, 0]
    _draw_losses(panels[0], history, chance)
    panels[0].set(title=title, ylabel="cross-entropy (nats)", ylim=(0, None))
    for name in metrics:
        panels[1].plot(*_series(history, name), marker=".", label=name.removeprefix("eval_").replace("_", " "))
        panels[1].set(ylabel="evaluation")
    panels[-1].set(xlabel="step")
    for axes in panels:
        # Beside the curves: inside there is always a run whose curve it would hide.
        axes.legend(
            *axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small"
        )
    return figure


def _draw_losses(axes: Axes, history: Sequence[Mapping[str, float]], chance: float | None) -> None:
    steps, losses = _series(history, "loss")
    if len(losses):
        window = min(SMOOTHED_STEPS, len(losses))
        kernel = np.ones(window) / window
        centres, means = (np.convolve(values, kernel, mode="valid") for values in (steps, losses))
        axes.plot(steps, losses, color="C0", alpha=0.3, linewidth=0.8, label="training")
        axes.plot(centres, means, color="C0", label=f"mean of {window} values")
    steps, losses = _series(history, "eval_loss")
    if len(losses):
        axes.plot(steps, losses, color="C1", marker="o", markersize=4, label="evaluation")
    if chance is not None:
        axes.axhline(chance, color="0.5", linestyle="--", linewidth=1, label="guessing")


def _series(history: Sequence[Mapping[str, float]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of the records that have a name, (N,) each."""
    own = [(record["step"], record[name]) for record in history if name in record]
    steps, values = np.array(own, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture as PNG and free its memory."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
