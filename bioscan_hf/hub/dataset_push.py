"""A converted dataset to the Hub, in commits that can be interrupted and continued."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError
from huggingface_hub.hf_api import RepoFile

from bioscan_hf.hub.dataset_cards import card_files
from bioscan_hf.hub.dataset_contents import FAMILIES, Contents, files_of, read_contents
from bioscan_hf.hub.push import check_can_push

FILES_PER_COMMIT = 50
BYTES_PER_COMMIT = 5 * 10**9


def push_dataset(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    report: Callable[[str, int, int], object] | None = None,
) -> str:
    """Publish a converted folder.

    What the repository already has is not sent again: after an interruption, the same call goes on. The card and
    `eval.yaml` are written for this repository and come last, together with the removal of shards of an earlier
    push, so that at no time files are missing that the card names. Other files of the repository are not touched.

    Args:
        folder: What `bioscan data convert` wrote.
        repo_id: Dataset repository, made if need be.
        private: Whether a new repository is private.
        revision: Branch, made if need be; by default the main one.
        report: Called with a task, and how many bytes of how many are done.

    Returns:
        Address of the repository.

    Raises:
        FileNotFoundError: If the conversion is not complete.
        ValueError: If the folder is damaged, or the repository holds something that does not go together with it.
        OSError: If the Hub refuses or does not answer; the message says how to go on.
    """
    contents = read_contents(folder)
    check_can_push(repo_id)
    with _says_how_to_go_on(repo_id):
        target = _Target.open(repo_id, private, revision)
    _check(target, contents)
    with _says_how_to_go_on(repo_id):
        for number, operations in enumerate(_uploaded(target, folder, contents, report), 1):
            target.commit(operations, f"Upload files, part {number}")
        _commit_card(target, folder, contents)
    return target.address


@dataclass(frozen=True)
class _Target:
    """A repository, and the files that it had when the push began."""

    api: HfApi
    repo_id: str
    revision: str | None
    present: Mapping[str, RepoFile]
    address: str

    @classmethod
    def open(cls, repo_id: str, private: bool, revision: str | None) -> _Target:
        api = HfApi()
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(url.repo_id, branch=revision, repo_type="dataset", exist_ok=True)
        tree = api.list_repo_tree(url.repo_id, recursive=True, repo_type="dataset", revision=revision)
        present = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        return cls(api, url.repo_id, revision, present, str(url))

    def has(self, addition: CommitOperationAdd) -> bool:
        """Whether the same content is there under the same path."""
        found = self.present.get(addition.path_in_repo)
        if found is None or found.size != addition.upload_info.size:
            return False
        if found.lfs is not None:
            return bool(found.lfs.sha256 == addition.upload_info.sha256.hex())
        with addition.as_file() as file:
            content = file.read()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)  # as git names it
        return bool(found.blob_id == blob.hexdigest())

    def upload(self, addition: CommitOperationAdd) -> None:
        """Send a large file ahead of its commit; one that was sent, but not committed, is not sent again."""
        self.api.preupload_lfs_files(self.repo_id, [addition], repo_type="dataset", revision=self.revision)

    def commit(self, operations: Sequence[CommitOperationAdd | CommitOperationDelete], message: str) -> None:
        self.api.create_commit(
            self.repo_id, operations, commit_message=message, repo_type="dataset", revision=self.revision
        )


def _check(target: _Target, contents: Contents) -> None:
    script = f"{target.repo_id.split('/')[-1]}.py"
    if script in target.present:
        raise ValueError(
            f"{target.repo_id} holds {script}: `datasets` from version 4 on refuses a repository with a script of its "
            "own name, whatever else is there. Delete or rename it, then push again."
        )
    folders = {path.partition("/")[0] for path in target.present if "/" in path}
    others = [family for family in FAMILIES if family in folders and family not in contents]
    if others:
        raise ValueError(
            f"{target.repo_id} holds {', '.join(others)}, which the folder does not, and its card would no longer name "
            "them. Convert them into this folder, too, or delete them from the repository, then push again."
        )


def _uploaded(
    target: _Target, folder: Path, contents: Contents, report: Callable[[str, int, int], object] | None
) -> Iterator[list[CommitOperationAdd]]:
    """Upload what the repository does not have; yields what to commit together."""
    sizes = {name: (folder / name).stat().st_size for name in files_of(contents)}
    batch: list[CommitOperationAdd] = []
    for name, done in zip(sizes, accumulate(sizes.values()), strict=True):
        addition = CommitOperationAdd(name, folder / name)
        if not target.has(addition):
            target.upload(addition)
            batch.append(addition)
        if report is not None:
            report("Uploading", done, sum(sizes.values()))
        batch_bytes = sum(sizes[addition.path_in_repo] for addition in batch)
        if len(batch) == FILES_PER_COMMIT or batch_bytes >= BYTES_PER_COMMIT:
            yield batch
            batch = []
    if batch:
        yield batch


def _commit_card(target: _Target, folder: Path, contents: Contents) -> None:
    texts = {name: text.encode() for name, text in card_files(contents, repo_id=target.repo_id).items()}
    texts["report.json"] = (folder / "report.json").read_bytes()
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    for name, text in texts.items():
        addition = CommitOperationAdd(name, text)
        if not target.has(addition):
            operations.append(addition)
    folders, ours = {"labels", "order", *contents}, set(files_of(contents))
    for path in target.present:
        if path.partition("/")[0] in folders and path.endswith((".parquet", ".txt")) and path not in ours:
            operations.append(CommitOperationDelete(path))
    if operations:
        target.commit(operations, "Upload card")


@contextmanager
def _says_how_to_go_on(repo_id: str) -> Iterator[None]:
    try:
        yield
    # hf_xet, which uploads where it is installed, raises RuntimeError for what is no OSError.
    except (HTTPError, OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(
            f"The push to {repo_id} stopped ({reason}). What was committed stays; push again, and the rest follows."
        ) from error
