"""What a block of code costs, in a process of its own; standard library only, for programs of any environment."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Cost = dict[str, float]


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block.

    Yields:
        When the block has ended: `cpu`, seconds of the user and the system, with those of ended child processes; `wall`
        in seconds; `peak`, the most memory in GB that this process or a child has held since it started.
    """
    cost: Cost = {}
    wall, cpu = time.perf_counter(), _cpu()
    yield cost
    cost["cpu"], cost["wall"] = _cpu() - cpu, time.perf_counter() - wall
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    # Linux counts it in KiB.
    cost["peak"] = max(resource.getrusage(who).ru_maxrss for who in both) * 1024 / 1e9


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def answer(content: Any) -> None:
    """Hand a result to the process that called `ask`: as the last line of the output."""
    sys.stdout.write(json.dumps(content) + "\n")


def ask(python: Path | str, program: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Any:
    """Run a program of this folder in a fresh process, and return its `answer`.

    Linux counts, in the peak of a process, the memory of the one that started it: the caller should hold little.

    Args:
        python: Interpreter, which chooses the environment.
        program: Its file.
        arguments: Its arguments.
        env: Environment variables, those of this process unless given.

    Raises:
        RuntimeError: If it fails; the message is what it wrote to stderr.
    """
    command = [str(python), str(program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit status {result.returncode}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])
