"""A converted dataset to the Hub: large files first, then one commit that shows all of them at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile

from bioscan_hf.hub.commits import Content, commit, read_content
from bioscan_hf.hub.dataset_cards import card_files
from bioscan_hf.hub.dataset_contents import FAMILIES, Contents, files_of, read_contents
from bioscan_hf.hub.push import (
    ANSWER_SECONDS,
    ATTEMPTS,
    HUB_FAILURES,
    WAIT,
    answers_within,
    check_can_push,
    one_line,
    retried,
)

_REPORT = "report.json"


def push_dataset(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    report: Callable[[str, int, int], object] | None = None,
    attempts: int = ATTEMPTS,
    wait: float = WAIT,
) -> str:
    """Publish a converted folder.

    At any time the repository holds its former content or the new one: large files are sent ahead, then one commit adds
    them, with the card and `eval.yaml`, which are written for this repository, and removes the shards of an earlier
    push. What the Hub has is not sent again: after an interruption, the same call goes on. Other files of the
    repository are not touched.

    Args:
        folder: What `bioscan data convert` wrote.
        repo_id: Dataset repository, made if need be.
        private: Whether a new repository is private.
        revision: Branch, made if need be; by default the main one.
        report: Called with a task, and how many bytes of how many are done.
        attempts: How often each step is tried.
        wait: Seconds between the first two attempts; twice as long each time after that.

    Returns:
        Address of the repository.

    Raises:
        FileNotFoundError: If the conversion is not complete.
        ValueError: If the folder is damaged, or the repository holds something that does not go together with it.
        OSError: If the Hub refuses or does not answer, or the folder changes meanwhile; the message says how to go on.
    """
    contents = read_contents(folder)
    check_can_push(repo_id)

    def opened() -> _Target:
        target = _Target.open(repo_id, private, revision)
        _check(target, contents)
        return target

    def sent(addition: CommitOperationAdd) -> None:
        target.api.preupload_lfs_files(target.repo_id, [addition], repo_type="dataset", revision=revision)

    def committed() -> None:
        now = opened()  # perhaps somebody else, or a failed attempt, has made a commit
        now.commit(replace(content, additions=(*content.additions, *_described(folder, contents, now.repo_id))))

    try:
        with answers_within(ANSWER_SECONDS):
            target = retried(opened, attempts=attempts, wait=wait)
            content = read_content({name: folder / name for name in files_of(contents)})
            sizes = [addition.upload_info.size for addition in content.additions]
            for addition, done in zip(content.additions, accumulate(sizes), strict=True):
                if not target.has(addition):
                    retried(partial(sent, addition), attempts=attempts, wait=wait)
                if report is not None:
                    report("Uploading", done, sum(sizes))
            retried(committed, attempts=attempts, wait=wait)
    except HUB_FAILURES as error:
        raise OSError(
            f"The push to {repo_id} stopped ({one_line(error)}). The repository shows nothing of it yet; push again, "
            "and what was sent is not sent twice."
        ) from error
    return target.address


@dataclass(frozen=True)
class _Target:
    """A branch of a repository at one commit, and the files in it."""

    api: HfApi
    repo_id: str
    revision: str | None
    parent: str
    present: Mapping[str, RepoFile]
    address: str

    @classmethod
    def open(cls, repo_id: str, private: bool, revision: str | None) -> _Target:
        api = HfApi()
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(url.repo_id, branch=revision, repo_type="dataset", exist_ok=True)
        parent = str(api.dataset_info(url.repo_id, revision=revision).sha)
        tree = api.list_repo_tree(url.repo_id, recursive=True, repo_type="dataset", revision=parent)
        present = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        return cls(api, url.repo_id, revision, parent, present, str(url))

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

    def commit(self, content: Content) -> None:
        """Let the folders of a conversion hold this content, and no other shards."""
        ours = {addition.path_in_repo for addition in content.additions}
        folders = {path.partition("/")[0] for path in ours if "/" in path}
        others = [path for path in self.present if path not in ours and path.endswith((".parquet", ".txt"))]
        commit(
            self.api,
            self.repo_id,
            replace(content, additions=tuple(new for new in content.additions if not self.has(new))),
            parent=self.parent,
            message="Upload dataset and card",
            deleted=[path for path in others if path.partition("/")[0] in folders],
            repo_type="dataset",
            revision=self.revision,
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


def _described(folder: Path, contents: Contents, repo_id: str) -> list[CommitOperationAdd]:
    """What says what the shards are."""
    texts = {name: text.encode() for name, text in card_files(contents, repo_id=repo_id).items()}
    texts[_REPORT] = (folder / _REPORT).read_bytes()
    return [CommitOperationAdd(name, text) for name, text in texts.items()]
