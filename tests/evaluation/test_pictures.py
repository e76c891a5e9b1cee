from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_loss_curve_draws_every_step_and_the_mean() -> None:
    losses = [5.0 - 0.1 * step for step in range(30)]
    lines = loss_curve(losses, chance=5.5, title="A title").axes[0].get_lines()
    steps, means, chance = (np.asarray(line.get_ydata(), dtype=float) for line in lines)
    assert steps.tolist() == losses and chance[0] == 5.5
    assert means[0] == pytest.approx(np.mean(losses[:20])) and len(means) == 11
