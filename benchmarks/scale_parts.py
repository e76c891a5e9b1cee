"""What a rehearsal is made of, and what it costs; standard library only, so that costs are those of the part alone."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measuring import Cost, measured

SPECIMENS = 5_150_850
"""Of BIOSCAN-5M."""
PACKAGES = ("bioscan_hf", "datasets", "pyarrow", "numpy", "torch", "faiss-cpu", "datatrove")
_INTERVAL = 0.05  # seconds; what is held for a shorter time may be missed


@dataclass(frozen=True)
class Part:
    """One piece of work, at several sizes.

    Attributes:
        name: Of its JSON; letters, digits and underscores.
        title: In tables and pictures.
        unit: What a size counts, such as `specimens`.
        full: Three sizes, rising; the last is that of BIOSCAN-5M, or what the machine allows.
        quick: Tiny sizes, for the tests; one is enough.
        make: Makes what `run` reads in a folder, unless it is there; not measured. Parts of a size share the folder.
        run: Does the work; returns `{**cost, "facts": {...}}` with the cost of the block that counts (see `costs`), and
            facts that show that it was done: numbers, texts and truths. It must do the work anew each time.
        exponent: Bar: CPU seconds grow at most with this power of the size.
        flat: Bar: whether memory held may not grow with the size.
    """

    name: str
    title: str
    unit: str
    full: tuple[int, ...]
    quick: tuple[int, ...]
    make: Callable[[int, Path], object]
    run: Callable[[int, Path], dict[str, Any]]
    exponent: float = 1.1
    flat: bool = False


@contextmanager
def costs() -> Iterator[Cost]:
    """Measure a block, as `measuring.measured`, and the memory that it holds.

    Yields:
        When the block has ended: `cpu` and `wall` in seconds; `peak`, the most resident memory in GB of any one
        process, with the pages of files that are mapped; `held`, the most that this process and its children held
        together without those pages, which the system can take back at any time (what forks share counts in each);
        `held_before`, that at the start.
    """
    pid, ended = os.getpid(), threading.Event()
    before = _held(pid)
    most = before

    def watch() -> None:
        nonlocal most
        while not ended.wait(_INTERVAL):
            most = max(most, _held(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with measured() as cost:
            yield cost
    finally:
        ended.set()
        watcher.join()
    cost["held"], cost["held_before"] = max(most, _held(pid)), before
    for name, value in cost.items():
        cost[name] = float(f"{value:.4g}")


def _held(pid: int) -> float:
    """Memory in GB of a process and its descendants that is of no file; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        tasks = Path(f"/proc/{pid}/task").glob("*/children")  # of each thread, those that it started
        children = " ".join(path.read_text(encoding="utf-8") for path in tasks).split()
    except OSError:
        return 0.0
    kinds = ("RssAnon:", "RssShmem:")
    kib = sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(kinds))
    return kib * 1024 / 1e9 + sum(_held(int(child)) for child in children)


def machine() -> dict[str, Any]:
    """Cores, processor and memory."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {"cores": os.cpu_count(), "cpu": cpu, "memory_gb": round(memory, 1), "system": platform.system()}


def versions() -> dict[str, str]:
    """Python, and those of `PACKAGES` that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
