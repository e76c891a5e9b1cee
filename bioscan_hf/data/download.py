"""Released files from the Hub: listed, downloaded once, compared with their checksums."""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from datasets import config
from datasets.utils import tqdm
from huggingface_hub import HfApi, hf_hub_download, scan_cache_dir
from huggingface_hub.errors import CacheNotFound, HTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from bioscan_hf.data.release import MD5, METADATA_ARCHIVE, REPOSITORY

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Repository:
    """A dataset repository at one commit.

    Attributes:
        path: `namespace/name`.
        commit: Full hash.
        files: Paths of its files; offline, of those in the cache.
        token: Token for access, True for the saved one, None for the default.
    """

    path: str
    commit: str
    files: tuple[str, ...]
    token: str | bool | None = None

    def download(self, file: str) -> Path:
        """Download a file, unless the cache has it; an interrupted download goes on.

        Raises:
            ValueError: If its content is not that of the released file.
            OSError: If the Hub does not give it.
        """
        try:
            given = hf_hub_download(self.path, file, repo_type="dataset", revision=self.commit, token=self.token)
        except HTTPError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise OSError(f"{self.path} does not give {file} ({reason}); try again, and it goes on.") from error
        local = Path(given)
        _verify(local, self.path)
        return local

    def url(self, file: str) -> str:
        """Address of a file for fsspec."""
        return f"hf://datasets/{self.path}@{self.commit}/{file}"


def find_repository(path: str, *, revision: str | None = None, token: str | bool | None = None) -> Repository:
    """Look a dataset repository up on the Hub, or in the cache when the Hub cannot be reached.

    Raises:
        OSError: If the repository is neither on the Hub nor in the cache.
    """
    try:
        info = HfApi().dataset_info(path, revision=revision, token=token)
    except RepositoryNotFoundError:
        raise
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        return _cached(path, revision or "main", error)
    return Repository(path, str(info.sha), tuple(file.rfilename for file in info.siblings or ()), token)


def _cached(path: str, revision: str, reason: Exception) -> Repository:
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        repositories = frozenset()
    for repository in repositories:
        if repository.repo_type == "dataset" and repository.repo_id == path:
            for found in repository.revisions:
                if revision in found.refs or found.commit_hash.startswith(revision):
                    files = [file.file_path.relative_to(found.snapshot_path).as_posix() for file in found.files]
                    return Repository(path, found.commit_hash, tuple(files))
    first = str(reason).strip().splitlines()[0]
    raise OSError(f"{path} ({revision}) is not in the cache, and the Hub cannot be asked: {first}") from reason


def _verify(local: Path, path: str) -> None:
    """Compare a file with its published checksums, once.

    Large files of the Hub are named, in the cache, by the SHA-256 that the Hub states. The MD5 of the image archives
    are those of Zenodo's copies; the Hub's may be packed otherwise, so that another MD5 there is no proof of damage.
    """
    blob = local.resolve()
    expected_md5 = MD5.get(local.name) if path == REPOSITORY else None
    expected_sha = blob.name if _SHA256.fullmatch(blob.name) else None
    stat = blob.stat()
    mark = Path(config.HF_DATASETS_CACHE) / "bioscan_hf" / "verified" / f"{blob.name}-{stat.st_size}-{stat.st_mtime_ns}"
    if mark.exists() or not (expected_md5 or expected_sha):
        return
    sha, md5 = _digests(blob, local.name)
    if expected_sha not in (None, sha) or (local.name == METADATA_ARCHIVE and expected_md5 not in (None, md5)):
        raise ValueError(f"{local.name} is damaged: its checksum is not the published one. Delete '{blob}', try again.")
    if expected_md5 not in (None, md5):
        warnings.warn(f"{local.name} differs from the copy on Zenodo (MD5 {md5}, not {expected_md5}).", stacklevel=2)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _digests(path: Path, name: str) -> tuple[str, str]:
    sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = path.stat().st_size
    with path.open("rb") as file, tqdm(total=size, unit="B", unit_scale=True, desc=f"Verifying {name}") as bar:
        while block := file.read(_BLOCK):
            sha.update(block)
            md5.update(block)
            bar.update(len(block))
    return sha.hexdigest(), md5.hexdigest()
