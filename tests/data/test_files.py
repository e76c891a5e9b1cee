import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bioscan_hf.data import files
from bioscan_hf.data.files import digest, put_in_place, staged
from bioscan_hf.data.whole_files import NoSpaceError


def test_results_appear_together_and_leave_others_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    (tmp_path / "notes.txt").write_text("mine")
    with staged(tmp_path) as stage:
        (stage / "model").mkdir()
        (stage / "model" / "new").touch()
        (stage / "results.json").write_text("[]")
        assert not (tmp_path / "results.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "notes.txt", "results.json"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_failure_leaves_everything_as_it_was(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("old")
    with pytest.raises(error), staged(tmp_path) as stage:
        (stage / "results.json").write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text() == "old"


def test_whoever_may_read_the_folder_may_read_its_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with staged(tmp_path / "out") as stage:
            (stage / "model").mkdir()
            (stage / "model" / "for its owner alone").touch(0o600)
            (stage / "program").touch(0o700)
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == {"for its owner alone": "0o640", "program": "0o740"}


def test_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    said = "'.*out' cannot be written .No space left on device.; free some space and run this again"
    with pytest.raises(NoSpaceError, match=said), staged(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_failure_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError), staged(tmp_path / "a") as stage:
        (stage / "b").touch()
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_file_in_the_way_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="choose another folder"), staged(tmp_path / "a"):
        raise AssertionError("the work was begun")


def test_killed_in_between_no_mixture_of_two_models_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("README.md", "config.json", "model.safetensors", "tokenizer.json")
    for name in names:
        (tmp_path / name).write_text("old")
    replace = Path.replace
    for moved in range(len(names) + 1):
        left = iter(range(moved))

        def killed(self: Path, target: Path, left: Iterator[int] = left) -> Path:
            if next(left, None) is None:
                raise SystemExit
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", killed)
        with suppress(SystemExit), staged(tmp_path) as stage:
            for name in names:
                (stage / name).write_text("new")
        monkeypatch.setattr(Path, "replace", replace)
        found = {path.name: path.read_text() for path in tmp_path.iterdir()}
        assert "config.json" not in found or set(found.values()) == {"new"}
    assert found == dict.fromkeys(names, "new")


def test_folder_whose_replacement_fails_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.parent.name == "new":
            raise OSError("No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    with pytest.raises(OSError, match="No space"), staged(tmp_path) as stage:
        (stage / "model").mkdir()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]


@pytest.mark.parametrize("exchanged", [True, False])
def test_folder_is_replaced_with_all_that_is_in_it(
    exchanged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, place, aside = (tmp_path / name for name in ("new", "place", "aside"))
    if not exchanged:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for content in ("first", "second"):
        new.mkdir()
        (new / content).touch()
        put_in_place(new, place, aside)
        assert [path.name for path in place.iterdir()] == [content] and list(tmp_path.iterdir()) == [place]


def test_folder_is_there_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, place = tmp_path / "new", tmp_path / "place"
    for folder, content in ((place, "old"), (new, "new")):
        folder.mkdir()
        (folder / content).touch()
    if not files._exchange(new, place):
        pytest.skip("two folders cannot be exchanged on this disk")
    assert [path.name for path in place.iterdir()] == ["new"] and [path.name for path in new.iterdir()] == ["old"]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # Nothing but the exchange takes place before the old one is removed.
    monkeypatch.setattr(Path, "rename", killed)
    monkeypatch.setattr(files.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(new, place, tmp_path / "aside")
    assert [path.name for path in place.iterdir()] == ["old"]


def test_digest_depends_on_content_and_order(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("a")
    second.write_text("b")
    assert digest(first) != digest(second)
    assert digest(first, second) != digest(second, first)
