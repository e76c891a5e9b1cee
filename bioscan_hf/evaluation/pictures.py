"""Pictures: a map of embeddings and a loss curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

# More orders than this would not be told apart by colour.
MAX_COLOURS = 10
OTHER, UNLABELLED = "other", "no label"
# t-SNE of this many points takes some ten seconds on two cores.
MAX_POINTS = 2000
SMOOTHED_STEPS = 20


def embedding_map(vectors: NDArray[np.float32], labels: Sequence[str | None], *, title: str, seed: int = 0) -> Figure:
    """Draw embeddings in the plane by t-SNE, coloured by label.

    Args:
        vectors: (N, D), L2-normalised; a random `MAX_POINTS` of them are drawn if there are more.
        labels: N names; the `MAX_COLOURS` most frequent have a colour of their own, the others share one.
        title: Heading of the picture.
        seed: Seed of the choice of points and of t-SNE.

    Returns:
        The picture.

    Raises:
        ValueError: If there are fewer than 4 vectors.
    """
    if len(vectors) < 4:
        raise ValueError(f"A map needs at least 4 embeddings; got {len(vectors)}.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:MAX_POINTS])
    names = np.array([labels[i] or UNLABELLED for i in chosen], dtype=object)
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
            axes.scatter(x, y, s=7, color=colour, label=f"{name} ({members.sum():,})", linewidths=0)
    axes.set(title=title, xticks=[], yticks=[], xlabel=f"t-SNE of {len(chosen):,} specimens")
    figure.legend(loc="outside right upper", markerscale=3, frameon=False, fontsize="small")
    return figure


def loss_curve(losses: Sequence[float], *, chance: float, title: str) -> Figure:
    """Draw the training loss over the steps, with a smoothed line.

    Args:
        losses: Loss of each step, in nats.
        chance: Loss of a model that knows nothing, drawn as a line for comparison.
        title: Heading of the picture.
    """
    values = np.asarray(losses)
    window = min(SMOOTHED_STEPS, len(values))
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(np.arange(1, len(values) + 1), values, color="C0", alpha=0.3, linewidth=0.8, label="each step")
    axes.plot(np.arange(len(smooth)) + (window + 1) / 2, smooth, color="C0", label=f"mean of {window} steps")
    axes.axhline(chance, color="0.5", linestyle="--", linewidth=1, label="guessing")
    axes.set(title=title, xlabel="step", ylabel="cross-entropy (nats)", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture as PNG and free its memory."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
