"""What holds for every metric of the folder."""

import importlib
import inspect
import pickle
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluate
import pytest

from bioscan_hf.evaluation import metrics
from bioscan_hf.evaluation.metrics.base import InMemoryMetric

FOLDER = Path(metrics.__file__).parent
INPUTS: dict[str, dict[str, Any]] = {
    "Accuracy": {"predictions": [1, 2, 0], "references": [1, 1, 0]},
    "F1": {"predictions": [1, 2, 0], "references": [1, 1, 0]},
    "SeenUnseenAccuracy": {"predictions": [1, 2, 0], "references": [1, 1, 0], "is_seen": [True, False, True]},
    "ClusterAgreement": {"predictions": [1, 2, 0], "references": [1, 1, 0]},
    "Retrieval": {"predictions": [[1, 2], [2, 2], [0, 1]], "references": [1, 1, 0], "relevant": [1, 1, 1]},
    "HierarchicalDistance": {"predictions": [[1, 2], [2, 2]], "references": [[1, 2], [1, 2]]},
    "CalibrationError": {"predictions": [0.5, 0.9, 1.0], "references": [True, False, True]},
}


def classes_of(file: Path) -> list[type[InMemoryMetric]]:
    module = importlib.import_module(f"{metrics.__name__}.{file.stem}")
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, InMemoryMetric)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]


METRICS = {file: classes[0] for file in sorted(FOLDER.glob("*.py")) if (classes := classes_of(file))}
every_metric = pytest.mark.parametrize(("file", "metric"), METRICS.items(), ids=[file.stem for file in METRICS])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("A metric opened a connection.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `evaluate` puts the files that it loads: one folder, as it stays imported."""
    folder = tmp_path_factory.mktemp("modules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.config.HF_MODULES_CACHE", folder)
        patch.delitem(sys.modules, "evaluate_modules", raising=False)
        patch.syspath_prepend(str(folder))
        yield folder


def test_each_file_has_one_metric_and_no_metric_is_forgotten() -> None:
    assert all(len(classes_of(file)) <= 1 for file in FOLDER.glob("*.py"))
    assert {metric.__name__ for metric in METRICS.values()} == set(INPUTS)


@every_metric
def test_it_describes_itself(file: Path, metric: type[InMemoryMetric]) -> None:
    info = metric().info
    assert info.description and info.description in inspect.cleandoc(metric.__doc__ or "")
    features = info.features[0] if isinstance(info.features, list) else info.features
    for name in features:
        assert f"{name}: " in info.inputs_description
    scores = metric().compute(**INPUTS[metric.__name__])
    assert info.inputs_description in (metric().compute.__doc__ or "")
    assert all(type(value) in (int, float) for value in scores.values()), scores


@every_metric
def test_it_loads_from_its_file(file: Path, metric: type[InMemoryMetric], modules: Path) -> None:
    loaded = evaluate.load(str(file), cache_dir=str(modules))
    assert type(loaded).__module__.startswith("evaluate_modules.")
    assert type(loaded).__name__ == metric.__name__
    inputs = INPUTS[metric.__name__]
    assert loaded.compute(**inputs) == metric().compute(**inputs)


@every_metric
def test_it_can_be_pickled(file: Path, metric: type[InMemoryMetric]) -> None:
    inputs = INPUTS[metric.__name__]
    again = pickle.loads(pickle.dumps(metric()))
    assert again.compute(**inputs) == metric().compute(**inputs)


@every_metric
def test_batches_are_as_one(file: Path, metric: type[InMemoryMetric]) -> None:
    inputs, batched = INPUTS[metric.__name__], metric()
    for rows in (slice(0, 1), slice(1, None)):
        batched.add_batch(**{name: values[rows] for name, values in inputs.items()})
    assert batched.compute() == metric().compute(**inputs)


def test_metrics_of_equal_inputs_combine() -> None:
    names = ("Accuracy", "F1", "ClusterAgreement")
    chosen = [metric() for metric in METRICS.values() if metric.__name__ in names]
    assert len(chosen) == 3
    combined = evaluate.combine(chosen).compute(**INPUTS["Accuracy"])
    assert (combined["accuracy"], combined["micro_f1"], combined["clusters"]) == (2 / 3, pytest.approx(2 / 3), 3)
