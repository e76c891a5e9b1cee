import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from bioscan_hf import __version__
from bioscan_hf.training.arguments import PretrainingArguments
from bioscan_hf.training.provenance import describe_run, differences, git_state, plain_arguments, shown_arguments
from tests.training.made_runs import finetuning, pretraining


def described(arguments: PretrainingArguments, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"command": "bioscan pretrain", "data": ("d.csv", "abc"), "processes": 2}
    return describe_run(arguments, **{**given, "examples_per_step": 16, **changes})


def compared(changes: dict[str, Any], facts: dict[str, Any] | None = None, **first: Any) -> list[str]:
    before = pretraining("d.csv", Path("o"), **first)
    now = dataclasses.replace(before, **changes)
    # Written and read again, as it is in a folder.
    return differences(json.loads(json.dumps(described(before))), described(now, **(facts or {})), now)


def test_description_has_all_that_made_a_model_and_fits_json() -> None:
    found = json.loads(json.dumps(described(pretraining("d.csv", Path("a/b"), seed=7))))
    assert found["command"] == "bioscan pretrain" and found["data"] == {"name": "d.csv", "revision": "abc"}
    assert found["arguments"]["seed"] == 7 and found["arguments"]["output"] == "a/b"
    assert (found["processes"], found["examples_per_step"], found["bioscan_hf"]) == (2, 16, __version__)
    assert found["packages"]["torch"] == torch.__version__ and found["python"].count(".") == 2


def test_arguments_are_all_there_and_as_they_are() -> None:
    arguments = pretraining("d.csv", Path("o"))
    plain = plain_arguments(arguments)
    assert plain.keys() == {field.name for field in dataclasses.fields(arguments)}
    assert plain["output"] == "o" and plain["kmer_size"] == 3 and plain["max_grad_norm"] == 1.0


def test_card_shows_no_places_on_this_machine() -> None:
    shown = shown_arguments(finetuning("/home/me/d.csv", "/home/me/m", Path("/home/me/o"), splits=Path("/home/me/s")))
    assert "/home/me" not in str(shown) and shown["rank"] == "species" and "resume" not in shown


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 1}, "`seed` was 0, is 1"),
        ({"learning_rate": 0.5}, "`learning_rate` was 0.0001, is 0.5"),
        ({"max_steps": None}, "`max_steps` was 6, is None"),
        ({"train_split": "train"}, "`train_split` was None, is 'train'"),
        ({"ema_decay": 0.9}, "`ema_decay` was None, is 0.9"),
        ({"deterministic": True}, "`deterministic` was False, is True"),
    ],
)
def test_what_changes_the_training_is_named(changes: dict[str, Any], expected: str) -> None:
    assert compared(changes) == [expected]


@pytest.mark.parametrize(
    "changes",
    [
        {"output": Path("elsewhere"), "resume": True, "push_to_hub": "me/m", "private": True},
        {"num_workers": 3, "logging_steps": 7, "save_steps": 9, "save_total_limit": 2, "report_to": "trackio"},
        {"data": "moved/d.csv"},
        {"batch_size": 4, "gradient_accumulation_steps": 2},
    ],
)
def test_what_does_not_change_it_may_differ(changes: dict[str, Any]) -> None:
    assert compared(changes) == []


def test_data_and_examples_of_a_step_must_be_the_same() -> None:
    assert compared({}, {"data": ("moved.csv", "abc")}) == []
    (found,) = compared({}, {"data": ("d.csv", "xyz")})
    assert "the data were {'name': 'd.csv', 'revision': 'abc'}, are" in found
    assert compared({}, {"examples_per_step": 32}) == ["a step took 16 examples, takes 32"]


def test_of_a_stream_also_how_it_is_divided() -> None:
    assert compared({}, {"processes": 1}) == []
    assert compared({}, {"processes": 1}, streaming=True) == ["2 processes read the stream, now 1"]
    changes = {"batch_size": 4, "gradient_accumulation_steps": 2}
    found = compared(changes, streaming=True)
    assert found == ["`batch_size` was 8, is 4", "`gradient_accumulation_steps` was 1, is 2"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_state_of_the_code_is_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x.org", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "changed": False}
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path) == {"commit": commit, "changed": True}


def test_without_a_repository_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_state(Path(__file__).parent) is None
