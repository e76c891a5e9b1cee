from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from PIL import Image

from bioscan_hf.evaluation import pictures
from bioscan_hf.evaluation.clustering.settings import Clustering
from bioscan_hf.evaluation.pictures import MAX_COLOURS, embedding_map, loss_curve, save_picture


def test_map_names_the_frequent_labels_and_counts_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [f"Order{i % 14}" if i % 14 < 12 else None for i in range(70)] + ["Order0"]
    figure = embedding_map(rng.normal(size=(71, 5)).astype(np.float32), labels, title="A title")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0] == "Order0 (6)" and len(legend) == MAX_COLOURS + 2
    assert legend[-2:] == ["other (10)", "no label (10)"]
    assert figure.axes[0].get_title() == "A title"
    save_picture(figure, tmp_path / "map.png")
    assert Image.open(tmp_path / "map.png").size == (1200, 825)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 embeddings; got 3"):
        embedding_map(np.eye(3, dtype=np.float32), ["a"] * 3, title="")


# numba compiles UMAP for half a minute in every process: tests/evaluation/clustering has the one test that runs it.
@pytest.mark.parametrize(("count", "drawn", "neighbours"), [(4, 4, 3), (20, 20, 19), (60, 40, 30)])
def test_map_by_umap(count: int, drawn: int, neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[np.ndarray, Clustering, int]] = []

    def reduced(vectors: np.ndarray, settings: Clustering, *, seed: int) -> np.ndarray:
        asked.append((vectors, settings, seed))
        return vectors[:, :2] * 10

    monkeypatch.setattr(pictures, "reduce", reduced)
    monkeypatch.setitem(pictures.MAX_POINTS, "UMAP", 40)
    vectors = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
    figure = embedding_map(vectors, ["a"] * count, title="", method="UMAP", seed=7)
    [(given, settings, seed)] = asked
    assert settings == Clustering("umap", dimensions=2, neighbours=neighbours, min_dist=0.1) and seed == 7
    # Some of the vectors, each once, in their order.
    assert len(given) == drawn and set(given[:, 0].tolist()) <= set(vectors[:, 0].tolist())
    assert (np.diff(given[:, 0]) > 0).all()
    [axes] = figure.axes
    [points] = (c for c in axes.collections if isinstance(c, PathCollection))
    np.testing.assert_array_equal(points.get_offsets(), given[:, :2] * 10)
    assert axes.get_xlabel() == f"UMAP of {drawn} specimens"


def series(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Label and points of each line."""
    lines = axes.get_lines()
    points = ((np.asarray(line.get_xdata(), float).tolist(), np.asarray(line.get_ydata(), float)) for line in lines)
    return {str(line.get_label()): (x, y.tolist()) for line, (x, y) in zip(lines, points, strict=True)}


def test_loss_curve_draws_every_record_and_the_mean() -> None:
    losses = [5.0 - 0.1 * i for i in range(30)]
    history = [{"step": 10 * (i + 1), "loss": loss} for i, loss in enumerate(losses)]
    (axes,) = loss_curve(history, chance=5.5, title="A title").axes
    drawn = series(axes)
    assert drawn["training"] == ([10.0 * (i + 1) for i in range(30)], losses)
    steps, means = drawn["mean of 20 values"]
    assert means[0] == pytest.approx(np.mean(losses[:20])) and len(means) == 11
    assert steps[0] == pytest.approx(105) and drawn["guessing"][1] == [5.5, 5.5]
    assert axes.get_title() == "A title" and "evaluation" not in drawn


def test_evaluations_are_drawn_where_they_were_made() -> None:
    history = [{"step": step, "loss": 3.0} for step in range(1, 5)]
    history += [{"step": 2, "eval_loss": 2.5, "eval_genus_accuracy": 0.5}, {"step": 4, "eval_genus_accuracy": 0.75}]
    losses, metrics = loss_curve(history, chance=None, title="").axes
    assert series(losses)["evaluation"] == ([2], [2.5]) and "guessing" not in series(losses)
    assert series(metrics) == {"genus accuracy": ([2, 4], [0.5, 0.75])}
    legend = metrics.get_legend()
    assert legend and [text.get_text() for text in legend.get_texts()] == ["genus accuracy"]


def test_run_without_a_record_gives_an_empty_picture(recwarn: pytest.WarningsRecorder) -> None:
    (axes,) = loss_curve([], chance=None, title="").axes
    assert not axes.get_lines() and not [warning for warning in recwarn if warning.category is not ResourceWarning]
