"""Trials of faults: a command is disturbed, what it leaves is judged, and the same command must mend it.

A scenario says how a command is called and what is in its output. Everything else is the same for all of them: a trial
disturbs one run, reads what is left as a user would, runs the command again as documented, and compares the end with
that of an undisturbed run.
"""

from __future__ import annotations

import random
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults_server import Program, Server

RIGHT = ("finished", "finished before the fault", "refused", "earlier state", "resumed equal")
"""What may come of a trial; each ends, after the same command again, with the undisturbed result."""
WRONG = ("lost", "doubled", "wrong but loads", "cannot go on", "traceback", "hung")
"""What must not."""


@dataclass(frozen=True)
class Content:
    """What a user finds in an output that loads.

    Attributes:
        records: Names of its records, in any order, each as often as it is there.
        values: All else that is promised to be equal, as digests or numbers by name.
    """

    records: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def difference(self, other: Content) -> tuple[str, str] | None:
        """The kind of a wrong trial, and a note, if this is not the other one, which is right."""
        here, there = Counter(self.records), Counter(other.records)
        if lacking := there - here:
            return "lost", f"{len(lacking)} records lack, such as {next(iter(lacking))}"
        if surplus := here - there:
            return "doubled", f"{len(surplus)} records too many, such as {next(iter(surplus))}"
        names = sorted(
            name for name in {*self.values, *other.values} if self.values.get(name) != other.values.get(name)
        )
        return ("wrong but loads", f"{', '.join(names[:3])} differ") if names else None


class Refused(Exception):
    """The output is there and does not load, and the error is one of ours; raised by `Scenario.read`."""


class Scenario(ABC):
    """A command: how it is called, and what is in its output.

    Attributes:
        name: Of the command.
        dashes: Faults that have no meaning for it, with the reason.
        faults: Faults of its own, by name, such as `hub`; they go before the common ones of `faults_kinds`.
        environment: Of the process that starts the programs, set before the imports.
        patches: `module:function` that programs call before they begin, such as to draw no pictures.
        inputs: Folder of the inputs, which all trials share.
        fragile: Inputs whose damage must be noticed, or must not matter; they are put back after the trial.
    """

    name: str
    dashes: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    patches: tuple[str, ...] = ()

    def __init__(self, inputs: Path) -> None:
        """Make the inputs in this folder."""
        self.inputs = inputs
        self.fragile: Sequence[Path] = ()
        self.faults: Mapping[str, Fault] = {}

    def begin(self, output: Path) -> None:  # noqa: B027 (by default nothing)
        """Put there what lies there before the command, if anything: an older output, for example."""

    @abstractmethod
    def words(self, output: Path, *, again: bool = False) -> list[str]:
        """The command line without `bioscan`, or `module:function` with its arguments.

        Args:
            output: Where to write; its folder is that of the trial, in which nothing else is.
            again: Whether the command runs after a fault, as the documentation says.
        """

    @abstractmethod
    def read(self, output: Path) -> Content | None:
        """Load what is there, as a user would; None if nothing is, that is, nothing that has the name of an output.

        Raises:
            Refused: If it does not load, with one of our errors. Any other exception counts as a traceback.
        """

    def earlier(self, output: Path) -> list[Content]:
        """Of the undisturbed output: the states before it that a fault may leave."""
        return []

    def left(self, folder: Path) -> list[Path]:
        """Files of an interrupted trial that a corruption may strike: all of them."""
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def mend(self, output: Path, damaged: Path) -> None:
        """Do what an error about a damaged file asks for before the command is run again: by default, begin anew."""
        for path in output.parent.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.begin(output)

    def close(self) -> None:  # noqa: B027 (by default nothing)
        """End what the scenario started."""


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run gives and costs.

    Attributes:
        content: Its output.
        earlier: States that a fault may leave.
        names: Paths of all files and folders in the folder of the trial.
        seconds: How long a run lasts.
        changes: How often it changes files.
        renames: Numbers of those changes that give a new name.
        size: Bytes in the folder at the end.
        largest: Bytes of its largest file.
    """

    content: Content
    earlier: Sequence[Content]
    names: frozenset[str]
    seconds: float
    changes: int
    renames: Sequence[int]
    size: int
    largest: int


class Trial:
    """One disturbed run, and what comes after it.

    Attributes:
        scenario: The command.
        random: Chance, fixed by the seed.
        folder: Of the trial.
        output: In it.
        damaged: File that the fault damaged, which an error must name.
        replaces: Whether something lay in the place of the output when the first program began.
        strikes_again: What strikes the second run, too; see `Server.start`.
        stack: What is undone at the end of the trial.
    """

    def __init__(
        self, scenario: Scenario, server: Server, folder: Path, seed: str, reference: Reference | None
    ) -> None:
        self.scenario, self._server, self.folder, self._reference = scenario, server, folder, reference
        self.random, self.output = random.Random(seed), folder / "out"
        self.damaged: Path | None = None
        self.replaces = False
        self.strikes_again: dict[str, Any] = {}
        self.stack = ExitStack()
        self.logs: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def reference(self) -> Reference:
        """The undisturbed run."""
        assert self._reference is not None
        return self._reference

    def start(self, *, again: bool = False, words: list[str] | None = None, **strikes: Any) -> Program:
        """Start the command, or another with these words; `strikes` are those of `Server.start`."""
        log = self.folder.with_name(f"{self.folder.name}.{len(self.logs)}.log")
        log.unlink(missing_ok=True)
        self.replaces = self.replaces if self.logs else self.output.exists()
        self.logs.append(log)
        words = words or self.scenario.words(self.output, again=again)
        return self._server.start(words, log, self.folder, patches=self.scenario.patches, **strikes)

    def says(self, run: int = -1) -> str:
        """What a run wrote: the last by default."""
        return self.logs[run].read_text(errors="replace")

    def names(self) -> frozenset[str]:
        """Paths of all that is in the folder."""
        return frozenset(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))

    def any_change(self) -> int:
        """Number of a change of files of the run, half of them just before or after something gets another name."""
        reference = self.reference
        if reference.renames and self.random.random() < 0.5:
            return self.random.choice(reference.renames) + self.random.randint(0, 1)
        return self.random.randint(1, reference.changes)

    def check_named(self) -> None:
        """See that the last run named the damaged file.

        Raises:
            Wrong: If not.
        """
        assert self.damaged is not None
        if self.damaged.name not in "".join(self.says().split()):  # lines are broken where the screen ends
            raise Wrong("cannot go on", f"the error does not name {self.damaged.name}: {self.says()[-300:]}")

    def clear(self) -> None:
        """Remove the folder and the logs."""
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        for log in self.logs:
            log.unlink(missing_ok=True)
            log.with_suffix(".changes").unlink(missing_ok=True)


class Wrong(Exception):
    """A trial went wrong; with its kind and a note."""


Fault = Callable[[Trial], list[int | None]]
"""Disturbs a run; returns the exit codes of all programs that it started: `KILLED` for killed, None for hung ones."""
KILLED = -9


def check_words(code: int | None, said: str) -> None:
    """See that a program that ended by itself did so in the way that it should.

    Args:
        code: Its exit code; None if it hung.
        said: What it wrote.

    Raises:
        Wrong: If it hung, crashed, or failed without one of our errors.
    """
    if code is None:
        raise Wrong("hung", said[-300:])
    unclear = code < 0 or "bioscan: " not in said or "bioscan: [Errno" in said
    if "Traceback (most recent call last)" in said or (code and unclear):
        raise Wrong("traceback", f"exit code {code}: {said[-500:]}")
