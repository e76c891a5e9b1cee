"""Signals that ask a run to stop, which it does between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Slurm sends SIGTERM when a job's time is up, and earlier what `sbatch --signal` names, mostly USR1.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interrupts:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __bool__(self) -> bool:
        return self.name is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal."""
        self.name = signal.Signals(number).name


@contextmanager
def watched_signals() -> Iterator[Interrupts]:
    """Take note of SIGTERM and SIGUSR1 instead of being ended by them.

    Only the main thread can do so; in another one, nothing is watched.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.handle) for number in SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
