import importlib
import sys
from functools import partial
from pathlib import Path

import multiprocess  # type: ignore[import-untyped]
import pytest
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from bioscan_hf.data.executors import checked_options, run_tasks


class Touch(PipelineStep):
    """Makes a file named after its task."""

    type = name = "touch"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        (self.folder / f"{rank} of {world_size}").touch()
        return data


def test_every_task_is_run_again_and_the_last_is_the_callers(tmp_path: Path) -> None:
    options = checked_options("local", {"workers": 1})
    for time in range(2):
        out = tmp_path / "out"
        out.mkdir()
        last = partial((out / "last").touch)
        assert run_tasks("local", Touch(out), 2, last, logs=tmp_path / "logs", options=options)
        assert sorted(path.name for path in out.iterdir()) == ["0 of 2", "1 of 2"]
        out.rename(tmp_path / f"out-{time}")


def test_without_tasks_nothing_is_run(tmp_path: Path) -> None:
    assert run_tasks("local", Touch(tmp_path), 0, tmp_path.rmdir, logs=tmp_path / "logs", options={})
    assert not list(tmp_path.iterdir())


def test_workers_are_as_many_as_cores_unless_given() -> None:
    assert checked_options("local", None)["workers"] > 0
    assert checked_options("local", {"workers": 7})["workers"] == 7
    assert "workers" not in checked_options("slurm", {"partition": "cpu", "time": "1:00:00"})


def test_local_workers_fork_from_a_process_that_has_imported_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preloaded: list[list[str]] = []
    context = type(multiprocess.get_context("forkserver"))
    monkeypatch.setattr(context, "set_forkserver_preload", lambda self, modules: preloaded.append(modules))
    run_tasks("local", Touch(tmp_path), 0, tmp_path.rmdir, logs=tmp_path / "logs", options={"workers": 2})
    assert preloaded == [[__name__]]


def test_extra_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datatrove.executor", None)
    monkeypatch.delitem(sys.modules, "bioscan_hf.data.executors")
    with pytest.raises(ImportError, match=r"pip install bioscan-hf\[cluster\]"):
        importlib.import_module("bioscan_hf.data.executors")
