"""What benchmark 1 makes of a fine-tuning; a real one is in `tests/cli/benchmark/test_barcode.py`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bioscan_hf.evaluation.benchmarks.paper import FINE_TUNED
from bioscan_hf.evaluation.results import Result, write_results
from bioscan_hf.training import benchmark
from bioscan_hf.training.arguments import FinetuningArguments
from bioscan_hf.training.run_folder import RunFinished
from tests.tiny import RESULT

ASKED = replace(RESULT, benchmark=FINE_TUNED, model="finetuned-x")


def ask(folder: Path) -> list[Result]:
    arguments = FinetuningArguments(data="sample", output=folder)
    return benchmark.finetuned_results(
        arguments, "me/x", command="a command", report=lambda *_: None, say=lambda message: None
    )


def ending(monkeypatch: pytest.MonkeyPatch, end: Callable[[FinetuningArguments], Any]) -> None:
    monkeypatch.setattr(benchmark, "run", lambda task, arguments, **_: end(arguments))


def test_only_the_question_of_the_benchmark_counts_under_the_name_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = []

    def end(arguments: FinetuningArguments) -> Any:
        resumed.append(arguments.resume)
        return SimpleNamespace(outcome=SimpleNamespace(ended="finished"), results=[ASKED, RESULT])

    ending(monkeypatch, end)
    assert ask(tmp_path) == [replace(ASKED, model="me/x")]
    (tmp_path / "checkpoint-2").mkdir()
    assert ask(tmp_path) == [replace(ASKED, model="me/x")]
    assert resumed == [False, True]


def test_a_finished_run_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results([RESULT, ASKED], tmp_path / "results.json")

    def end(arguments: FinetuningArguments) -> Any:
        assert arguments.resume
        raise RunFinished("finished")

    ending(monkeypatch, end)
    assert ask(tmp_path) == [replace(ASKED, model="me/x")]


def test_an_interrupted_run_gives_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, lambda _: SimpleNamespace(outcome=SimpleNamespace(ended="interrupted"), results=[]))
    with pytest.raises(InterruptedError, match=r"fine-tuning of me/x was interrupted; the same command goes on"):
        ask(tmp_path)
