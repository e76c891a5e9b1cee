"""How much is tried, and what it may cost."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("BIOSCAN_FUZZ_EXAMPLES", 0))
"""How many files each test tries; by default a few, the same in every run."""

_HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]


def tried(few: int) -> settings:
    """Settings of a test that tries a few files in every run, and `BIOSCAN_FUZZ_EXAMPLES` others where that is set."""
    return settings(
        max_examples=EXAMPLES or few,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=_HEALTH,
    )


@contextmanager
def memory_below(megabytes: int) -> Iterator[None]:
    """Fail if what is done takes more memory; it is stopped far before it could fill the machine's."""
    if sys.platform != "linux":
        pytest.skip("needs /proc to see the peak of the memory")
    room = 4 * megabytes + 2_000
    before_limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(1e6 * (_status("VmSize") + room)), before_limit[1]))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _status("VmRSS")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before_limit)
    taken = _status("VmHWM") - before
    assert taken < megabytes, f"took {taken:.0f} MB"


def _status(name: str) -> float:
    """A size of this process in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def growth(run: Callable[[int], Any], small: int, times: int) -> float:
    """CPU seconds of `run(times * small)` over those of `run(small)`, each the least of some runs."""

    def seconds(size: int) -> float:
        start = time.process_time()
        run(size)
        return time.process_time() - start

    run(small)
    return min(seconds(times * small) for _ in range(2)) / min(seconds(small) for _ in range(3))
