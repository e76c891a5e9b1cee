"""The local Hub is used here as the package's tests use it: through the real clients."""

import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, HfFileSystem, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from tests.hub_server.fixture import LocalHub

PUSH = """
    from datasets import ClassLabel, Dataset, Features, Image, Value
    from huggingface_hub import EvalResult, ModelCard, ModelCardData
    from PIL import Image as Pillow
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=4)
    BertModel(BertConfig(**sizes)).push_to_hub("tester/hub-bert")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "ACGT": 2, "TTTT": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").push_to_hub("tester/hub-bert")

    result = EvalResult("text-classification", "made", "Made up", "accuracy", 0.5)
    data = ModelCardData(license="mit", model_name="Tiny", eval_results=[result])
    card = ModelCard(f"---\\n{data.to_yaml()}\\n---\\n# Tiny\\n")
    card.validate()
    card.push_to_hub("tester/hub-bert")

    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"]), "processid": Value("string")})
    images = [Pillow.new("RGB", (4, 4), (10 * i, 0, 0)) for i in range(6)]
    columns = {"image": images, "label": [0, 1] * 3, "processid": [f"P{i}" for i in range(6)]}
    dataset = Dataset.from_dict(columns, features=features)
    dataset.push_to_hub("tester/hub-images", "colours", split="train", num_shards=2)
"""

PULL = """
    import json

    import torch
    from datasets import load_dataset
    from huggingface_hub import ModelCard, repo_exists
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained("tester/hub-bert")
    tokenizer = AutoTokenizer.from_pretrained("tester/hub-bert", revision="main")
    hidden = model(**tokenizer("ACGT TTTT", return_tensors="pt")).last_hidden_state
    try:
        AutoModel.from_pretrained("tester/no-such-model")
    except OSError as error:
        missing = str(error)
    stream = load_dataset("tester/hub-images", "colours", split="train", streaming=True)
    loaded = load_dataset("tester/hub-images", "colours", split="train")
    print(json.dumps({
        "shape": list(hidden.shape),
        "ids": tokenizer("TTTT ACGT GGGG")["input_ids"],
        "missing": missing,
        "accuracy": ModelCard.load("tester/hub-bert").data.eval_results[0].metric_value,
        "reds": [row["image"].getpixel((0, 0))[0] for row in loaded],
        "labels": loaded.features["label"].names,
        "streamed": [[row["processid"], row["image"].size] for row in stream],
    }))
"""


@pytest.fixture(scope="module")
def api(hub: LocalHub) -> HfApi:
    return hub.api()


@pytest.fixture(scope="module")
def pulled(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a computer without a token reads after another one has pushed a model, a card and a dataset."""
    hub.run(PUSH, tmp_path_factory.mktemp("pushing"))
    result: dict[str, Any] = json.loads(hub.run(PULL, tmp_path_factory.mktemp("pulling"), token=False).stdout)
    return result


def status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_model_and_tokenizer_come_back(pulled: dict[str, Any]) -> None:
    assert pulled["shape"] == [1, 2, 8]
    assert pulled["ids"] == [3, 2, 0]
    assert "tester/no-such-model" in pulled["missing"]


def test_dataset_with_images_comes_back(pulled: dict[str, Any], hub: LocalHub, api: HfApi) -> None:
    assert pulled["reds"] == [0, 10, 20, 30, 40, 50]
    assert pulled["labels"] == ["a", "b"]
    assert pulled["streamed"] == [[f"P{i}", [4, 4]] for i in range(6)]
    files = api.list_repo_tree("tester/hub-images", "colours", repo_type="dataset")
    shards = [file.lfs.sha256 for file in files if isinstance(file, RepoFile) and file.lfs]
    assert len(shards) == 2
    for shard in shards:
        statuses = {entry["status"] for entry in hub.requests(f"/lfs/{shard}") if entry["method"] == "GET"}
        assert 206 in statuses, "streaming reads ranges"


def test_card_is_shown(pulled: dict[str, Any], api: HfApi) -> None:
    assert pulled["accuracy"] == 0.5
    info = api.model_info("tester/hub-bert")
    assert info.card_data is not None and info.card_data.license == "mit"
    assert {"bert", "license:mit"} <= set(info.tags or [])
    found = api.list_models(author="tester", search="hub-", filter="license:mit")
    assert [model.id for model in found] == ["tester/hub-bert"]


@pytest.mark.parametrize("metadata", ["license: [mit", "- mit"])
def test_bad_card_is_refused(api: HfApi, metadata: str) -> None:
    repo = api.create_repo("tester/hub-carded", exist_ok=True).repo_id
    with pytest.raises(ValueError, match="Invalid metadata in README"):
        api.upload_file(path_or_fileobj=f"---\n{metadata}\n---\n".encode(), path_in_repo="README.md", repo_id=repo)
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.upload_file(path_or_fileobj=b"# Carded", path_in_repo="README.md", repo_id=repo)


def test_account_and_repositories(api: HfApi) -> None:
    assert [org["name"] for org in api.whoami()["orgs"]] == ["bioscan-ml"]
    url = api.create_repo("bioscan-ml/hub-made", repo_type="dataset", private=True)
    assert (url.repo_id, url.repo_type) == ("bioscan-ml/hub-made", "dataset")
    assert api.create_repo("bioscan-ml/hub-made", repo_type="dataset", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError) as conflict:
        api.create_repo("bioscan-ml/hub-made", repo_type="dataset")
    assert status(conflict) == 409
    assert api.create_repo("hub-short").repo_id == "tester/hub-short"
    with pytest.raises(HfHubHTTPError) as forbidden:
        api.create_repo("stranger/made")
    assert status(forbidden) == 403
    assert [item.id for item in api.list_datasets(author="bioscan-ml", search="HUB-MADE")] == ["bioscan-ml/hub-made"]
    space = api.create_repo("hub-space", repo_type="space", space_sdk="gradio")
    assert api.space_info(space.repo_id).sha in {
        ref.target_commit for ref in api.list_repo_refs(space.repo_id, repo_type="space").branches
    }
    api.delete_repo("bioscan-ml/hub-made", repo_type="dataset")
    assert not api.repo_exists("bioscan-ml/hub-made", repo_type="dataset")


def test_lfs_files_and_ranges(hub: LocalHub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo("tester/hub-large")
    content = bytes(range(256)) * 41 * 1024  # 10.25 MiB: too large for a regular file
    api.upload_file(path_or_fileobj=content, path_in_repo="deep/table.csv", repo_id="tester/hub-large")
    api.upload_file(path_or_fileobj=b"small", path_in_repo="w.safetensors", repo_id="tester/hub-large")
    api.upload_file(path_or_fileobj=b"", path_in_repo="empty.txt", repo_id="tester/hub-large")
    infos = {file.rfilename: file for file in api.model_info("tester/hub-large", files_metadata=True).siblings or []}
    assert {name for name, file in infos.items() if file.lfs} == {"deep/table.csv", "w.safetensors"}
    assert infos["deep/table.csv"].size == len(content)
    path = api.hf_hub_download("tester/hub-large", "deep/table.csv", cache_dir=tmp_path)
    assert Path(path).read_bytes() == content
    assert Path(api.hf_hub_download("tester/hub-large", "empty.txt", cache_dir=tmp_path)).read_bytes() == b""
    files = HfFileSystem(endpoint=hub.url, token=hub.token, skip_instance_cache=True)
    assert files.cat_file("tester/hub-large/deep/table.csv", start=250, end=260) == content[250:260]
    assert files.cat_file("tester/hub-large/w.safetensors", start=2) == b"all"
    assert files.glob("tester/hub-large/**/*.csv") == ["tester/hub-large/deep/table.csv"]


def test_upload_folder_sends_only_what_changed(hub: LocalHub, api: HfApi, tmp_path: Path) -> None:
    repo = api.create_repo("tester/hub-folder").repo_id
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.npy").write_bytes(b"numbers")
    (tmp_path / "notes.md").write_text("first")
    first = api.upload_folder(folder_path=tmp_path, repo_id=repo)
    assert api.upload_folder(folder_path=tmp_path, repo_id=repo).oid == first.oid
    assert len(hub.requests("/hub-folder/commit/")) == 1
    (tmp_path / "notes.md").write_text("second")
    api.upload_folder(folder_path=tmp_path, repo_id=repo, commit_message="change notes")
    assert len(hub.requests("/hub-folder/commit/")) == 2
    assert [entry["method"] for entry in hub.requests(f"/lfs/{sha256(b'numbers').hexdigest()}")] == ["PUT", "POST"]
    assert api.list_repo_files(repo) == [".gitattributes", "data/x.npy", "notes.md"]
    changed = {item.path: item for item in api.get_paths_info(repo, ["notes.md", "data", "none"], expand=True)}
    assert {path: item.last_commit and item.last_commit.title for path, item in changed.items()} == {
        "notes.md": "change notes",
        "data": "Upload folder using huggingface_hub",
    }
    api.delete_folder("data", repo)
    assert [item.path for item in api.list_repo_tree(repo)] == [".gitattributes", "notes.md"]
    assert [commit.title for commit in api.list_repo_commits(repo)][-1] == "initial commit"
    with pytest.raises(EntryNotFoundError):
        api.delete_file("data/x.npy", repo)


def test_branches_and_tags(api: HfApi, tmp_path: Path) -> None:
    repo = api.create_repo("tester/hub-branched").repo_id
    old = api.upload_file(path_or_fileobj=b"old", path_in_repo="a.txt", repo_id=repo)
    api.create_tag(repo, tag="v1")
    api.create_branch(repo, branch="new/side", revision=old.oid)
    api.upload_file(path_or_fileobj=b"new", path_in_repo="a.txt", repo_id=repo, revision="new/side")
    for revision, content in {"v1": b"old", "main": b"old", old.oid[:8]: b"old", "new/side": b"new"}.items():
        path = api.hf_hub_download(repo, "a.txt", revision=revision, cache_dir=tmp_path)
        assert Path(path).read_bytes() == content
    refs = api.list_repo_refs(repo)
    assert {ref.ref for ref in (*refs.branches, *refs.tags)} == {
        "refs/heads/main",
        "refs/heads/new/side",
        "refs/tags/v1",
    }
    api.create_tag(repo, tag="v1", exist_ok=True)
    api.delete_tag(repo, tag="v1")
    api.delete_branch(repo, branch="new/side")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="v1")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "b.txt", cache_dir=tmp_path)


def test_commit_on_an_outdated_parent_is_refused(api: HfApi) -> None:
    repo = api.create_repo("tester/hub-raced").repo_id
    start = api.model_info(repo).sha
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="a.txt", repo_id=repo, parent_commit=start)
    with pytest.raises(HfHubHTTPError) as refused:
        api.upload_file(path_or_fileobj=b"yours", path_in_repo="a.txt", repo_id=repo, parent_commit=start)
    assert status(refused) == 412


def test_private_and_missing_repositories_look_alike(hub: LocalHub, api: HfApi, tmp_path: Path) -> None:
    repo = api.create_repo("tester/hub-secret", private=True).repo_id
    anonymous = hub.api(token=False)
    for name in (repo, "tester/never-made", "without-namespace"):
        with pytest.raises(RepositoryNotFoundError):
            anonymous.model_info(name)
        with pytest.raises(RepositoryNotFoundError):
            anonymous.auth_check(name)
        with pytest.raises(RepositoryNotFoundError):
            anonymous.hf_hub_download(name, "config.json", cache_dir=tmp_path)
    assert repo in [model.id for model in api.list_models()]
    assert repo not in [model.id for model in anonymous.list_models()]
    api.update_repo_settings(repo, private=False)
    assert anonymous.model_info(repo).private is False


def test_writing_needs_the_right_token(hub: LocalHub, api: HfApi) -> None:
    repo = api.create_repo("tester/hub-guarded").repo_id
    for stranger in (hub.api(token=False), hub.api(token="hf_wrong")):
        with pytest.raises(HfHubHTTPError) as refused:
            stranger.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=repo)
        assert status(refused) == 401
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        hub.api(token="hf_wrong").whoami()


def test_injected_errors_are_retried_or_reported(hub: LocalHub, api: HfApi) -> None:
    repo = api.create_repo("tester/hub-faulty").repo_id
    hub.fail("POST", "/hub-faulty/preupload/")
    hub.fail("POST", "/hub-faulty/commit/", status=503, after=1)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo)
    assert [entry["status"] for entry in hub.requests("/hub-faulty/preupload/")] == [500, 200]
    with pytest.raises(HfHubHTTPError) as reported:
        api.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=repo)
    assert status(reported) == 503
    assert len(api.list_repo_commits(repo)) == 2


def test_cut_download_is_resumed(hub: LocalHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = api.create_repo("tester/hub-cut").repo_id
    content = bytes(1000)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)  # what is lost of a cut download
    api.upload_file(path_or_fileobj=content, path_in_repo="x.npy", repo_id=repo)
    hub.fail("GET", "/lfs/", cut=True)
    path = api.hf_hub_download(repo, "x.npy", cache_dir=tmp_path)
    assert Path(path).read_bytes() == content
    assert [entry["status"] for entry in hub.requests("/lfs/") if entry["method"] == "GET"][-2:] == [200, 206]


def test_commit_with_a_lost_answer_has_happened(hub: LocalHub, api: HfApi) -> None:
    repo = api.create_repo("tester/hub-lost").repo_id
    hub.fail("POST", "/hub-lost/commit/", cut=True)
    with pytest.raises(Exception, match="peer closed connection"):
        api.upload_file(path_or_fileobj=b"late", path_in_repo="late.txt", repo_id=repo)
    assert api.file_exists(repo, "late.txt")


def test_commit_that_is_answered_with_an_error_has_happened(hub: LocalHub, api: HfApi) -> None:
    repo = api.create_repo("tester/hub-unsure").repo_id
    hub.fail("", "/hub-unsure/commit/", status=504, done=True)
    with pytest.raises(HfHubHTTPError) as answered:
        api.upload_file(path_or_fileobj=b"sure", path_in_repo="sure.txt", repo_id=repo)
    assert status(answered) == 504 and api.file_exists(repo, "sure.txt")


def test_upload_that_breaks_off_is_sent_again(hub: LocalHub, api: HfApi) -> None:
    repo = api.create_repo("tester/hub-dropped").repo_id
    hub.fail("PUT", "/lfs/", drop=True)
    content = b"dropped" * 100_000
    api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=repo)
    sent = [entry["status"] for entry in hub.requests(sha256(content).hexdigest()) if entry["method"] == "PUT"]
    assert sent == [499, 200] and api.file_exists(repo, "a.bin")


def test_busy_hub_says_when_to_come_back(hub: LocalHub, api: HfApi) -> None:
    hub.fail("GET", "/api/whoami-v2", status=429, retry_after=7)
    with pytest.raises(HfHubHTTPError) as refused:
        api.whoami()
    assert (status(refused), refused.value.response.headers["Retry-After"]) == (429, "7")


def test_slow_answer_comes(hub: LocalHub, api: HfApi) -> None:
    hub.fail("GET", "/api/whoami-v2", delay=0.2)
    start = time.monotonic()
    assert api.whoami()["name"] == "tester" and time.monotonic() - start > 0.2


def test_healing_forgets_faults(hub: LocalHub, api: HfApi) -> None:
    hub.fail("GET", "/api/whoami-v2", times=100)
    hub.heal()
    assert api.whoami()["name"] == "tester"
