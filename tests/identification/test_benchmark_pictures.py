import matplotlib.pyplot as plt
import numpy as np
import pytest

from bioscan_hf.evaluation.results import Result
from bioscan_hf.identification.benchmark import SWEPT
from bioscan_hf.identification.benchmark_confidence import confident, score_confidence
from bioscan_hf.identification.benchmark_pictures import accuracy_against_speed, reliability, risk_against_coverage
from tests.identification.made_benchmark import made_specimens, made_table, made_task
from tests.identification.test_benchmark_tables import results


@pytest.fixture(autouse=True)
def closed() -> None:
    plt.close("all")


def test_accuracy_over_speed_of_all_programs() -> None:
    start = [result for result in results() if result.metric != "queries_per_second"]
    work = [r for r in results() if r.metric == "queries_per_second"]
    made = [*start, *(Result(**{**vars(r), "value": 4 * r.value}) if r.model.startswith("bio") else r for r in work)]
    figure = accuracy_against_speed(made, title="A title")
    species, genus = figure.axes
    points = np.array([np.asarray(line.get_xydata())[0] for line in species.lines if line.get_marker() == "o"])
    assert np.allclose(points, [(1200, 90), (300, 90), (10, 80), (2, 90), (60, 70)])
    assert species.get_xscale() == "log" and len([line for line in genus.lines if line.get_marker() == "o"]) == 4
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["bioscan identify, without start-up", "bioscan identify"] and len(names) == 5


def test_reliability_has_the_bins_of_the_error() -> None:
    task = made_task(made_specimens(40))
    table = made_table(task)
    figure = reliability(task, table, title="A title")
    assert [axes.get_title().split()[0] for axes in figure.axes] == list(SWEPT)
    confidences, right = confident(task, table, "species")
    points = np.asarray(figure.axes[SWEPT.index("species")].collections[0].get_offsets())
    members = np.floor(confidences * 15)
    expected = [
        [100 * confidences[members == place].mean(), 100 * right[members == place].mean()]
        for place in sorted(set(members))
    ]
    assert len(points) > 5 and np.allclose(points, expected)


def test_risk_ends_with_the_error_of_all_names_and_crosses_are_safe_names() -> None:
    task = made_task(made_specimens(40))
    table = made_table(task)
    about = ("bioscan identify", None, "data", "1", "test", "bioscan")
    made = [Result(m.benchmark, m.metric, m.value, m.count, *about) for m in score_confidence(task, table)]
    figure = risk_against_coverage(made, task, table, title="A title")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert {*SWEPT, "1 % asked for"} - set(lines) == {"subfamily"}
    _, right = confident(task, table, "genus")
    ends = [np.asarray(values)[-1] for values in lines["genus"].get_data()]
    assert ends == pytest.approx([100 * len(right) / len(task.queries), 100 * (1 - right.mean())])
    crosses = [line.get_data() for line in figure.axes[0].lines if line.get_marker() == "X"]
    values = {(r.benchmark, r.metric): r.value for r in made}
    safe = [
        (values[f"safe at {r}, all queries", "coverage"], values[f"safe at {r}, all queries", "error"])
        for r in SWEPT
        if r != "subfamily"
    ]
    assert np.allclose(np.array(crosses, float).reshape(-1, 2), 100 * np.array(safe))


def test_pictures_of_a_library_without_calibration() -> None:
    task = made_task()
    table = made_table(task)
    for rank in SWEPT:
        place = table.column_names.index(f"{rank}_probability")
        table = table.set_column(place, f"{rank}_probability", [[None] * len(task.queries)])
    assert len(reliability(task, table, title="A title").axes) == len(SWEPT)
    assert len(risk_against_coverage([], task, table, title="A title").axes[0].lines) == 1
