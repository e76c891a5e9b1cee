import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.data.whole_files import NoSpaceError
from bioscan_hf.training.run_folder import RunFinished, begin, check_space, finish, locked, open_folder, read_run
from tests.training.made_runs import pretraining, tiny_model


def description(**changes: Any) -> dict[str, Any]:
    given = {"arguments": {"seed": 0}, "data": {"name": "d", "revision": "r"}, "processes": 1, "examples_per_step": 8}
    return given | changes


def test_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    open_folder(tmp_path / "a" / "b", resume=False)
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match=r"cannot be written to '.*a/b' \(Not a directory\); choose another folder"):
        open_folder(tmp_path / "a" / "b", resume=False)


def test_second_run_in_the_same_folder_is_refused_while_the_first_one_goes_on(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(OSError, match="Another process trains in"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_other_files_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    open_folder(tmp_path, resume=False)


def test_run_that_failed_before_its_first_checkpoint_is_nothing_to_keep(tmp_path: Path) -> None:
    begin(tmp_path, description(), pretraining("d", tmp_path), resumes=False)
    open_folder(tmp_path, resume=False)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "adapter_config.json", "checkpoint-7"])
def test_folder_with_a_run_is_refused_unless_it_is_to_be_resumed(name: str, tmp_path: Path) -> None:
    if name.startswith("checkpoint"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"holds a run already \({name}\). Go on with it by --resume, or choose"):
        open_folder(tmp_path, resume=False)
    open_folder(tmp_path, resume=True)


def test_finished_run_is_not_resumed(tmp_path: Path) -> None:
    begin(tmp_path, description(), pretraining("d", tmp_path), resumes=False)
    open_folder(tmp_path, resume=True)
    finish(tmp_path, description())
    (tmp_path / ".run.lock").touch()  # of a process that was killed after that
    with pytest.raises(RunFinished, match="is finished"):
        open_folder(tmp_path, resume=True)
    assert read_run(tmp_path) == {**description(), "finished": True}
    assert not (tmp_path / ".run.lock").exists()


def test_another_run_is_not_resumed_and_stays_as_it_is(tmp_path: Path) -> None:
    arguments = pretraining("d", tmp_path)
    begin(tmp_path, description(), arguments, resumes=False)
    with pytest.raises(ValueError, match=r"was another one: `seed` was 0, is 1\. Resume with its arguments, or choose"):
        begin(tmp_path, description(arguments={"seed": 1}), arguments, resumes=True)
    assert read_run(tmp_path) == description()
    begin(tmp_path, description(command="again"), arguments, resumes=True)
    assert read_run(tmp_path)["command"] == "again"


@pytest.mark.parametrize("content", ["", "{", "[1]", "7", '{"arguments": {"seed": \xff}}'])
def test_damaged_description_is_told(content: str, tmp_path: Path) -> None:
    begin(tmp_path, description(), pretraining("d", tmp_path), resumes=False)
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"run\.json' is damaged .*Without it, --resume goes on from the last check"):
        open_folder(tmp_path, resume=True)


def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    for name in (".partial-x7", ".partial-checkpoint-3", ".doomed-checkpoint-1"):
        (tmp_path / name / "new").mkdir(parents=True)
    begin(tmp_path, description(), pretraining("d", tmp_path), resumes=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("changes", "kept", "in_each"),
    [
        ({}, 2, 3),  # the model, and two moments of Adam
        ({"save_total_limit": 4}, 5, 3),
        ({"ema_decay": 0.9}, 2, 5),
    ],
)
def test_space_is_needed_for_the_checkpoints_that_are_kept_and_the_model(
    changes: dict[str, Any], kept: int, in_each: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    size = sum(parameter.numel() * 4 for parameter in model.parameters())
    needed = (kept * in_each + 1) * size
    usage = namedtuple("usage", ["total", "used", "free"])
    arguments = pretraining("d", tmp_path, **changes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, needed))
    check_space(tmp_path, model, arguments)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, needed - 1))
    with pytest.raises(NoSpaceError, match=rf"no space for the checkpoints in '.*': .* for {kept} of them"):
        check_space(tmp_path, model, arguments)


def test_what_is_frozen_needs_no_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model().requires_grad_(False)
    size = sum(parameter.numel() * 4 for parameter in model.parameters())
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 3 * size))
    check_space(tmp_path, model, pretraining("d", tmp_path))
