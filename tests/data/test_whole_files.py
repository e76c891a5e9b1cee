import errno
import json
import multiprocessing
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from bioscan_hf.data.whole_files import alone, says_when_full, whole_file, write_json


def test_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with whole_file(path) as file:
        file.write(b"123")
        assert not path.exists()
    assert path.read_bytes() == b"123"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_failure_leaves_the_old_file(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), whole_file(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leavings_of_a_killed_process_are_removed_and_others_are_not(tmp_path: Path) -> None:
    for name in (".partial-a.bin-123", ".partial-b.bin-123"):
        (tmp_path / name).touch()
    with whole_file(tmp_path / "a.bin"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-b.bin-123", "a.bin"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with whole_file(path) as first:
        first.write(b"first")
        with whole_file(path) as second:
            second.write(b"second, which ends before")
        assert path.read_bytes() == b"second, which ends before"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_is_removed_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Path] = []

    def lock(file: BinaryIO, how: int) -> None:
        if not removed:
            removed.append(Path(file.name))
            removed[0].unlink()

    monkeypatch.setattr("fcntl.flock", lock)
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"123")
    assert (tmp_path / "a.bin").read_bytes() == b"123" and removed


def _hold(lock: Path, ready: Path) -> None:
    with alone(lock, "writes here"):
        ready.touch()
        time.sleep(60)


def test_second_process_is_kept_out_until_the_first_is_gone(tmp_path: Path) -> None:
    lock, ready = tmp_path / ".lock", tmp_path / "ready"
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(lock, ready))
    holder.start()
    try:
        while not ready.exists():
            assert holder.is_alive()
            time.sleep(0.005)
        with pytest.raises(OSError, match="Another process writes here; wait for it"), alone(lock, "writes here"):
            pass
        assert lock.exists()
    finally:
        holder.kill()
        holder.join()
    with alone(lock, "writes here"):
        pass
    assert not lock.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_full_disk_is_explained(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"a\.bin' cannot be written .*; free some space"),
        says_when_full(tmp_path / "a.bin"),
    ):
        raise OSError(number, "reason")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="reason"), says_when_full(tmp_path / "a.bin"):
        raise PermissionError(errno.EACCES, "reason")


def test_json_is_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None]}
