"""Files that belong together to a repository: in one commit, as they were at one moment.

`HfApi.upload_folder` makes several commits of a large folder where hf_xet is installed; whoever loads the repository
between two of them, or after a push that was killed there, gets the configuration of one model and the weights of
another. And it leaves out files that have not changed, as they were when it looked: of two pushes at once, the later
one would be mixed with the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import filter_repo_objects

# What the Hub takes in a commit; larger files are sent before it.
_SMALL_BYTES = 10 << 20
# Half-written files, and those of git and of the client, which refuses them.
_LEFT_OUT = (".partial-*", "*/.partial-*", ".git", ".git/*", "*/.git/*", ".cache/*", "*/.cache/*")


@dataclass(frozen=True)
class Content:
    """Files, and the state in which they were read.

    Attributes:
        additions: The files, ready to be sent; they serve for one commit.
        states: By path on the disk: number, size and time of change of the file.
    """

    additions: tuple[CommitOperationAdd, ...]
    states: Mapping[Path, tuple[int, int, int]]

    def check_unchanged(self) -> None:
        """See that no file was changed since.

        Raises:
            OSError: If one was.
        """
        if changed := [path for path, state in self.states.items() if _state(path) != state]:
            raise OSError(f"'{changed[0]}' was changed while it was pushed; push again when nothing writes there.")


def files_in(folder: Path, ignore: Sequence[str] = ()) -> dict[str, Path]:
    """The files of a folder, by their path in it.

    Args:
        folder: The folder.
        ignore: Patterns of paths in `folder` that are left out.

    Raises:
        FileNotFoundError: If there is none.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    kept = list(filter_repo_objects(paths, ignore_patterns=[*ignore, *_LEFT_OUT]))
    if not kept:
        raise FileNotFoundError(f"'{folder}' holds no file to push.")
    return {name: paths[name] for name in kept}


def read_content(files: Mapping[str, Path]) -> Content:
    """Read small files, and take note of the state of the large ones, which are read when they are sent.

    Args:
        files: By path in the repository.

    Raises:
        OSError: If one cannot be read.
    """
    states = {path: _state(path) for path in files.values()}
    return Content(
        tuple(
            CommitOperationAdd(name, path if states[path][1] > _SMALL_BYTES else path.read_bytes())
            for name, path in files.items()
        ),
        states,
    )


def commit(
    api: HfApi,
    repo_id: str,
    content: Content,
    *,
    parent: str,
    message: str,
    deleted: Iterable[str] = (),
    repo_type: str = "model",
    revision: str | None = None,
) -> str:
    """Add files to a repository, and delete others, in one commit on top of a known one.

    Args:
        api: The client.
        repo_id: The repository.
        content: From `read_content`, for this commit alone.
        parent: The commit for which `content` and `deleted` were chosen.
        message: Of the commit.
        deleted: Paths of files that are deleted.
        repo_type: Kind of the repository.
        revision: Branch, by default the main one.

    Returns:
        Address of the commit; of `parent` if nothing was to be changed.

    Raises:
        HTTPError: If the Hub refuses or does not answer, or the branch has another commit by now.
        OSError: If a file was changed since it was read.
    """
    api.preupload_lfs_files(repo_id, content.additions, repo_type=repo_type, revision=revision, free_memory=False)
    content.check_unchanged()
    made = api.create_commit(
        repo_id,
        [*content.additions, *(CommitOperationDelete(path) for path in deleted)],
        commit_message=message,
        repo_type=repo_type,
        revision=revision,
        parent_commit=parent,
    )
    return str(made.commit_url)


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, -1, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
