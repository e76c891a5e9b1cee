from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from bioscan_hf.evaluation.benchmarks.pages import Column
from bioscan_hf.evaluation.benchmarks.paper import Published
from bioscan_hf.evaluation.benchmarks.pictures import accuracy_bars, rank_curves
from tests.tiny import RESULT


@pytest.fixture(autouse=True)
def closed_figures() -> object:
    yield
    plt.close("all")


def bars(axes: Axes) -> list[tuple[str, float]]:
    """Names and lengths, from the top."""
    lengths = {
        bar.get_y() + bar.get_height() / 2: bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)
    }
    names = [label.get_text() for label in axes.get_yticklabels()]
    return [(name, lengths[place]) for place, name in sorted(zip(axes.get_yticks(), names, strict=True))]


def test_bars_are_sorted_with_published_ones_apart_and_below() -> None:
    results = [
        replace(RESULT, value=0.25),
        replace(RESULT, model="B", value=0.5),
        replace(RESULT, model="B", benchmark="other", value=1),
        replace(RESULT, model="B", metric="macro_accuracy", value=0.1),
    ]
    published = [Published(RESULT.benchmark, "accuracy", name, value, "") for name, value in (("O", 0.4), ("N", 0.8))]
    columns = [Column("genus", RESULT.benchmark, "accuracy"), Column("probe", "probe", "accuracy")]
    columns.append(Column("other", "other", "accuracy"))
    figure = accuracy_bars(results, columns, published, title="A title")
    genus, other = figure.axes  # nothing was measured for the probe
    assert [axes.get_title() for axes in (genus, other)] == ["genus", "other"]
    assert bars(genus) == [("B", 50), ("A model", 25), ("N, published", 80), ("O, published", 40)]
    assert np.diff(genus.get_yticks()).tolist() == [1, 2, 1]
    assert [text.get_text() for text in genus.texts] == ["50.0", "25.0", "80.0", "40.0"]
    assert bars(other) == [("B", 100)]


def test_curves_over_the_ranks() -> None:
    questions = {rank: f"agreement, {rank}" for rank in ("class", "order", "species", "dna_bin")}
    results = [
        replace(RESULT, benchmark="agreement, order", metric="ami", value=0.5, spread=0.02),
        replace(RESULT, benchmark="agreement, dna_bin", metric="ami", value=0.25),
        replace(RESULT, benchmark="agreement, species", metric="ami", value=0.75, model="B"),
        replace(RESULT, benchmark="agreement, class", metric="nmi", value=0.9),
    ]
    published = [
        Published(f"agreement, {rank}", "ami", model, value, "")
        for model, value in (("worst", 0.1), ("best", 0.9), ("middle", 0.3))
        for rank in ("order", "species")
    ]
    figure = rank_curves(results, questions, "ami", published, title="A title", label="AMI (%)")
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["order", "species", "BIN"]
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float).tolist() for line in axes.get_lines()}
    assert lines["A model"] == [50, pytest.approx(np.nan, nan_ok=True), 25]
    assert lines["B"] == pytest.approx([np.nan, 75, np.nan], nan_ok=True)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["A model", "B", "best (published, BIOSCAN-5M)", "middle (published, BIOSCAN-5M)"]
    assert lines["best (published, BIOSCAN-5M)"] == pytest.approx([90, 90, np.nan], nan_ok=True)
    spreads = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    segments = [segment for segment in spreads[0].lines[2][0].get_segments() if len(segment)]
    assert len(spreads) == 2 and segments[0][:, 1].tolist() == [48, 52]
    assert (axes.get_title(), axes.get_ylabel()) == ("A title", "AMI (%)")


def test_models_of_other_questions_are_not_in_the_legend() -> None:
    other = "zero-shot clustering of images, order"
    results = [replace(RESULT, metric="ami"), replace(RESULT, metric="ami", benchmark=other, model="B")]
    published = [Published(other, "ami", "best", 0.9, "a source")]
    figure = rank_curves(results, {"genus": RESULT.benchmark}, "ami", published, title="A title", label="AMI (%)")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A model"]
