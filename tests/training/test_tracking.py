import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import tracking as accelerate_tracking
from accelerate.utils import LoggerType

from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.masked_lm import pretraining_task
from bioscan_hf.training.run import run
from bioscan_hf.training.tracking import make_accelerator, tracked
from tests.training.made_runs import forget_processes, pretraining, write_table

# The names that Accelerate uses of trackio.
TRACKIO = """
seen = []


class config:
    @staticmethod
    def update(values, allow_val_change):
        seen.append(("config", values))


class Run:
    def log(self, values, step=None):
        seen.append(("log", step, values))

    def finish(self):
        seen.append(("finish",))


def init(project):
    seen.append(("init", project))
    return Run()
"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_processes()
    yield
    forget_processes()


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a tracker is told; it takes the place of trackio."""
    place = tmp_path / "packages"
    (place / "trackio-0.1.dist-info").mkdir(parents=True)
    (place / "trackio-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: trackio\nVersion: 0.1\n")
    (place / "trackio.py").write_text(TRACKIO)
    monkeypatch.syspath_prepend(place)
    # Accelerate looks for trackers when it is imported.
    monkeypatch.setattr(accelerate_tracking, "_available_trackers", [LoggerType.TRACKIO])
    import trackio  # type: ignore[import-not-found, unused-ignore]

    yield trackio.seen
    sys.modules.pop("trackio")


@pytest.mark.parametrize("tracker", ["trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_told(tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioscan_hf.training.tracking.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"`report_to='{tracker}'` needs {tracker}: `pip install"):
        make_accelerator(TrainingArguments(report_to=tracker))


def test_tracker_gets_the_arguments_losses_and_evaluations(seen: list[Any], tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    arguments = pretraining(table, tmp_path / "m", report_to="trackio", eval_strategy="steps", eval_steps=3)
    result = run(pretraining_task, arguments, command="it")
    assert seen[0] == ("init", "bioscan_hf") and seen[-1] == ("finish",)
    (told,) = (entry[1] for entry in seen if entry[0] == "config")
    assert told["hidden_size"] == 16 and told["learning_rate"] == 1e-4 and told["output"] == str(tmp_path / "m")
    logged: dict[int, dict[str, float]] = {}
    for _, step, values in (entry for entry in seen if entry[0] == "log"):
        logged.setdefault(step, {}).update(values)
    assert [{"step": step, **values} for step, values in logged.items()] == [
        pytest.approx(record) for record in result.outcome.state.history
    ]
    assert "eval_loss" in logged[3] and "learning_rate" in logged[1]


def test_tracker_is_closed_when_the_training_fails(seen: list[Any]) -> None:
    accelerator = make_accelerator(TrainingArguments(report_to="trackio"))
    with pytest.raises(RuntimeError), tracked(accelerator, {"a": 1, "b": None}):
        raise RuntimeError
    assert seen == [("init", "bioscan_hf"), ("config", {"a": 1, "b": "None"}), ("finish",)]


def test_fp16_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a GPU; on a CPU use 'bf16' or 'no'"):
        make_accelerator(TrainingArguments(mixed_precision="fp16"))


def test_determinism_is_asked_of_cublas_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is put back
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    make_accelerator(TrainingArguments())
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    make_accelerator(TrainingArguments(deterministic=True))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_without_a_tracker_there_is_none() -> None:
    accelerator = make_accelerator(TrainingArguments(mixed_precision="bf16"))
    assert accelerator.log_with == [] and accelerator.mixed_precision == "bf16" and accelerator.is_main_process
