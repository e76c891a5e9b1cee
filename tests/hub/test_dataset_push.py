"""Pushes go through the real `huggingface_hub` client to the local Hub, and are read back by plain `datasets`."""

import base64
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from bioscan_hf.data.features import SPLIT_NAMES, published_name
from bioscan_hf.hub import dataset_push
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub.dataset_contents import files_of, read_contents
from bioscan_hf.hub.dataset_push import push_dataset
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import Row, made_rows

READ = """
import base64, json, sys
sys.modules["bioscan_hf"] = None  # a reader without the package
from datasets import Image, get_dataset_config_names, get_dataset_default_config_name, load_dataset

repo, kinds = "bioscan-ml/whole", ["metadata", "cropped_256"]
whole = {kind: load_dataset(repo, kind) for kind in kinds}
parts = [load_dataset(repo, f"cropped_256_{part}") for part in ("pretrain", "train", "eval")]
metadata = {"path": repo, "name": "metadata"}
found = {
    "configurations": get_dataset_config_names(repo),
    "default": get_dataset_default_config_name(repo),
    "parts": {split: rows["processid"][:] for part in parts for split, rows in part.items()},
    "joined": load_dataset(**metadata, split="train+validation")["processid"][:],
    "cut": load_dataset(**metadata, split="test[:25%]")["processid"][:],
    "columns": load_dataset(**metadata, split="test", columns=["processid", "coord-lat"])[:],
    "streamed columns": [*load_dataset(**metadata, split="test", streaming=True, columns=["species", "processid"])],
    "streamed": [
        row["processid"] for row in load_dataset(repo, split="train+validation", streaming=True).decode(False)
    ],
}
for kind in kinds:
    for split, rows in whole[kind].items():
        rows = rows.cast_column("image", Image(decode=False)) if kind != "metadata" else rows
        found[f"{kind} {split}"] = [*rows]
    assert all(image.size[0] > 0 for image in whole["cropped_256"]["test"]["image"])
print(json.dumps(found, default=lambda value: base64.b64encode(value).decode()))
"""
Push = Callable[..., str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return made_rows(per_split=4)


@pytest.fixture
def folder(rows: list[Row], tmp_path: Path) -> Path:
    make_conversion(tmp_path / "converted", rows)
    return tmp_path / "converted"


@pytest.fixture
def push(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> Push:
    """`push_dataset` to the local Hub, from this process."""
    for module in (hub_push, dataset_push):
        monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    return partial(push_dataset, attempts=3, wait=0.01)


def paths(hub: LocalHub, repo_id: str, **options: str) -> set[str]:
    return set(hub.api().list_repo_files(repo_id, repo_type="dataset", **options)) - {".gitattributes"}


def test_every_split_and_configuration_loads_without_the_package(
    hub: LocalHub, push: Push, folder: Path, rows: list[Row], tmp_path: Path
) -> None:
    assert push(folder, "bioscan-ml/whole") == f"{hub.url}/datasets/bioscan-ml/whole"
    assert paths(hub, "bioscan-ml/whole") == {*files_of(read_contents(folder)), "README.md", "eval.yaml", "report.json"}
    found = json.loads(hub.run(READ, tmp_path, token=False).stdout.splitlines()[-1])

    names = ["metadata", "cropped_256", "cropped_256_pretrain", "cropped_256_train", "cropped_256_eval"]
    assert sorted(found["configurations"]) == sorted(names) and found["default"] == "cropped_256"
    splits = {published_name(split): [row for row in rows if row["split"] == split] for split in SPLIT_NAMES}
    ids = {split: [row["processid"] for row in own] for split, own in splits.items()}
    for split, own in splits.items():
        without_image = [{name: value for name, value in row.items() if name != "image"} for row in own]
        assert found[f"metadata {split}"] == without_image
        images = [row.pop("image") for row in found[f"cropped_256 {split}"]]
        assert found[f"cropped_256 {split}"] == without_image
        assert [base64.b64decode(image["bytes"]) for image in images] == [row["image"] for row in own]
        assert [image["path"] for image in images] == [f"{processid}.jpg" for processid in ids[split]]
    assert found["parts"] == ids
    assert found["joined"] == found["streamed"] == ids["train"] + ids["validation"]
    assert found["cut"] == ids["test"][:1]
    latitudes = [row["coord-lat"] for row in splits["test"]]
    assert found["columns"] == {"processid": ids["test"], "coord-lat": latitudes}
    expected = [{"processid": row["processid"], "species": row["species"]} for row in splits["test"]]
    assert found["streamed columns"] == expected


def test_interrupted_push_shows_nothing_and_goes_on(hub: LocalHub, push: Push, tmp_path: Path) -> None:
    folder = tmp_path
    make_conversion(folder, made_rows(per_split=15))  # contents that no other test has sent to this Hub
    before = len(hub.requests("^/lfs/"))
    hub.fail("POST", "tester/interrupted/commit/", times=3)
    with pytest.raises(OSError, match=r"push to tester/interrupted stopped \(.*500.*push again"):
        push(folder, "tester/interrupted")
    assert not paths(hub, "tester/interrupted")

    push(folder, "tester/interrupted")
    files = files_of(read_contents(folder))
    assert paths(hub, "tester/interrupted") == {*files, "README.md", "eval.yaml", "report.json"}
    sent = [entry["path"] for entry in hub.requests("^/lfs/")[before:] if entry["method"] == "PUT"]
    shards = [name for name in files if name.startswith(("metadata", "cropped_256"))]
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in shards]
    assert [sent.count(f"/lfs/{digest}") for digest in digests] == [1] * len(shards)
    titles = [commit.title for commit in hub.api().list_repo_commits("tester/interrupted", repo_type="dataset")]
    assert titles[:-1] == ["Upload dataset and card"]  # the first is made by the Hub

    commits = len(hub.requests("tester/interrupted/commit/"))
    push(folder, "tester/interrupted")
    assert len(hub.requests("tester/interrupted/commit/")) == commits


@pytest.mark.parametrize(
    ("method", "path", "fault"),
    [
        ("GET", "/tree/", {"status": 429, "retry_after": 0}),
        ("POST", "info/lfs", {"status": 401}),
        ("POST", "/commit/", {"status": 503}),
        ("POST", "/commit/", {"status": 504, "done": True}),
        ("POST", "/commit/", {"cut": True}),
    ],
)
def test_push_gets_through_after_failures(
    method: str, path: str, fault: dict, hub: LocalHub, push: Push, folder: Path, request: pytest.FixtureRequest
) -> None:
    repo_id = f"tester/tries-{abs(hash(request.node.name))}"
    hub.fail(method, path, times=2, **fault)
    push(folder, repo_id)
    assert paths(hub, repo_id) == {*files_of(read_contents(folder)), "README.md", "eval.yaml", "report.json"}
    assert len(hub.api().list_repo_commits(repo_id, repo_type="dataset")) == 2


def test_two_conversions_do_not_mix(hub: LocalHub, push: Push, folder: Path, tmp_path: Path) -> None:
    """While one is pushed, another one, which lacks some of its files, is committed."""
    make_conversion(tmp_path / "other", made_rows(per_split=7), shards=3)
    push(folder, "tester/raced")
    hub.api().delete_file("README.md", "tester/raced", repo_type="dataset")

    def meanwhile(task: str, done: int, total: int) -> None:
        if done == total:
            push(tmp_path / "other", "tester/raced")

    push(folder, "tester/raced", report=meanwhile)
    assert paths(hub, "tester/raced") == {*files_of(read_contents(folder)), "README.md", "eval.yaml", "report.json"}
    for name in files_of(read_contents(folder)):
        local = hub.api().hf_hub_download("tester/raced", name, repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(local).read_bytes() == (folder / name).read_bytes()


def test_folder_that_changes_is_not_pushed(hub: LocalHub, push: Push, folder: Path) -> None:
    def meanwhile(task: str, done: int, total: int) -> None:
        if done == total:
            (folder / "labels" / "genus.txt").write_text("Another\n")

    with pytest.raises(OSError, match=r"genus\.txt' was changed while it was pushed; push again"):
        push(folder, "tester/changing", report=meanwhile)
    assert not paths(hub, "tester/changing")


def test_failed_upload_is_not_committed(hub: LocalHub, push: Push, folder: Path) -> None:
    hub.fail("POST", "tester/refused.git/info/lfs", status=403, times=3)
    with pytest.raises(OSError, match=r"stopped \(.*403"):
        push(folder, "tester/refused")
    assert not [path for path in paths(hub, "tester/refused") if path.endswith(".parquet")]


def test_next_push_replaces_its_own_files_only(hub: LocalHub, push: Push, tmp_path: Path) -> None:
    rows = make_conversion(tmp_path / "first", made_rows(per_split=9))
    push(tmp_path / "first", "tester/grows")
    for name in ("notes.txt", "cropped_256/notes.md"):
        hub.api().upload_file(path_or_fileobj=b"x", path_in_repo=name, repo_id="tester/grows", repo_type="dataset")
    make_conversion(tmp_path / "next", rows, shards=3)
    commits, sent = len(hub.requests("tester/grows/commit/")), len(hub.requests("^/lfs/"))
    push(tmp_path / "next", "tester/grows")

    files = files_of(read_contents(tmp_path / "next"))
    others = {"README.md", "eval.yaml", "report.json", "notes.txt", "cropped_256/notes.md"}
    assert paths(hub, "tester/grows") == {*files, *others}
    assert "cropped_256/train-00002-of-00003.parquet" in files
    assert len(hub.requests("tester/grows/commit/")) == commits + 1
    assert len([entry for entry in hub.requests("^/lfs/")[sent:] if entry["method"] == "PUT"]) == 3


def test_repository_that_would_break_is_refused(hub: LocalHub, push: Push, folder: Path, tmp_path: Path) -> None:
    hub.api().create_repo("tester/scripted", repo_type="dataset")
    hub.api().upload_file(
        path_or_fileobj=b"x", path_in_repo="scripted.py", repo_id="tester/scripted", repo_type="dataset"
    )
    with pytest.raises(ValueError, match=r"tester/scripted holds scripted\.py.*Delete or rename it"):
        push(folder, "tester/scripted")
    assert paths(hub, "tester/scripted") == {"scripted.py"}

    push(folder, "tester/images")
    make_conversion(tmp_path / "bare", packages=())
    with pytest.raises(ValueError, match="tester/images holds cropped_256, which the folder does not"):
        push(tmp_path / "bare", "tester/images")


def test_incomplete_folder_is_refused_before_anything_is_sent(hub: LocalHub, push: Push, folder: Path) -> None:
    (folder / "cropped_256" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no train-00001-of-00002\.parquet"):
        push(folder, "tester/incomplete")
    assert not hub.requests("tester/incomplete")


def test_branch_and_privacy(hub: LocalHub, push: Push, folder: Path) -> None:
    push(folder, "tester/branched", private=True, revision="converted")
    assert hub.api().repo_info("tester/branched", repo_type="dataset").private
    assert paths(hub, "tester/branched") == set()
    assert "README.md" in paths(hub, "tester/branched", revision="converted")


def test_with_a_wrong_token_nothing_is_made(
    hub: LocalHub, push: Push, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=hub.url, token="wrong"))
    before = len(hub.requests("repos/create"))
    with pytest.raises(OSError, match=r"(?i)token|401"):
        push(folder, "tester/anonymous")
    assert len(hub.requests("repos/create")) == before


@pytest.mark.parametrize("repo_id", ["a/b/c", "a b"])
def test_malformed_repository_is_refused(repo_id: str, push: Push, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"(?i)repo"):
        push(folder, repo_id)
