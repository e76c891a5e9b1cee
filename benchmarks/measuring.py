"""What a block of code costs, and processes to run it in; standard library only, for programs of any environment."""

from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Cost = dict[str, float]
T = TypeVar("T")
PRELOADED = ["datasets", "torch", "transformers", "bioscan_hf.models.clibd.modeling_clibd"]
"""What is imported once, for all processes of `fresh`; none of these computes on import."""


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
    cost["peak"] = max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9)


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak() -> float:
    """GB; `ru_maxrss` would include what the process that started this one held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    lines = status.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e9


def fresh(quick: bool, function: Callable[..., T], /, *arguments: Any, **options: Any) -> T:
    """Call a function of a module in a process that has imported libraries, and done nothing else.

    Args:
        quick: Whether it is called in this process instead, which starts nothing.
        function: Of the top level of its module.
        arguments: As it takes them; they and the result are pickled.
        options: Likewise, by name.
    """
    if quick:
        return function(*arguments, **options)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return pool.submit(function, *arguments, **options).result()


def answer(content: Any) -> None:
    """Hand a result to the process that called `ask`: as the last line of the output."""
    sys.stdout.write(json.dumps(content) + "\n")


def ask(python: Path | str, program: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Any:
    """Run a program of this folder in a fresh process, and return its `answer`.

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
