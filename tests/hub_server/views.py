"""The JSON forms in which the local Hub shows repositories, trees and cards."""

import json
import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import yaml

from .storage import Commit, File, HubError, Repo, Storage, git_id, lfs_pointer

Json = dict[str, Any]


def tree(repo: Repo, commit: Commit, folder: str, recursive: bool, expand: bool) -> list[Json]:
    """List a folder ('' is the root): its own entries, or with `recursive` all below it."""
    files = commit.under(folder)
    if folder and (not files or folder in files):
        raise HubError(404, f"{folder} does not exist on {commit.oid}", "EntryNotFound", commit.oid)
    names = {str(name) for path in files for name in (PurePosixPath(path), *PurePosixPath(path).parents)}
    top = PurePosixPath(folder)
    inside = [name for name in sorted(names) if top in PurePosixPath(name).parents]
    if not recursive:
        inside = [name for name in inside if PurePosixPath(name).parent == top]
    return [shown for name in inside if (shown := entry(repo, commit, name, expand))]


def entry(repo: Repo, commit: Commit, path: str, expand: bool) -> Json | None:
    """Show the file or folder at `path`, None if there is none; `expand` adds its last commit."""
    inside = commit.under(path)
    if not inside:
        return None
    shown: Json
    if file := commit.files.get(path):
        shown = {"type": "file", "path": path, "oid": file.oid, "size": file.size}
        if file.lfs:
            shown["lfs"] = {"oid": file.sha256} | _lfs_sizes(file)
    else:
        oid = git_id(json.dumps(sorted((name, below.oid) for name, below in inside.items())).encode())
        shown = {"type": "directory", "path": path, "oid": oid, "size": 0}
    if expand:
        last = repo.last_change(path, commit)
        shown["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return shown


def refs(repo: Repo) -> Json:
    """Show branches and tags."""

    def named(kind: str, targets: dict[str, str]) -> list[Json]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in targets.items()]

    return {
        "branches": named("heads", repo.branches),
        "tags": named("tags", repo.tags),
        "converts": [],
        "pullRequests": [],
    }


def commits(repo: Repo, commit: Commit) -> list[Json]:
    """Show a history, newest first."""
    return [
        {
            "id": past.oid,
            "title": past.title,
            "message": past.message,
            "date": past.date,
            "authors": [{"user": repo.namespace}],
        }
        for past in repo.history(commit)
    ]


def info(storage: Storage, repo: Repo, commit: Commit, blobs: bool = False) -> Json:
    """Show a repository at one commit; `blobs` adds sizes and hashes of its files."""
    card = _card(storage, commit)
    config = _config(storage, commit)
    named = [card.get("library_name"), card.get("pipeline_tag"), config.get("model_type")]
    if license_name := card.get("license"):
        named.append(f"license:{license_name}")
    return {
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.oid,
        "createdAt": min(past.date for past in repo.commits.values()),
        "lastModified": commit.date,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "library_name": card.get("library_name"),
        "pipeline_tag": card.get("pipeline_tag"),
        "tags": [tag for tag in (*named, *(card.get("tags") or ())) if tag],
        "cardData": card,
        "config": {key: config[key] for key in ("architectures", "model_type", "auto_map") if key in config},
        "siblings": [{"rfilename": path} | (_blob(file) if blobs else {}) for path, file in commit.files.items()],
    }


def front_matter(text: str) -> Json:
    """Read the YAML between the dashes at the start of a card; empty if there is none.

    Raises:
        ValueError: If it is not YAML, or not a mapping.
    """
    found = re.match(r"\s*---\r?\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    if not found:
        return {}
    try:
        metadata = yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"Invalid YAML: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"The metadata must be a mapping; got {type(metadata).__name__}")
    return metadata


# Whether a card or a configuration is well-formed is not for this view to say; a bad one shows nothing.
def _card(storage: Storage, commit: Commit) -> Json:
    with suppress(ValueError):
        return front_matter(_text(storage, commit, "README.md"))
    return {}


def _config(storage: Storage, commit: Commit) -> Json:
    with suppress(ValueError):
        config = json.loads(_text(storage, commit, "config.json"))
        return config if isinstance(config, dict) else {}
    return {}


def _text(storage: Storage, commit: Commit, path: str) -> str:
    file = commit.files.get(path)
    return storage.blob(file.sha256).read_text(encoding="utf-8") if file else ""


def _blob(file: File) -> Json:
    shown: Json = {"size": file.size, "blobId": file.oid}
    if file.lfs:
        shown["lfs"] = {"sha256": file.sha256} | _lfs_sizes(file)
    return shown


def _lfs_sizes(file: File) -> Json:
    return {"size": file.size, "pointerSize": len(lfs_pointer(file.sha256, file.size))}
