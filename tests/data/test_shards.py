import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bioscan_hf.data.conversion import convert
from bioscan_hf.data.plan import Plan
from bioscan_hf.data.shards import is_finished
from tests.reference_conversion import ROWS, SHARD_BYTES, Conversion, files, reference_conversion
from tests.training.made_runs import PRELOADED


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return reference_conversion(tmp_path_factory.mktemp("conversion"))


def _convert_until(root: Path, folder: Path, kill_at: int) -> None:
    """Convert, and die at the n-th time that a file in the folder is opened, written, renamed or removed."""
    events = count()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        counts = event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "write")
        if counts and str(folder) in str(arguments[0]) and next(events) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    class Writer(pq.ParquetWriter):
        def write_table(self, *arguments: object) -> None:
            super().write_table(*arguments)
            sys.audit("write", str(folder))

    pq.ParquetWriter = Writer
    sys.addaudithook(watch)
    convert(root, folder, shard_bytes=SHARD_BYTES)


def killed(root: Path, folder: Path, kill_at: int) -> bool:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, __name__])
    process = context.Process(target=_convert_until, args=(root, folder, kill_at))
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def check_nothing_half_written(folder: Path) -> None:
    plan = Plan.read(folder, folder)
    planned = plan.shards or () if plan else ()
    finished = {shard.name for shard in planned if is_finished(folder / shard.name, shard)}
    assert {path.relative_to(folder).as_posix() for path in folder.glob("cropped_256/[!.]*")} == finished
    if (folder / "report.json").exists():
        assert planned and len(finished) == len(planned)


@pytest.mark.parametrize("kill_at", [0, 5, 30, 61, 62, 66, 97, 98, 140])
def test_killed_conversion_goes_on_to_the_same_bytes(kill_at: int, whole: Conversion, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert killed(whole.root, folder, kill_at)
    check_nothing_half_written(folder)
    convert(whole.root, folder, shard_bytes=SHARD_BYTES)
    assert files(folder) == files(whole.folder)


@pytest.mark.slow  # a process for each of some hundred moments
def test_killed_at_any_moment(whole: Conversion, tmp_path: Path) -> None:
    moment = 0
    for moment in count():
        folder = tmp_path / str(moment)
        if not killed(whole.root, folder, moment):
            break
        check_nothing_half_written(folder)
        convert(whole.root, folder, shard_bytes=SHARD_BYTES)
        assert files(folder) == files(whole.folder), moment
        shutil.rmtree(folder)
    assert moment > 150


def test_killed_again_and_again(whole: Conversion, tmp_path: Path) -> None:
    folder, times = tmp_path / "out", 0
    assert killed(whole.root, folder, kill_at=110)
    while killed(whole.root, folder, kill_at=45):
        check_nothing_half_written(folder)
        times += 1
    assert times > 2
    assert files(folder) == files(whole.folder)


def test_finished_shards_are_not_written_again(
    whole: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole.folder, tmp_path / "out")
    (tmp_path / "out" / "cropped_256" / "train-00001-of-00002.parquet").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.parquet")}
    convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert files(tmp_path / "out") == files(whole.folder)


@pytest.mark.parametrize("harm", ["truncated", "emptied", "overwritten", "flipped", "fewer rows", "deleted"])
def test_broken_shard_is_written_again(harm: str, whole: Conversion, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole.folder, folder)
    path = folder / "cropped_256" / "test-00001-of-00002.parquet"
    content = path.read_bytes()
    if harm == "fewer rows":
        pq.write_table(pq.read_table(path).slice(1), path)
    elif harm == "deleted":
        path.unlink()
    else:
        changed = {"truncated": content[:-100], "emptied": b"", "overwritten": content[:-50] + bytes(50)}
        image = content.index(b"\xff\xd8") + 40  # in the middle of a JPEG
        changed["flipped"] = content[:image] + bytes([content[image] ^ 1]) + content[image + 1 :]
        path.write_bytes(changed[harm])
    convert(whole.root, folder, shard_bytes=SHARD_BYTES)
    assert files(folder) == files(whole.folder)


def test_several_processes_write_the_same_bytes(whole: Conversion, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    convert(whole.root, tmp_path / "out", shard_bytes=SHARD_BYTES, num_proc=2, report=lambda *call: told.append(call))
    assert files(tmp_path / "out") == files(whole.folder)
    images = [done for task, done, total in told if task == "Writing images" and total == len(ROWS)]
    assert images == sorted(images) and images[-1] == len(ROWS)


@pytest.mark.slow  # starts the program several times
def test_killed_program_leaves_no_process_and_goes_on(whole: Conversion, tmp_path: Path) -> None:
    folder, script = tmp_path / "out", tmp_path / "run.py"
    script.write_text(
        "import sys; from pathlib import Path; from bioscan_hf.data.conversion import convert\n"
        "if __name__ == '__main__':\n"
        f"    convert(Path(sys.argv[1]), Path(sys.argv[2]), shard_bytes={SHARD_BYTES}, num_proc=2)\n"
    )

    def written() -> int:
        return len(list(folder.glob("cropped_256/[!.]*")))

    for _ in range(2):
        before = written()
        command = [sys.executable, str(script), str(whole.root), str(folder)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], start_new_session=True)
        while written() < before + 2:
            assert process.poll() is None
            time.sleep(0.002)
        assert running(process.pid) > 1
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while running(process.pid):
            assert time.monotonic() < deadline, "a process goes on without the one that started it"
            time.sleep(0.1)
        check_nothing_half_written(folder)
    convert(whole.root, folder, shard_bytes=SHARD_BYTES)
    assert files(folder) == files(whole.folder)


def running(group: int) -> int:
    """Number of processes of a group that are not zombies."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    lines = (line.split() for line in listed.splitlines())
    return sum(int(pgid) == group and not state.startswith("Z") for pgid, state in lines)
