"""Programs that start at once, and that a fault strikes: a process that has imported all they need forks one for each.

What a child does to the files of a trial is counted by Python's audit events, before each takes place. So a fault can
strike between two of them, which a moment drawn at random hardly ever does.
"""

from __future__ import annotations

import atexit
import datetime
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LIMIT = 90
"""Seconds after which a program counts as hung."""

# What the commands import when they run.
MODULES = (
    *("bioscan_hf.cli.program", "bioscan_hf.cli.train", "bioscan_hf.cli.library.build", "matplotlib.pyplot"),
    *("bioscan_hf.training.masked_lm", "bioscan_hf.training.contrastive", "bioscan_hf.identification.library_loading"),
    *("bioscan_hf.evaluation.bulk.run", "bioscan_hf.data.conversion", "bioscan_hf.hub.dataset_push"),
    *("bioscan_hf.hub.library_push", "bioscan_hf.hub.dataset_cards", "sklearn.linear_model", "scipy.stats"),
    *("bioscan_hf.cli.settings", "bioscan_hf.cli.tables", "bioscan_hf.cli.logs", "pydantic.fields", "pyarrow.acero"),
    *("typer._adapters", "typer._click.decorators", "rich._emoji_codes", "torch.profiler._cupti_monitor"),
)
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Program:
    """A child of the server, in a process group of its own."""

    def __init__(self, server: Server, pid: int, counter: Path) -> None:
        self.pid, self._server, self._counter = pid, server, counter
        self._code: int | None = None

    def kill(self) -> None:
        """Kill the whole group; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int | None:
        """Wait for its end.

        Returns:
            The exit code, negative if a signal ended it, or None if it hung and was killed.
        """
        code = self.pause(LIMIT)
        self.kill()  # what it started, or itself
        if code is None:
            self.pause(LIMIT)
        return code

    def pause(self, seconds: float) -> int | None:
        """Wait until it has ended or stopped itself, so long at most; returns the exit code if it has ended."""
        if self._code is None:
            self._code = self._server.ask({"wait": self.pid, "seconds": seconds})
        return self._code

    def go_on(self) -> None:
        """Let it go on if it has stopped."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    @property
    def changes(self) -> tuple[int, list[int]]:
        """How many changes of files it made, if it ended by itself, and the numbers of those that gave a new name."""
        count, *renames = map(int, self._counter.read_text().split())
        return count, renames


class Server:
    """Starts programs.

    Args:
        environment: Set in addition, before anything is imported.
        modules: Imported once for all programs.
    """

    def __init__(self, environment: Mapping[str, str] = {}, modules: Sequence[str] = MODULES) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def start(self, words: Sequence[str], log: Path, below: Path, **strikes: Any) -> Program:
        """Start a program.

        Args:
            words: What follows `bioscan`, or `module:function` and its arguments, all texts.
            log: Takes stdout and stderr.
            below: Changes of files in this folder are counted.
            strikes: `kill_at` and `stop_at`: number of the change before which it is killed or stops. `clock`: number
                of a change, and seconds by which the clock jumps there. `limit`: bytes that a file may have at most.
                `patches`: `module:function` that are called first. `env`: environment variables. `cwd`: a folder.
        """
        counter = log.with_suffix(".changes")
        counter.unlink(missing_ok=True)
        asked = {"words": list(words), "log": str(log), "below": str(below), "counter": str(counter), **strikes}
        return Program(self, int(self.ask(asked)), counter)

    def ask(self, question: Mapping[str, Any]) -> Any:
        """Ask the process that forks."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that starts programs is gone; its error is on stderr")
        return json.loads(answer)

    @property
    def cpu(self) -> float:
        """CPU seconds of the programs that have ended."""
        return float(self.ask({"cpu": True}))

    def close(self) -> None:
        """End the process that forks."""
        self._process.kill()
        self._process.communicate()


def _serve(modules: Sequence[str]) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in modules:
        importlib.import_module(name)
    if mapping := sys.modules.get("transformers.conversion_mapping"):
        mapping.get_checkpoint_conversion_mapping("bert")  # which takes long, and is kept
    gc.freeze()  # forks share what they need not look through
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answers.write(json.dumps(_wait(asked["wait"], asked["seconds"])) + "\n")
            continue
        if "cpu" in asked:
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            answers.write(json.dumps(usage.ru_utime + usage.ru_stime) + "\n")
            continue
        child = os.fork()
        if not child:
            answers.close()
            os._exit(_become(asked))
        answers.write(f"{child}\n")


def _wait(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if ended:
            return None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def _become(asked: dict[str, Any]) -> int:
    """Do what a new process would do; returns the exit code."""
    os.setsid()
    for descriptor, path in ((0, os.devnull), (1, asked["log"]), (2, asked["log"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.update(asked.get("env", {}))
    if "cwd" in asked:
        os.chdir(asked["cwd"])
    for patch in asked.get("patches", ()):
        _named(patch)()
    if "limit" in asked:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of the call instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], asked["limit"]))
    counted = _strike(asked)
    name, *rest = asked["words"]
    code = 0
    try:
        if ":" in name:
            _named(name)(*rest)
        else:
            sys.argv = ["bioscan", name, *rest]
            _named("bioscan_hf.cli.program:main")()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    Path(asked["counter"]).write_text(" ".join(map(str, counted())))
    return code


def _named(name: str) -> Callable[..., Any]:
    module, function = name.split(":")
    called: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return called


def _strike(asked: Mapping[str, Any]) -> Callable[[], list[int]]:
    """Let the faults strike that are asked for; returns what tells the number of changes so far, and of renames."""
    below, changes = asked["below"], 0
    renames: list[int] = []
    kill_at, stop_at, (clock_at, step) = asked.get("kill_at"), asked.get("stop_at"), asked.get("clock", (None, 0.0))

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike) or not flags & _WRITES:
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        place = os.fsdecode(path) if not isinstance(path, int) else ""
        if place.startswith("/") and not place.startswith(below):
            return
        changes += 1
        if event == "os.rename":
            renames.append(changes)
        if changes == kill_at:
            os.killpg(0, signal.SIGKILL)
        if changes == stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)
        if changes == clock_at:
            _move_clock(step)

    sys.addaudithook(watch)
    return lambda: [changes, *renames]


def _move_clock(step: float) -> None:
    """Let the clock jump, as Python's functions tell it."""
    now, now_ns, kind = time.time, time.time_ns, datetime.datetime

    class Moved(kind):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return kind.now(tz) + datetime.timedelta(seconds=step)

    time.time = lambda: now() + step
    time.time_ns = lambda: now_ns() + int(step * 1e9)
    for module in list(sys.modules.values()):  # also where it was imported by name
        if getattr(module, "datetime", None) is kind:
            vars(module)["datetime"] = Moved


if __name__ == "__main__":
    _serve(sys.argv[1:])
