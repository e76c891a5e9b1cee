"""Other programs: how they are run, and what a run takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A program starts as a copy of the process that starts it, and its peak memory counts from there. So a small process
# comes between, as one with torch would count for hundreds of megabytes.
_MEASURE = """
import json, os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024
measured = [seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit]
with open(sys.argv[1], "w") as file:
    json.dump(measured, file)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Usage:
    """What a run of a program took.

    Attributes:
        seconds: From its start to its end, by the clock.
        cpu_seconds: Of all its threads.
        peak_bytes: Largest memory that it held (resident set), at least the 10 MB of the process that measures.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_program(command: Sequence[str], folder: Path | None = None) -> str:
    """Run a program, and give what it prints.

    Args:
        command: Its name and words.
        folder: Where it runs; by default the current one.

    Raises:
        FileNotFoundError: If there is no such program.
        OSError: If it fails.
    """
    done = subprocess.run([_found(command[0]), *command[1:]], cwd=folder, capture_output=True, text=True, check=False)
    return _output(command[0], done)


def run_measured(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[str, Usage]:
    """Run a program, and measure what it takes.

    Args:
        command: Its name and words.
        folder: Where it runs; by default the current one.
        environment: Variables that are set in addition.

    Returns:
        What it prints, and what it took. Of several processes, memory is that of the largest.

    Raises:
        FileNotFoundError: If there is no such program.
        OSError: If it fails.
    """
    with tempfile.TemporaryDirectory(prefix="bioscan-usage-") as name:
        result = Path(name, "usage.json")
        words = [sys.executable, "-I", "-S", "-c", _MEASURE, str(result), _found(command[0]), *command[1:]]
        variables = {**os.environ, **(environment or {})}
        done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        printed = _output(command[0], done)
        return printed, Usage(*json.loads(result.read_text(encoding="utf-8")))


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(f"There is no program '{program}'; install it, or correct the name.")
    return str(Path(path).absolute())


def _output(program: str, done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise OSError(f"'{program}' failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
