import os
import shlex
import shutil
import subprocess
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

from bioscan_hf import BarcodeBertForMaskedLM, build_tokenizer
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub import uploads as hub_uploads
from bioscan_hf.hub.push import save_model
from bioscan_hf.hub.uploads import Uploads
from tests.hub_server.fixture import LocalHub
from tests.tiny import tiny_config

FAST: dict[str, Any] = {"attempts": 3, "wait": 0.01}
READ = """
import sys
sys.modules["bioscan_hf"] = None  # a reader without the package
from transformers import AutoModel, AutoTokenizer

revisions = ["main", "checkpoint-2", "checkpoint-4"]
tokenizer = AutoTokenizer.from_pretrained("tester/run", revision="checkpoint-2", trust_remote_code=True)
for revision in revisions:
    model = AutoModel.from_pretrained("tester/run", revision=revision, trust_remote_code=True)
    print(model.embeddings.word_embeddings.weight[5, 0].item())
"""
RUN = """
import sys
from pathlib import Path
from bioscan_hf.hub.uploads import Uploads

uploads = Uploads("tester/{name}", attempts=3, wait={wait})
uploads.checkpoint(Path(sys.argv[1]), "checkpoint-2")
uploads.checkpoint(Path(sys.argv[1]), "checkpoint-4")
raise ValueError("the training fails")
"""


@pytest.fixture
def local(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The local Hub, to which this process pushes."""
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    return hub


def make_model(folder: Path, seed: int = 0) -> float:
    """Write a model; returns a weight by which it is known."""
    torch.manual_seed(seed)
    model = BarcodeBertForMaskedLM(tiny_config())
    save_model(folder, model, build_tokenizer(3))
    return model.bert.embeddings.word_embeddings.weight[5, 0].item()


def make_checkpoint(folder: Path, seed: int = 0) -> float:
    """Write a model with what a resume needs beside it."""
    weight = make_model(folder, seed)
    for name in ("optimizer.json", "trainer_state.json", "schedule.json", "scaler.json", "manifest.json"):
        (folder / name).write_text("{}")
    for name in ("optimizer.safetensors", "weights.safetensors", "ema.safetensors"):
        (folder / name).write_bytes(b"tensors")
    return weight


def files(hub: LocalHub, repo_id: str, revision: str) -> set[str]:
    return set(hub.api().list_repo_files(repo_id, revision=revision)) - {".gitattributes"}


MODEL_FILES = {
    "config.json",
    "configuration_barcodebert.py",
    "modeling_barcodebert.py",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
}


def test_each_checkpoint_is_a_branch_that_loads(local: LocalHub, tmp_path: Path) -> None:
    output = tmp_path / "run"
    uploads = Uploads("tester/run", private=True, **FAST)
    weights = []
    for step in (2, 4):
        weights.append(make_checkpoint(output / f"checkpoint-{step}", seed=step))
        uploads.checkpoint(output / f"checkpoint-{step}", f"checkpoint-{step}")
        # As a training does that keeps the last checkpoint only.
        shutil.rmtree(output / f"checkpoint-{step}")
    make_checkpoint(output / "checkpoint-6")
    weights.insert(0, make_model(output, seed=9))
    for name in ("training.png", "run.json", "history.json", ".partial-8/half", ".doomed-checkpoint-2/half"):
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).write_text("text")
    address = uploads.finish(output)

    assert address.startswith(f"{local.url}/tester/run/commit/") and not uploads.failed
    assert local.api().repo_info("tester/run").private
    assert files(local, "tester/run", "main") == MODEL_FILES | {"training.png"}
    assert files(local, "tester/run", "checkpoint-2") == files(local, "tester/run", "checkpoint-4") == MODEL_FILES
    shown = local.run(READ, tmp_path).stdout.split()
    assert [float(weight) for weight in shown] == pytest.approx(weights)
    assert not list(output.glob(".upload-*"))


def test_branch_holds_the_checkpoint_and_nothing_else(local: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "old.txt").write_text("of the main branch")
    uploads = Uploads("tester/exact", **FAST)
    uploads.finish(tmp_path / "first")
    make_checkpoint(tmp_path / "best")
    uploads.checkpoint(tmp_path / "best", "best")
    uploads.close()
    assert files(local, "tester/exact", "best") == MODEL_FILES
    assert files(local, "tester/exact", "main") == {"old.txt"}


def test_branch_of_an_upload_that_failed_is_no_copy_of_the_main_one(local: LocalHub, tmp_path: Path) -> None:
    make_model(tmp_path / "final")
    uploads = Uploads("tester/half-made", **FAST)
    uploads.finish(tmp_path / "final")
    make_checkpoint(tmp_path / "c")
    local.fail("POST", "half-made/commit/checkpoint-2", times=3)
    with pytest.warns(UserWarning, match="checkpoint-2 was not uploaded"):
        uploads.checkpoint(tmp_path / "c", "checkpoint-2")
        uploads.close()
    assert not files(local, "tester/half-made", "checkpoint-2")


@pytest.mark.parametrize(
    ("method", "path", "fault"),
    [
        ("POST", "repos/create", {"status": 401}),
        ("POST", "/branch/", {"status": 500}),
        ("POST", "/branch/", {"cut": True}),
        ("POST", "/preupload/", {"status": 412}),
        ("POST", "/commit/", {"status": 503}),
        ("POST", "/commit/", {"cut": True}),
        ("GET", "/revision/", {"status": 404}),
    ],
)
def test_checkpoint_gets_through_after_failures(
    method: str, path: str, fault: dict, local: LocalHub, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    make_checkpoint(tmp_path / "c")
    repo_id = f"tester/{tmp_path.name.replace('_', '-')}"
    local.fail(method, path, times=2, **fault)
    uploads = Uploads(repo_id, **FAST)
    uploads.checkpoint(tmp_path / "c", "checkpoint-2")
    uploads.close()
    assert files(local, repo_id, "checkpoint-2") == MODEL_FILES
    assert not uploads.failed and not [w for w in recwarn if "uploaded" in str(w.message)]


@pytest.mark.parametrize("status", [401, 403, 412, 500])
def test_hub_that_fails_for_good_is_a_warning_and_the_rest_goes_on(
    status: int, local: LocalHub, tmp_path: Path
) -> None:
    repo_id = f"tester/out-of-order-{status}"
    for step in (2, 4):
        make_checkpoint(tmp_path / f"checkpoint-{step}", seed=step)
    local.fail("POST", f"{repo_id}/commit/checkpoint-2", status=status, times=3)
    uploads = Uploads(repo_id, **FAST)
    with pytest.warns(UserWarning, match=f"checkpoint-2 was not uploaded to {repo_id}") as caught:
        for step in (2, 4):
            uploads.checkpoint(tmp_path / f"checkpoint-{step}", f"checkpoint-{step}")
        uploads.close()
    # The client has warnings of its own.
    (ours,) = [warning for warning in caught if warning.category is UserWarning]
    message = str(ours.message)
    assert "(after 3 attempts). The training goes on" in message and str(status) in message and "\n" not in message
    assert ours.filename == __file__ and uploads.failed == ["checkpoint-2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        uploads.close()
    assert files(local, repo_id, "checkpoint-4") == MODEL_FILES and not list(tmp_path.glob(".upload-*"))

    make_model(tmp_path / "final")
    uploads.finish(tmp_path / "final")
    assert files(local, repo_id, "main") == MODEL_FILES
    command = message.split("`")[1]
    hf = str(Path(sys.executable).with_name("hf"))
    subprocess.run([hf, *shlex.split(command)[1:]], env=local.env(tmp_path), check=True, capture_output=True)
    assert files(local, repo_id, "checkpoint-2") == MODEL_FILES


def test_final_push_that_fails_raises_and_can_be_repeated(local: LocalHub, tmp_path: Path) -> None:
    make_model(tmp_path)
    make_checkpoint(tmp_path / "checkpoint-2")
    uploads = Uploads("tester/unlucky-end", **FAST)
    uploads.checkpoint(tmp_path / "checkpoint-2", "checkpoint-2")
    local.fail("POST", "unlucky-end/commit/main", status=500, times=3)
    with pytest.raises(OSError, match=r"The model is complete in .* pushes it again") as failure:
        uploads.finish(tmp_path)
    assert "--exclude 'checkpoint-*/*'" in str(failure.value)
    assert files(local, "tester/unlucky-end", "checkpoint-2") == MODEL_FILES
    uploads.finish(tmp_path)
    assert files(local, "tester/unlucky-end", "main") == MODEL_FILES


class Held:
    """An upload that waits, as with a slow Hub, and then does `then`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: BaseException | None = None) -> None:
        self.go, self.then = threading.Event(), then
        self.contents: list[tuple[str, str]] = []
        monkeypatch.setattr(hub_uploads, "upload", self)

    def __call__(self, folder: Path, repo_id: str, *, private: bool, branch: str) -> str:
        assert self.go.wait(30)
        if self.then is not None:
            raise self.then
        self.contents.append((branch, (folder / "model.safetensors").read_text()))
        return ""


def test_slow_hub_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    uploads = Uploads("tester/slow")
    folder = tmp_path / "best"
    for content in ("first", "second", "third"):
        folder.mkdir()
        (folder / "model.safetensors").write_text(content)
        uploads.checkpoint(folder, "best")
        shutil.rmtree(folder)
    assert not held.contents and len(list(tmp_path.iterdir())) == 3
    held.go.set()
    uploads.close()
    assert held.contents == [("best", "first"), ("best", "second"), ("best", "third")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [MemoryError("none left"), BaseException("hf_xet panicked")])
def test_nothing_ends_the_uploads(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, then=error)
    held.go.set()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "model.safetensors").write_text("weights")
    uploads = Uploads("tester/panic")
    with pytest.warns(UserWarning, match=rf"{error} \(after 1 attempt\)"):
        uploads.checkpoint(tmp_path / "c", "one")
        uploads.close()
    held.then = None
    uploads.checkpoint(tmp_path / "c", "two")
    uploads.close()
    assert held.contents == [("two", "weights")] and uploads.failed == ["one"]


def test_terminal_is_left_to_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enable_progress_bars()
    shown: list[bool] = []
    monkeypatch.setattr(hub_uploads, "upload", lambda *_, **__: shown.append(not are_progress_bars_disabled()))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "model.safetensors").write_text("weights")
    uploads = Uploads("tester/quiet")
    uploads.checkpoint(tmp_path / "c", "c")
    uploads.close()
    assert shown == [False] and not are_progress_bars_disabled()


def test_leftover_of_a_killed_run_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    for name, content in ((".upload-c", "old"), ("c", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(content)
    uploads = Uploads("tester/killed")
    uploads.checkpoint(tmp_path / "c", "c")
    linked = tmp_path / ".upload-c" / "model.safetensors"
    assert linked.samefile(tmp_path / "c" / "model.safetensors")
    held.go.set()
    uploads.close()
    assert held.contents == [("c", "new")] and [path.name for path in tmp_path.iterdir()] == ["c"]


def test_disk_without_hard_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "model.safetensors").write_text("weights")
    uploads = Uploads("tester/copied")
    uploads.checkpoint(tmp_path / "c", "c")
    shutil.rmtree(tmp_path / "c")
    held.go.set()
    uploads.close()
    assert held.contents == [("c", "weights")]


def test_checkpoint_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "optimizer.safetensors").write_bytes(b"x")
    uploads = Uploads("tester/empty")
    with pytest.warns(
        UserWarning, match=r"checkpoint-2 was not uploaded .*c' holds no model to upload \(after 1 attempt\)"
    ):
        uploads.checkpoint(tmp_path / "c", "checkpoint-2")
    assert uploads.failed == ["checkpoint-2"] and [path.name for path in tmp_path.iterdir()] == ["c"]
    uploads.close()


@pytest.mark.parametrize(("name", "wait"), [("ends-well", 0.0), ("ends-badly", 1000.0)])
def test_uploads_do_not_keep_a_failed_program_alive(name: str, wait: float, local: LocalHub, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "c")
    if name == "ends-badly":
        local.fail("POST", "repos/create", status=500, times=1000)
    result = local.run(RUN.format(name=name, wait=wait), tmp_path, str(tmp_path / "c"), check=False)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == "ValueError: the training fails"
