"""How a trial is judged: by what the fault left, and by what comes of the same command after it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from faults_harness import KILLED, Content, Fault, Reference, Refused, Scenario, Trial, Wrong, check_words
from faults_server import Server


def undisturbed(scenario: Scenario, server: Server, folder: Path) -> Reference:
    """Run a command twice without a fault: the second time, what it keeps in caches is there.

    Raises:
        RuntimeError: If it fails, or does not give the same twice.
    """
    found: list[Reference] = []
    for _ in range(2):
        trial = Trial(scenario, server, folder, "reference", None)
        scenario.begin(trial.output)
        start = time.perf_counter()
        program = trial.start()
        if (code := program.wait()) != 0:
            raise RuntimeError(f"`{scenario.name}` failed without a fault (exit code {code}):\n{trial.says()}")
        seconds = time.perf_counter() - start
        content = scenario.read(trial.output)
        if content is None or (found and content.difference(found[0].content)):
            raise RuntimeError(f"`{scenario.name}` gives nothing, or not the same twice: {content}")
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        earlier = scenario.earlier(trial.output)
        costs = (seconds, *program.changes, sum(sizes), max(sizes, default=0))
        whole = Reference(content, earlier, trial.names(), *costs)
        found.append(whole)
        trial.clear()
    return found[1]


def judge(trial: Trial, fault: Fault) -> tuple[str, str]:
    """Disturb a run, and judge what it leaves and what comes of it.

    Returns:
        One of `RIGHT` or `WRONG`, and a note.
    """
    try:
        trial.scenario.begin(trial.output)
        kind = _left(trial, fault(trial))
        _mended(trial)
    except Wrong as wrong:
        return wrong.args[0], wrong.args[1]
    return kind, ""


def _left(trial: Trial, codes: Sequence[int | None]) -> str:
    """See that the programs ended as they should, and what they left."""
    for code, run in zip(codes, range(len(trial.logs)), strict=True):
        if code != KILLED:
            check_words(code, trial.says(run))
    content, refused = _read(trial)
    done = content is not None and content.difference(trial.reference.content) is None
    if 0 in codes and not done and trial.damaged is None:
        raise Wrong("lost", f"it says that it is done, and is not ({refused or 'nothing is there'})")
    if trial.replaces and content is None and trial.damaged is None:
        raise Wrong("lost", f"what was there before is gone, and nothing has taken its place ({refused})")
    if done:
        return "finished" if 0 in codes else "finished before the fault"
    if content is not None:
        return "earlier state"
    return "resumed equal" if KILLED in codes and not refused else "refused"


def _read(trial: Trial) -> tuple[Content | None, str]:
    """What is there and right, or why it does not load."""
    try:
        content = trial.scenario.read(trial.output)
    except Refused as refused:
        return None, str(refused)
    except Exception as error:
        raise Wrong("traceback", f"reading what is left: {type(error).__name__}: {error}") from error
    if content is None:
        return None, ""
    wrong = content.difference(trial.reference.content)
    if wrong is not None and all(content.difference(state) is not None for state in trial.reference.earlier):
        raise Wrong(*wrong)
    return content, ""


def _mended(trial: Trial) -> None:
    """Run the command again, as documented: it must end with the undisturbed result."""
    code = trial.start(again=True, **trial.strikes_again).wait()
    check_words(code, trial.says())
    if code and trial.damaged is not None:
        trial.check_named()
        trial.scenario.mend(trial.output, trial.damaged)
        code = trial.start(again=True).wait()
        check_words(code, trial.says())
    if code:
        raise Wrong("cannot go on", trial.says()[-500:])
    content, refused = _read(trial)
    if content is None:
        raise Wrong("lost", f"after the second run there is nothing that loads ({refused})")
    if wrong := content.difference(trial.reference.content):
        raise Wrong(wrong[0], f"after the second run: {wrong[1]}")
    names = trial.names()
    if surplus := sorted(names - trial.reference.names):
        raise Wrong("cannot go on", f"left over: {', '.join(surplus[:3])}")
    if lacking := sorted(trial.reference.names - names):
        raise Wrong("lost", f"not there after the second run: {', '.join(lacking[:3])}")
