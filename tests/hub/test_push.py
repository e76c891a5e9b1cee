"""Everything here goes through the real `huggingface_hub` client to the local Hub."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from bioscan_hf import BarcodeBertForMaskedLM, build_tokenizer
from bioscan_hf.hub import commits
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub.push import check_can_push, push_folder, retried, save_card, save_model, upload_command
from tests.hub.test_cards import BASELINE, OURS, card
from tests.hub_server.fixture import LocalHub

PUSH = """
import sys
from pathlib import Path
from bioscan_hf.hub.push import check_can_push, push_folder

check_can_push("bioscan-ml/tiny")
print(push_folder(Path(sys.argv[1]), "bioscan-ml/tiny"))
push_folder(Path(sys.argv[1]), "tester/hidden", private=True)
push_folder(Path(sys.argv[1]), "just-a-name")

from datasets import load_dataset
from bioscan_hf import load_specimens, select_split
select_split(load_specimens(image=True), "val").push_to_hub("bioscan-ml/few", split="validation")
"""
READ = """
import sys
sys.modules["bioscan_hf"] = None  # a reader without the package
import torch
from datasets import load_dataset
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("bioscan-ml/tiny", trust_remote_code=True)
model = AutoModel.from_pretrained("bioscan-ml/tiny", trust_remote_code=True)
with torch.no_grad():
    pooled = model(**tokenizer("ACGTACGTAC", return_tensors="pt")).pooler_output
print(" ".join(str(value) for value in pooled[0].tolist()))
print(ModelCard.load("bioscan-ml/tiny").data.eval_results[0].metric_value)

few = load_dataset("bioscan-ml/few", split="validation")
stream = load_dataset("bioscan-ml/few", split="validation", streaming=True)
print(len(few), few[0]["image"].size, next(iter(stream))["processid"] == few[0]["processid"])
"""
REFUSED = """
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import AutoModel
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("tester/hidden", "config.json")
except RepositoryNotFoundError as error:
    print("refused")
try:
    AutoModel.from_pretrained("tester/hidden")
except OSError as error:
    print("refused")
from bioscan_hf.hub.push import check_can_push
try:
    check_can_push("tester/hidden")
except OSError as error:
    print("no token")
"""


@pytest.fixture
def folder(masked_lm: BarcodeBertForMaskedLM, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", masked_lm, build_tokenizer(3))
    save_card(tmp_path / "model", card(masked_lm, [OURS, BASELINE]))
    return tmp_path / "model"


def test_round_trip(hub: LocalHub, masked_lm: BarcodeBertForMaskedLM, folder: Path, tmp_path: Path) -> None:
    computers = [tmp_path / name for name in ("writer", "reader", "stranger")]
    for computer in computers:
        computer.mkdir()
    pushed = hub.run(PUSH, computers[0], str(folder))
    assert f"{hub.url}/bioscan-ml/tiny" in pushed.stdout
    assert hub.api().repo_info("tester/just-a-name").private is False

    embedding, accuracy, few = hub.run(READ, computers[1], token=False).stdout.splitlines()[-3:]
    expected = masked_lm.bert(**build_tokenizer(3)("ACGTACGTAC", return_tensors="pt")).pooler_output[0].tolist()
    assert [float(value) for value in embedding.split()] == pytest.approx(expected, abs=1e-6)
    assert float(accuracy) == OURS.value
    assert few == "34 (96, 96) True"

    refused = hub.run(REFUSED, computers[2], token=False)
    assert refused.stdout.split("\n")[:3] == ["refused", "refused", "no token"]


@pytest.mark.parametrize("repo_id", ["a/b/c", "a b", "-a", ""])
def test_malformed_repository_is_refused_before_anything_is_sent(repo_id: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)repo"):
        check_can_push(repo_id)


@pytest.fixture
def local(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The local Hub, to which this process pushes."""
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    return hub


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=url, token="any"))
        monkeypatch.setattr(hub_push, "ANSWER_SECONDS", 0.2)
        monkeypatch.setattr(hub_push, "CHECK_SECONDS", 0.2)
        yield url


@pytest.mark.parametrize("status", [401, 403])
def test_unknown_token_is_an_error_before_the_work(local: LocalHub, status: int) -> None:
    local.fail("GET", "whoami", status=status)
    with pytest.raises(OSError, match=r"40[13]|[Tt]oken"):
        check_can_push("tester/model")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_hub_out_of_order_is_a_warning_before_the_work(local: LocalHub, status: int) -> None:
    local.fail("GET", "whoami", status=status, times=20)
    with pytest.warns(
        UserWarning, match=r"does not answer now \(.*\). The work begins all the same; the push to tester"
    ):
        check_can_push("tester/model")


def test_cut_answer_is_a_warning_before_the_work(local: LocalHub) -> None:
    local.fail("GET", "whoami", cut=True, times=20)
    with pytest.warns(UserWarning, match="does not answer now"):
        check_can_push("tester/model")


@pytest.mark.usefixtures("silent")
def test_silent_hub_does_not_hold_anybody_up(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"does not answer now \(.*timed out"):
        check_can_push("tester/model")
    with pytest.raises(OSError, match=r"push to tester/model failed \(.*timed out.*hf upload"):
        push_folder(folder, "tester/model", attempts=2, wait=0)


def test_absent_hub_is_a_warning_before_the_work(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=f"http://127.0.0.1:{port}", token="any"))
    with pytest.warns(UserWarning, match=r"does not answer now \(.*refused"):
        check_can_push("tester/model")


def test_parts_of_a_former_model_go_and_other_files_stay(local: LocalHub, folder: Path) -> None:
    """An adapter that stays beside a whole model would be put into it by `from_pretrained`."""
    api, repo_id = local.api(), local.api().create_repo("tester/former").repo_id
    former = ["adapter_config.json", "adapter_model.safetensors", "model-00001-of-00002.safetensors"]
    others = ["notes.md", "fp16/model.safetensors", "tokens.safetensors"]
    operations = [CommitOperationAdd(name, name.encode()) for name in (*former, *others)]
    api.create_commit(repo_id, operations, commit_message="former")
    push_folder(folder, repo_id)
    pushed = {path.name for path in folder.iterdir()}
    assert set(api.list_repo_files(repo_id)) == {".gitattributes", *pushed, *others}


def test_two_pushes_at_once_do_not_mix(
    local: LocalHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes when the first has found out which files need not be sent."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (folder / "model.safetensors").write_bytes(b"weights of the first")
    for name in ("model.safetensors", "config.json", "README.md"):
        (other / name).write_text(f"---\nlicense: mit\n---\n{name} of the second")
    push_folder(folder, "tester/raced")
    (folder / "model.safetensors").write_bytes(b"new weights of the first")
    check = commits.Content.check_unchanged

    def raced(content: commits.Content) -> None:
        monkeypatch.setattr(commits.Content, "check_unchanged", check)
        push_folder(other, "tester/raced")

    monkeypatch.setattr(commits.Content, "check_unchanged", raced)
    push_folder(folder, "tester/raced", attempts=2, wait=0)
    for path in folder.iterdir():
        found = local.api().hf_hub_download("tester/raced", path.name, cache_dir=tmp_path / "cache")
        assert Path(found).read_bytes() == path.read_bytes()
    assert len(local.api().list_repo_commits("tester/raced")) == 4  # with that of the Hub


def test_folder_that_changes_is_not_pushed(local: LocalHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = HfApi.preupload_lfs_files

    def changed(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        (folder / "config.json").write_text("{}")
        os.utime(folder / "config.json", (1, 1))

    monkeypatch.setattr(HfApi, "preupload_lfs_files", changed)
    with pytest.raises(OSError, match=r"config\.json' was changed while it was pushed"):
        push_folder(folder, "tester/changing", attempts=1)
    assert local.api().list_repo_files("tester/changing") == [".gitattributes"]


@pytest.mark.parametrize(
    ("method", "path", "fault"),
    [
        ("POST", "repos/create", {"status": 503}),
        ("POST", "repos/create", {"cut": True}),
        ("POST", "/preupload/", {"status": 401}),
        ("POST", "/lfs/objects/batch|info/lfs", {"status": 412}),
        ("POST", "/commit/", {"status": 412}),
        ("POST", "/commit/", {"status": 429}),
        ("POST", "/commit/", {"cut": True}),
        ("POST", "/commit/", {"status": 504, "done": True}),
        ("PUT", "/lfs/", {"drop": True}),
    ],
)
def test_push_gets_through_after_failures(
    method: str, path: str, fault: dict, local: LocalHub, folder: Path, request: pytest.FixtureRequest
) -> None:
    # Contents of its own, or the Hub has the large file already and is not asked for it.
    (folder / "model.bin").write_text(request.node.name)
    repo_id = f"tester/fails-{abs(hash(request.node.name))}"
    local.fail(method, path, times=2, **fault)
    before = len(local.requests())
    address = push_folder(folder, repo_id, attempts=3, wait=0.01)
    assert address.startswith(f"{local.url}/{repo_id}/commit/")
    assert set(local.api().list_repo_files(repo_id)) >= {path.name for path in folder.iterdir()}
    assert (
        "status" not in fault
        or "done" in fault
        or [r["status"] for r in local.requests()[before:]].count(fault["status"]) == 2
    )
    # A commit whose answer was lost is not made twice.
    assert len(local.api().list_repo_commits(repo_id)) == 2


@pytest.mark.parametrize("status", [401, 412, 500])
def test_failed_push_says_how_to_push_again_and_that_works(
    status: int, local: LocalHub, folder: Path, tmp_path: Path
) -> None:
    repo_id = f"tester/later-{status}"
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "model.safetensors").write_bytes(b"x")
    local.fail("POST", f"{repo_id}/commit/", status=status, times=3)
    with pytest.raises(OSError, match=rf"push to {repo_id} failed \(.*\). The model is complete in") as failure:
        push_folder(folder, repo_id, private=True, ignore=["checkpoint-*/*"], attempts=3, wait=0.01)
    assert "\n" not in str(failure.value)
    command = str(failure.value).split("`")[1]
    assert command == f"hf upload {repo_id} {folder} --private --exclude 'checkpoint-*/*'"
    hf = str(Path(sys.executable).with_name("hf"))
    subprocess.run([hf, *shlex.split(command)[1:]], env=local.env(tmp_path), check=True, capture_output=True)
    files = set(local.api().list_repo_files(repo_id))
    assert "model.safetensors" in files and not [name for name in files if name.startswith("checkpoint")]
    assert local.api().repo_info(repo_id).private


def test_command_of_a_branch_needs_no_further_quoting(tmp_path: Path) -> None:
    command = upload_command(tmp_path / "my run", "me/model", ignore=["rank*"], branch="checkpoint-5")
    assert shlex.split(command)[4:] == ["--revision", "checkpoint-5", "--delete", "*", "--exclude", "rank*"]


def test_waits_grow_and_the_last_failure_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    failures = [OSError("first"), RuntimeError("second"), OSError("third"), OSError("fourth")]

    def fail() -> None:
        raise failures.pop(0)

    with pytest.raises(OSError, match="fourth"):
        retried(fail, attempts=4, wait=5.0)
    assert waits == [5.0, 10.0, 20.0]


def test_mistake_of_ours_is_not_tried_again() -> None:
    calls = []

    def mistake() -> None:
        calls.append(1)
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        retried(mistake, attempts=4, wait=0)
    assert len(calls) == 1
