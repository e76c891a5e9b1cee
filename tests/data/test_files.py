from pathlib import Path

import pytest

from bioscan_hf.data.files import digest, staged


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


def test_failure_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError), staged(tmp_path / "a") as stage:
        (stage / "b").touch()
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_file_in_the_way_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="choose another folder"), staged(tmp_path / "a"):
        raise AssertionError("the work was begun")


def test_folder_whose_replacement_fails_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.parent.name == "new":
            raise OSError("No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"), staged(tmp_path) as stage:
        (stage / "model").mkdir()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]


def test_digest_depends_on_content_and_order(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("a")
    second.write_text("b")
    assert digest(first) != digest(second)
    assert digest(first, second) != digest(second, first)
