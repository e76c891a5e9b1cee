"""The faults: each disturbs one run of a trial."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from faults_harness import Fault, Trial, Wrong, check_words
from faults_server import LIMIT

_YEAR = 365 * 86400.0
_PAGE = 4096
_PLENTY = 1 << 28


def kill(trial: Trial) -> list[int | None]:
    """Kill the whole process group: at a random moment, or between two changes of files."""
    draw, reference = trial.random, trial.reference
    if draw.random() < 0.5:
        return [trial.start(kill_at=trial.any_change()).wait()]
    program = trial.start()
    time.sleep(draw.uniform(0, reference.seconds))
    program.kill()
    return [program.wait()]


def full(trial: Trial) -> list[int | None]:
    """Let the disk be full from the start, or fill up in the middle; then there is space again."""
    draw, reference = trial.random, trial.reference
    if not can_mount():
        return [trial.start(limit=draw.randint(0, reference.largest)).wait()]
    folder = trial.folder
    _mount(folder, _PLENTY)
    trial.stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
    trial.scenario.begin(trial.output)  # once more, on this disk
    if draw.random() < 0.5:
        used = _PLENTY - shutil.disk_usage(folder).free
        most = reference.size + _PAGE * len(reference.names)
        _mount(folder, used + draw.randint(_PAGE, most), remount=True)
        code = trial.start().wait()
    else:
        program = trial.start()
        time.sleep(draw.uniform(0, reference.seconds))
        _fill(folder / "filler", draw.randrange(1 << 15))
        code = program.wait()
        (folder / "filler").unlink()
    _mount(folder, 2 * _PLENTY, remount=True)
    return [code]


def _fill(filler: Path, left: int) -> None:
    """Take all but some bytes of a disk, to which a program writes meanwhile."""
    with filler.open("wb") as file, suppress(OSError):  # it was quicker
        while (free := shutil.disk_usage(filler.parent).free) > left:
            size = os.fstat(file.fileno()).st_size
            os.posix_fallocate(file.fileno(), size, max((free - left) // 2, _PAGE))


@cache
def can_mount() -> bool:
    """Whether this process may mount a disk of a limited size; otherwise the size of each file is limited."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(Path(folder), _PLENTY)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def _mount(folder: Path, size: int, *, remount: bool = False) -> None:
    options = f"{'remount,' if remount else ''}size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)


def corrupt(trial: Trial) -> list[int | None]:
    """Damage an input before the run, or a file that a killed run left."""
    scenario, draw = trial.scenario, trial.random
    if scenario.fragile and draw.random() < 0.5:
        trial.damaged = draw.choice(sorted(scenario.fragile))
        before, state = trial.damaged.read_bytes(), trial.damaged.stat()
        try:
            damage(trial, trial.damaged)
            code = trial.start().wait()
        finally:
            trial.damaged.write_bytes(before)
            os.utime(trial.damaged, ns=(state.st_atime_ns, state.st_mtime_ns))
        if code:
            trial.check_named()
        trial.damaged = None
        return [code]
    code = trial.start(kill_at=trial.any_change()).wait()
    if left := [path for path in scenario.left(trial.folder) if path.stat().st_size]:
        trial.damaged = draw.choice(left)
        damage(trial, trial.damaged)
    return [code]


def damage(trial: Trial, path: Path) -> None:
    """Flip a bit of a file, cut it, or empty it."""
    content, draw = bytearray(path.read_bytes()), trial.random
    kind = draw.choice(["flip", "flip", "cut", "empty"])
    if kind == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    else:
        del content[draw.randrange(len(content)) if kind == "cut" else 0 :]
    path.write_bytes(content)


def clock(trial: Trial) -> list[int | None]:
    """Let the clock jump in the middle of a run, or before the second one, with files of the past or the future."""
    draw, step = trial.random, trial.random.uniform(-_YEAR, _YEAR)
    if draw.random() < 0.5:
        code = trial.start(clock=(trial.any_change(), step)).wait()
        check_words(code, trial.says())
        if code:
            raise Wrong("cannot go on", trial.says()[-300:])
        return [code]
    code = trial.start(kill_at=trial.any_change()).wait()
    for path in (trial.folder, *trial.folder.rglob("*")):
        when = time.time() + draw.uniform(-_YEAR, _YEAR)
        os.utime(path, (when, when), follow_symlinks=False)
    trial.strikes_again = {"clock": (1, step)}
    return [code]


def two(trial: Trial) -> list[int | None]:
    """Run the command twice at once: both may end well, or one is refused."""
    draw, seconds = trial.random, trial.reference.seconds
    if draw.random() < 0.5:
        first = trial.start()
        time.sleep(draw.uniform(0, seconds))
        second = trial.start(again=draw.random() < 0.5)
    else:
        # The first stands still between two changes of files, as long as the second one takes.
        first = trial.start(stop_at=trial.any_change())
        first.pause(LIMIT)
        second = trial.start(again=draw.random() < 0.5)
        second.pause(2 * seconds + 1)
        first.go_on()
    codes = [first.wait(), second.wait()]
    if 0 not in codes:
        raise Wrong("cannot go on", f"both failed: {trial.says(0)[-200:]} {trial.says(1)[-200:]}")
    return codes


FAULTS: dict[str, Fault] = {"kill": kill, "full": full, "corrupt": corrupt, "clock": clock, "two": two}
"""Those that are the same for every command; `hub` is each command's own."""
