"""Repositories, commits and blobs of the local Hub: histories in memory, contents in a folder."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".arrow", ".bin", ".gz", ".jpg", ".npy", ".npz", ".onnx", ".parquet", ".pt", ".safetensors", ".zip")
LFS_SIZE = 10 * 2**20  # regular files may be no larger
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)


class HubError(Exception):
    """A refusal, in the words that clients turn into an exception: status, message, `X-Error-Code`."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        """Keep the refusal; `commit` names the revision in which an entry was sought."""
        super().__init__(message)
        self.status = status
        self.message = message
        named = {"X-Error-Message": message, "X-Error-Code": code, "X-Repo-Commit": commit}
        self.headers = {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class File:
    """What one commit holds under one path."""

    sha256: str
    size: int
    oid: str  # git blob id: of the content or, if `lfs`, of the pointer
    lfs: bool


@dataclass(frozen=True)
class Commit:
    """A snapshot of all files of a repository."""

    oid: str
    parent: str | None
    title: str
    message: str
    date: str
    files: Mapping[str, File]

    def under(self, path: str) -> dict[str, File]:
        """Return the file at `path` or, if it is a folder, the files below it; all files for ''."""
        return {name: file for name, file in self.files.items() if not path or f"{name}/".startswith(f"{path}/")}


@dataclass
class Repo:
    """A repository; `kind` is the plural used in addresses ('models', 'datasets', 'spaces')."""

    kind: str
    id: str
    private: bool = False
    gated: str | bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """User or organisation that owns the repository."""
        return self.id.partition("/")[0]

    @property
    def page(self) -> str:
        """Path of the repository's page: models have no prefix."""
        return f"/{self.id}" if self.kind == "models" else f"/{self.kind}/{self.id}"

    def resolve(self, revision: str) -> Commit:
        """Return the commit that a branch, a tag, or a commit id (7 characters suffice) stands for."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        if oid := self.branches.get(name) or self.tags.get(name):
            return self.commits[oid]
        found = [commit for oid, commit in self.commits.items() if len(name) >= 7 and oid.startswith(name)]
        if len(found) != 1:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def history(self, commit: Commit) -> Iterator[Commit]:
        """Yield `commit` and its ancestors, newest first."""
        yield commit
        while commit.parent:
            commit = self.commits[commit.parent]
            yield commit

    def last_change(self, path: str, commit: Commit) -> Commit:
        """Return the newest ancestor of `commit` that changed the file or folder at `path`."""
        for ancestor in self.history(commit):
            if not ancestor.parent or self.commits[ancestor.parent].under(path) != ancestor.under(path):
                return ancestor
        raise AssertionError("a history ends at a commit without parent")

    def append(self, branch: str, files: Mapping[str, File], title: str, message: str = "") -> Commit:
        """Make `files` the new head of `branch`."""
        parent = self.branches.get(branch)
        date = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        content = [parent, title, message, date, sorted((path, file.oid) for path, file in files.items())]
        oid = hashlib.sha1(json.dumps(content).encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, message, date, files)
        self.branches[branch] = oid
        return self.commits[oid]


class Storage:
    """All repositories, and the blobs that they share."""

    def __init__(self, root: Path) -> None:
        """Keep blobs in the folder `root`, one file per SHA-256."""
        self.root = root
        self.repos: dict[tuple[str, str], Repo] = {}

    def create(self, kind: str, repo_id: str, private: bool) -> Repo:
        """Add a repository with the first commit that the Hub gives to each."""
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        repo.append("main", {".gitattributes": self.file(GITATTRIBUTES.encode())}, "initial commit")
        return repo

    def blob(self, sha256: str) -> Path:
        """Return where the content with this hash is kept, or would be."""
        return self.root / sha256

    def put(self, data: bytes) -> str:
        """Store a content and return its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.blob(sha256).write_bytes(data)
        return sha256

    def file(self, data: bytes) -> File:
        """Store a regular file."""
        return File(self.put(data), len(data), git_id(data), lfs=False)

    def lfs_file(self, sha256: str) -> File:
        """Refer to a content that was uploaded before."""
        if not self.blob(sha256).is_file():
            raise HubError(400, f"LFS object {sha256} was not uploaded")
        size = self.blob(sha256).stat().st_size
        return File(sha256, size, git_id(lfs_pointer(sha256, size)), lfs=True)

    def commit(self, repo: Repo, branch: str, header: dict[str, Any], operations: Iterable[dict[str, Any]]) -> Commit:
        """Apply the lines of a commit request to the head of `branch`, all or none."""
        if branch not in repo.branches:
            raise HubError(404, f"No branch {branch!r} to commit to", "RevisionNotFound")
        head = repo.resolve(branch)
        if header.get("parentCommit", head.oid) != head.oid:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for operation in operations:
            self._apply(operation["key"], operation["value"], files, head)
        return repo.append(branch, files, header["summary"], header.get("description", ""))

    def _apply(self, key: str, value: dict[str, Any], files: dict[str, File], head: Commit) -> None:
        path = value["path"].rstrip("/")
        match key:
            case "file":
                files[path] = self.file(base64.b64decode(value["content"]))
            case "lfsFile":
                files[path] = self.lfs_file(value["oid"])
            case "deletedFile" | "deletedFolder":
                gone = [name for name in files if f"{name}/".startswith(f"{path}/")]
                if not gone:
                    raise HubError(404, f"Nothing to delete at {path}", "EntryNotFound", head.oid)
                for name in gone:
                    del files[name]
            case _:
                raise HubError(400, f"Unknown operation {key!r}")


def git_id(data: bytes) -> str:
    """Return the id that git gives to a blob with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Return the text that git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def is_lfs(path: str, size: int) -> bool:
    """Tell whether a file must be uploaded by LFS."""
    return size > LFS_SIZE or path.endswith(LFS_SUFFIXES)
