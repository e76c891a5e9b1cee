import errno
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bioscan_hf.data.whole_files import NoSpaceError
from bioscan_hf.training import checkpoints
from bioscan_hf.training.checkpoints import (
    find_checkpoints,
    last_checkpoint,
    load_optimizer,
    load_weights,
    model_weights,
    optimizer_state,
    prune,
    save_optimizer,
    save_tensors,
    save_weights,
    step_of,
    why_broken,
    write_checkpoint,
)
from tests.training.made_runs import tiny_model


def write_files(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "deep").mkdir()
    (folder / "deep" / "config.json").write_text("{}")


def written(folder: Path, *steps: int) -> list[Path]:
    return [write_checkpoint(folder, step, write_files) for step in steps]


def test_a_checkpoint_appears_under_its_name_when_it_is_whole(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write(partial: Path) -> None:
        write_files(partial)
        seen.extend(find_checkpoints(tmp_path))

    checkpoint = write_checkpoint(tmp_path, 12, write)
    assert checkpoint == tmp_path / "checkpoint-12" and not seen
    assert set(json.loads((checkpoint / "manifest.json").read_text())) == {"model.safetensors", "deep/config.json"}
    assert why_broken(checkpoint) is None and last_checkpoint(tmp_path) == checkpoint
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-12"]


def test_one_that_fails_leaves_nothing_and_the_earlier_one_stays(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        write_files(partial)
        raise RuntimeError("power cut")

    (earlier,) = written(tmp_path, 1)
    with pytest.raises(RuntimeError, match="power cut"):
        write_checkpoint(tmp_path, 2, fail)
    assert list(tmp_path.iterdir()) == [earlier] and last_checkpoint(tmp_path) == earlier


def test_a_full_disk_is_told_and_the_earlier_one_stays(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (earlier,) = written(tmp_path, 1)
    with pytest.raises(
        NoSpaceError, match=r"checkpoint-2' cannot be written \(No space .*With --resume the run goes on"
    ):
        write_checkpoint(tmp_path, 2, fail)
    assert list(tmp_path.iterdir()) == [earlier]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".partial-checkpoint-7").mkdir()
    (tmp_path / ".partial-checkpoint-7" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".doomed-checkpoint-3").mkdir()
    assert last_checkpoint(tmp_path) is None
    written(tmp_path, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-8"]


def test_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    (old,) = written(tmp_path, 4)
    (old / "surplus").write_text("of before")
    assert written(tmp_path, 4) == [old]
    assert not (old / "surplus").exists() and why_broken(old) is None


@pytest.mark.parametrize("name", ["/dev/zero", "../other", "deep"])
def test_a_manifest_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    (checkpoint,) = written(tmp_path, 1)
    (checkpoint / "manifest.json").write_text(json.dumps({name: "0"}))
    assert why_broken(checkpoint) == f"{name} is missing"


def test_a_manifest_that_is_nested_without_end_is_told(tmp_path: Path) -> None:
    (checkpoint,) = written(tmp_path, 1)
    (checkpoint / "manifest.json").write_text("[" * 100_000)
    assert "it cannot be read" in str(why_broken(checkpoint))


def test_checkpoints_are_found_in_the_order_of_their_steps(tmp_path: Path) -> None:
    found = written(tmp_path, 2, 10, 9)
    for name in ("checkpoint-best", "checkpoint-", "xcheckpoint-3", ".partial-checkpoint-99"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-77").write_text("a file")
    assert find_checkpoints(tmp_path) == [found[0], found[2], found[1]]
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [2, 9, 10]
    with pytest.raises(ValueError, match="is no checkpoint"):
        step_of(tmp_path / "checkpoint-best")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replace(path: Path) -> None:
    path.write_bytes(b"other")


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (cut, "model.safetensors", "model.safetensors is not as it was written"),
        (replace, "deep/config.json", "deep/config.json is not as it was written"),
        (Path.unlink, "model.safetensors", "model.safetensors is missing"),
        (Path.unlink, "manifest.json", "manifest.json is missing"),
        (cut, "manifest.json", "cannot be read"),
        (replace, "manifest.json", "cannot be read"),
        (lambda path: path.write_text("[1]"), "manifest.json", "cannot be read"),
    ],
)
def test_a_broken_one_is_skipped_with_a_warning(
    damage: Callable[[Path], Any], name: str, reason: str, tmp_path: Path
) -> None:
    first, second = written(tmp_path, 1, 2)
    if name == "manifest.json" and damage is cut:  # its last character is a line's end
        cut(second / name)
    damage(second / name)
    with pytest.warns(UserWarning, match=rf"checkpoint-2' is skipped: .*{reason}.*The one before it is used"):
        assert last_checkpoint(tmp_path) == first
    assert second.is_dir()
    damage(first / name)
    with warnings.catch_warnings(record=True):
        assert last_checkpoint(tmp_path) is None or name == "manifest.json"


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3, 4, 5)
    prune(tmp_path, keep=2, step=5, best_step=2)
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [2, 4, 5]
    prune(tmp_path, keep=1, step=5, best_step=5)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_a_broken_one_of_a_later_step_does_not_push_out_a_whole_one(tmp_path: Path) -> None:
    written(tmp_path, 10, 15, 20)
    (tmp_path / "checkpoint-20" / "manifest.json").unlink()
    prune(tmp_path, keep=1, step=15, best_step=None)
    with pytest.warns(UserWarning, match="checkpoint-20' is skipped"):
        assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-15"


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        ids = torch.randint(2, 60, (4, 9), generator=generator)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("amsgrad", [False, True])
def test_optimiser_goes_on_exactly(amsgrad: bool, tmp_path: Path) -> None:
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = tiny_model()
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=amsgrad)

    model, optimizer = make()
    trained(model, optimizer, 3)
    optimizer.param_groups[0]["betas"] = (0.91, 0.99)
    optimizer.param_groups[0]["lr"] = 0.1 + 0.2
    save_optimizer(tmp_path, optimizer_state(model, optimizer))
    other, fresh = make()
    other.load_state_dict(model.state_dict())
    load_optimizer(tmp_path, other, fresh)
    assert fresh.param_groups[0]["betas"] == (0.91, 0.99) and fresh.param_groups[0]["lr"] == 0.1 + 0.2
    for ours, theirs in zip(optimizer.state.values(), fresh.state.values(), strict=True):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    trained(model, optimizer, 2)
    trained(other, fresh, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_weights_of_the_same_model_are_loaded_and_own_ones_go_first(tmp_path: Path) -> None:
    model, other = tiny_model(seed=1), tiny_model(seed=2)
    save_tensors(tmp_path / "model.safetensors", model_weights(model))
    load_weights(tmp_path, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    third = tiny_model(seed=3)
    save_weights(tmp_path, model_weights(third))
    load_weights(tmp_path, other)
    assert all(torch.equal(a, b) for a, b in zip(third.parameters(), other.parameters(), strict=True))


def test_weights_of_what_is_trained_are_enough(tmp_path: Path) -> None:
    model = tiny_model(seed=1)
    model.bert.requires_grad_(False)
    head = {name: tensor for name, tensor in model_weights(model).items() if not name.startswith("bert.")}
    save_weights(tmp_path, head)
    other = tiny_model(seed=2)
    with pytest.raises(ValueError, match="is of another model: it lacks"):
        load_weights(tmp_path, other)
    other.bert.requires_grad_(False)
    load_weights(tmp_path, other)
    assert torch.equal(other.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_weights_of_another_model_are_refused(change: str, tmp_path: Path) -> None:
    weights = model_weights(tiny_model())
    name = next(iter(weights))
    if change == "shape":
        weights[name] = weights[name][:-1]
    else:
        tensor = weights.pop(name)
        weights |= {"something.weight": tensor} if change == "unexpected" else {}
    save_tensors(tmp_path / "model.safetensors", weights)
    with pytest.raises(ValueError, match="is of another model") as caught:
        load_weights(tmp_path, tiny_model())
    assert "\n" not in str(caught.value)


def test_tensors_need_not_be_contiguous(tmp_path: Path) -> None:
    tensor = torch.arange(12.0).reshape(3, 4).T
    save_tensors(tmp_path / "t.safetensors", {"t": tensor})
    assert torch.equal(checkpoints.read_tensors(tmp_path / "t.safetensors")["t"], tensor)


def test_manifest_outlives_a_move_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    written(tmp_path / "a", 3)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert last_checkpoint(tmp_path / "b") == tmp_path / "b" / "checkpoint-3"
