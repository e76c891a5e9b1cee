import hashlib
from pathlib import Path

import pytest
from huggingface_hub.errors import HTTPError

from bioscan_hf.data import download
from bioscan_hf.data.download import Repository
from bioscan_hf.data.release import METADATA_ARCHIVE, REPOSITORY


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as the cache of the Hub's client holds it: a link to a blob that is named by the stated SHA-256."""
    monkeypatch.setattr(download.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    blob = tmp_path / "blobs" / hashlib.sha256(b"content").hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(b"content")
    link = tmp_path / METADATA_ARCHIVE
    link.symlink_to(blob)
    monkeypatch.setattr(download, "hf_hub_download", lambda *_, **__: str(link))
    return blob


def test_a_whole_file_is_checked_once(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository("someone/else", "0" * 40, (METADATA_ARCHIVE,))
    assert repository.download(METADATA_ARCHIVE).read_bytes() == b"content"
    monkeypatch.delattr(download, "_digests")
    repository.download(METADATA_ARCHIVE)


def test_damage_is_found(cached: Path) -> None:
    cached.write_bytes(b"c0ntent")
    with pytest.raises(ValueError, match=r"is damaged: its checksum is not the published one\. Delete '.*', try again"):
        Repository("someone/else", "0" * 40, ()).download(METADATA_ARCHIVE)


def test_the_official_archive_must_be_the_published_one(cached: Path) -> None:
    with pytest.raises(ValueError, match="is damaged"):
        Repository(REPOSITORY, "0" * 40, ()).download(METADATA_ARCHIVE)


def test_other_copies_of_image_archives_are_told_apart(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "BIOSCAN_5M_cropped_256_eval.zip"
    link.symlink_to(cached)
    monkeypatch.setattr(download, "hf_hub_download", lambda *_, **__: str(link))
    with pytest.warns(UserWarning, match="differs from the copy on Zenodo"):
        Repository(REPOSITORY, "0" * 40, ()).download(link.name)


def test_broken_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise HTTPError("peer closed connection")

    monkeypatch.setattr(download, "hf_hub_download", broken)
    with pytest.raises(OSError, match=r"a/b does not give x\.parquet \(peer closed connection\); try again"):
        Repository("a/b", "0" * 40, ()).download("x.parquet")


def test_addresses() -> None:
    repository = Repository("a/b", "0123", ())
    assert repository.url("metadata/x.parquet") == "hf://datasets/a/b@0123/metadata/x.parquet"
