import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bioscan_hf.data import files
from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.whole_files import NoSpaceError
from bioscan_hf.identification import library_files
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_files import check_replaceable, find_library, read_manifest, writing
from tests.identification.made_library import library, specimens


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A library in a folder of its own."""
    library().save(tmp_path / "lib")
    return tmp_path / "lib"


@pytest.fixture(scope="module")
def small() -> Library:
    return Library.build(specimens("train", 30), calibration=specimens("val_unseen", 2))


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_of_plain_files(saved: Path) -> None:
    assert everything(saved.parent) == ["lib"]
    assert everything(saved) == [
        *("calibration-barcode.parquet", "keys.safetensors", "library.json", "space.safetensors", "specimens.parquet")
    ]
    manifest = read_manifest(saved)
    sizes = {path.name: path.stat().st_size for path in saved.iterdir() if path.name != "library.json"}
    assert manifest["files"] == sizes
    made = library()
    assert manifest["counts"] == {
        **{"specimens": len(made.specimens), "keys": len(made.keys.first), "dimension": made.vectors.shape[1]}
    }
    assert manifest["taxa"] == made.taxa and manifest["dtype"] == "float32"
    table = pq.read_table(saved / "specimens.parquet")
    assert table.column_names == [*COLUMN_NAMES, "key"]
    assert table["key"].to_pylist() == made.keys.of_specimen.tolist()


def test_its_files_are_for_all_who_may_read_the_folder(saved: Path) -> None:
    wanted = saved.stat().st_mode & 0o666
    assert all(path.stat().st_mode & 0o666 == wanted for path in saved.rglob("*") if path.is_file())


def test_the_same_library_is_the_same_files(saved: Path, tmp_path: Path) -> None:
    library().save(tmp_path / "again")
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_library_is_replaced_with_all_that_is_in_it(saved: Path, small: Library) -> None:
    (saved / "calibration-image.parquet").write_text("of a former one")
    small.save(saved, dtype="float16")
    assert "calibration-image.parquet" not in everything(saved) and everything(saved.parent) == ["lib"]
    assert read_manifest(saved)["counts"]["specimens"] == 30 and read_manifest(saved)["dtype"] == "float16"


def test_into_an_empty_folder_a_link_and_here(tmp_path: Path, small: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    small.save(tmp_path / "empty")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    small.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and read_manifest(tmp_path / "empty")
    small.save(tmp_path / "new" / "below")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    small.save(".")
    assert read_manifest(tmp_path / "here")
    assert everything(tmp_path) == ["empty", "here", "link", "new"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_else_is_replaced(kind: str, tmp_path: Path, small: Library) -> None:
    target = tmp_path / "mine"
    if kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("all of it")
    else:
        target.write_text("all of it")
    for refuse in (check_replaceable, small.save):
        with pytest.raises(FileExistsError, match=r"'.*mine' exists, and is no library; choose another folder\."):
            refuse(target)
    assert (target / "thesis.txt" if kind == "folder" else target).read_text() == "all of it"
    check_replaceable(tmp_path / "not there")


class TestInterruptions:
    """What is in the folder is the old library or the new one, and never a part."""

    @pytest.mark.parametrize("last", ["specimens.parquet", "keys.safetensors", "calibration-barcode.parquet"])
    def test_while_files_are_written(
        self, last: str, saved: Path, small: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = {path.name: path.read_bytes() for path in saved.iterdir()}
        write, save, rows = pq.write_table, library_files.save_file, library_files._write_specimens

        def stopped(writer: Any) -> Any:
            def stop(content: Any, path: Path, **options: Any) -> None:
                writer(content, path, **options)
                if path.name == last:
                    raise KeyboardInterrupt

            return stop

        monkeypatch.setattr(library_files.pq, "write_table", stopped(write))
        monkeypatch.setattr(library_files, "save_file", stopped(save))
        monkeypatch.setattr(library_files, "_write_specimens", stopped(rows))
        with pytest.raises(KeyboardInterrupt):
            small.save(saved)
        assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
        assert everything(saved.parent) == ["lib"]
        with pytest.raises(KeyboardInterrupt):
            small.save(saved.parent / "new")
        assert everything(saved.parent) == ["lib"]

    @pytest.mark.parametrize("exchanged", [True, False])
    def test_between_the_old_and_the_new_one(
        self, exchanged: bool, saved: Path, small: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename = Path.rename

        def killed(path: Path, target: Path) -> Path:
            if path.name == ".partial-lib":
                raise SystemExit
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", killed)
        if exchanged:  # in one step
            small.save(saved)
        else:
            monkeypatch.setattr(files, "_exchange", lambda one, other: False)
            with pytest.raises(SystemExit):
                small.save(saved)
        count = 30 if exchanged else len(library().specimens)
        assert read_manifest(saved)["counts"]["specimens"] == count and everything(saved.parent) == ["lib"]

    def test_old_one_that_a_killed_process_had_put_aside_is_put_back(self, saved: Path, small: Library) -> None:
        saved.rename(saved.parent / ".old-lib")
        with pytest.raises(OSError, match="not today"), writing(saved):
            assert read_manifest(saved)["counts"]["specimens"] == len(library().specimens)
            raise OSError("not today")
        assert everything(saved.parent) == ["lib"]

    def test_second_writer_is_refused_and_a_killed_one_is_not_in_the_way(self, saved: Path, small: Library) -> None:
        with writing(saved) as save:
            with pytest.raises(OSError, match=r"Another process writes the library '.*lib'; wait for it"):
                small.save(saved)
            save(small, "float16")
        (saved.parent / ".lock-lib").touch()
        small.save(saved)
        assert everything(saved.parent) == ["lib"] and read_manifest(saved)["dtype"] == "float32"

    def test_what_a_killed_process_left_does_no_harm(self, saved: Path, small: Library) -> None:
        shutil.copytree(saved, saved.parent / ".partial-lib")
        shutil.copytree(saved, saved.parent / ".old-lib")
        small.save(saved)
        assert everything(saved.parent) == ["lib"] and read_manifest(saved)["counts"]["specimens"] == 30

    def test_a_full_disk(self, saved: Path, small: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(library_files, "save_file", full)
        with pytest.raises(NoSpaceError, match=r"lib' cannot be written \(No space left on device\); free some space"):
            small.save(saved)
        assert read_manifest(saved)["counts"]["specimens"] == len(library().specimens)


class TestManifest:
    """What says that a folder is a library."""

    @pytest.mark.parametrize("name", ["keys.safetensors", "specimens.parquet", "calibration-barcode.parquet"])
    def test_files_that_are_not_whole(self, saved: Path, name: str) -> None:
        size = (saved / name).stat().st_size
        with (saved / name).open("r+b") as file:
            file.truncate(size - 1)
        message = rf"'.*lib' is not whole: {name} must have {size:,} bytes, and has {size - 1:,} bytes\. Copy it"
        with pytest.raises(ValueError, match=message):
            read_manifest(saved)
        (saved / name).unlink()
        with pytest.raises(ValueError, match=f"not whole: {name} must have {size:,} bytes, and is missing"):
            Library.load(saved)

    def test_another_format(self, saved: Path) -> None:
        manifest = json.loads((saved / "library.json").read_text())
        (saved / "library.json").write_text(json.dumps({**manifest, "format": 7, "bioscan_hf": "9.9"}))
        with pytest.raises(ValueError, match=r"format 7 \(bioscan_hf 9\.9\); expected 1\. Build the library again"):
            Library.load(saved)

    @pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"format": 1', '{"format": 1}', '"format"', "\xff"])
    def test_no_description(self, saved: Path, text: str) -> None:
        (saved / "library.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=r"library\.json' is no description of a library \(.+\); build"):
            read_manifest(saved)

    def test_no_library(self, saved: Path) -> None:
        with pytest.raises(ValueError, match=r"is no library: it has no library\.json\. `bioscan library build` makes"):
            read_manifest(saved.parent)


class TestFind:
    """Folders; repositories are in tests/hub/test_library_push.py."""

    def test_a_folder(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(saved.parent))
        monkeypatch.chdir(saved.parent)
        assert find_library(saved) == find_library(str(saved)) == find_library("~/lib") == saved
        assert find_library("lib") == Path("lib")

    @pytest.mark.parametrize("name", ["nothing", "./a/b", "/a/b", "a/b/c", "~/a"])
    def test_nothing_there(self, name: str) -> None:
        with pytest.raises(FileNotFoundError, match=f"No such library: '{name}'. Expected a folder that"):
            find_library(name)
        with pytest.raises(FileNotFoundError, match="No such library"):
            find_library(Path("a/b"))

    def test_a_file(self, saved: Path) -> None:
        with pytest.raises(ValueError, match=r"library\.json' is a file; a library is a folder"):
            find_library(saved / "library.json")
