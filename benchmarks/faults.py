"""Faults: every long command is disturbed in every way, many times at random, and must lose and double nothing.

    python benchmarks/faults.py                                          # all: about an hour of CPU time
    python benchmarks/faults.py --command pretrain --fault kill --seed 17 --trials 1    # one trial again

Writes `faults.json` and `faults.md`. Pairs that are not run keep their results; trials that go on where those of a pair
ended (`--seed 10` after ten of them) are added.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from faults_harness import RIGHT, WRONG, Scenario, Trial
from faults_judging import judge, undisturbed
from faults_kinds import FAULTS, can_mount
from faults_server import Server

HERE = Path(__file__).parent
COMMANDS = {
    "pretrain": "faults_training:Pretrain",
    "align": "faults_training:Align",
    "embed": "faults_embedding:Embed",
    "convert": "faults_conversion:Convert",
    "library build": "faults_library:LibraryBuild",
    "push": "faults_push:Push",
}
"""Where the scenario of each command is."""
TITLES = {
    "kill": "kill -9",
    "full": "disk full",
    "hub": "Hub errors",
    "corrupt": "corrupt file",
    "clock": "clock change",
    "two": "two processes",
}
QUICK = {
    "pretrain": ["kill"],
    "align": ["clock"],
    "embed": ["corrupt", "clock"],
    "convert": ["full"],
    "library build": ["two"],
    "push": ["hub"],
}
"""Each command and each fault, also without `align`."""
Results = dict[str, Any]


@contextmanager
def opened(commands: Sequence[str], folder: Path) -> Iterator[tuple[dict[str, Scenario], Server]]:
    """The scenarios of commands, and a server that starts their programs."""
    with ExitStack() as stack:
        scenarios: dict[str, Scenario] = {}
        environment = {"HF_HOME": str(folder / "huggingface"), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        for command in commands:
            inputs = folder / "inputs" / command.replace(" ", "-")
            inputs.mkdir(parents=True)
            module, name = COMMANDS[command].split(":")
            scenario = scenarios[command] = getattr(importlib.import_module(module), name)(inputs)
            stack.callback(scenario.close)
            environment |= scenario.environment
        server = Server(environment)
        stack.callback(server.close)
        yield scenarios, server


def run(
    scenario: Scenario, server: Server, faults: Sequence[str], trials: int, seed: int, folder: Path
) -> Iterator[tuple[str, Results]]:
    """Run the trials of a command, and yield each fault with what came of it."""
    possible = {**FAULTS, **scenario.faults}
    reference = undisturbed(scenario, server, folder)
    for fault in faults:
        if fault not in possible or fault in scenario.dashes:
            yield fault, {"dash": scenario.dashes.get(fault, "it has nothing to do with the command")}
            continue
        outcomes: Counter[str] = Counter()
        wrong: list[Results] = []
        start, cpu = time.perf_counter(), time.process_time() + server.cpu
        for number in range(seed, seed + trials):
            trial = Trial(scenario, server, folder, f"{scenario.name} {fault} {number}", reference)
            try:
                kind, note = judge(trial, possible[fault])
            finally:
                trial.clear()
            outcomes[kind] += 1
            if kind in WRONG:
                wrong.append({"seed": number, "kind": kind, "note": note})
                say(f"{scenario.name}, {fault}, seed {number}: {kind}: {note}")
        seconds = {
            "wall": round(time.perf_counter() - start, 1),
            "cpu": round(time.process_time() + server.cpu - cpu, 1),
        }
        yield fault, {"trials": trials, "seed": seed, "seconds": seconds, "outcomes": dict(outcomes), "wrong": wrong}


def say(text: str) -> None:
    """Tell the progress."""
    sys.stderr.write(f"{text}\n")


def merge(path: Path, command: str, fault: str, result: Results) -> Results:
    """Put the result of a pair among those that are there."""
    content: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"pairs": {}}
    packages = ("bioscan_hf", "torch", "transformers", "datasets", "pyarrow", "huggingface_hub")
    content["versions"] = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    content["machine"] = f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}"
    content["disk"] = "a tmpfs of limited size" if can_mount() else "a limited size of each file"
    pairs = content["pairs"].setdefault(command, {})
    pairs[fault] = _together(pairs[fault], result) if fault in pairs else result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content


def _together(before: Results, after: Results) -> Results:
    """Both, if one goes on where the other ended; else the later one."""
    if "dash" in before or "dash" in after or after["seed"] != before["seed"] + before["trials"]:
        return after
    return {
        "trials": before["trials"] + after["trials"],
        "seed": before["seed"],
        "seconds": {name: round(value + after["seconds"][name], 1) for name, value in before["seconds"].items()},
        "outcomes": dict(Counter(before["outcomes"]) + Counter(after["outcomes"])),
        "wrong": [*before["wrong"], *after["wrong"]],
    }


def main() -> None:
    """Parse the command line, run the trials, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="of each pair (default: %(default)s)")
    parser.add_argument("--command", choices=COMMANDS, action="append", help="may be given several times; default: all")
    parser.add_argument("--fault", choices=TITLES, action="append", help="may be given several times; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one trial of one fault for each command")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        opened(options.command or list(COMMANDS), Path(folder)) as (scenarios, server),
    ):
        for command, scenario in scenarios.items():
            faults = options.fault or (QUICK[command] if options.quick else list(TITLES))
            trials = 1 if options.quick else options.trials
            for fault, result in run(scenario, server, faults, trials, options.seed, Path(folder) / "trial"):
                content = merge(options.output / "faults.json", command, fault, result)
                (options.output / "faults.md").write_text(page(content), encoding="utf-8")
                say(f"{command}, {fault}: {result.get('outcomes', result.get('dash'))} {result.get('seconds', '')}")
                failed += len(result.get("wrong", ()))
    raise SystemExit(min(failed, 1))


def page(content: Results) -> str:
    """The table of the results."""
    pairs = content["pairs"]
    heads = ("command", *TITLES.values())
    rows = [
        (command, *(_cell(pairs[command].get(fault)) for fault in TITLES)) for command in COMMANDS if command in pairs
    ]
    lines = [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]
    ran = [
        (command, fault, result)
        for command, own in pairs.items()
        for fault, result in own.items()
        if "dash" not in result
    ]
    outcomes = Counter[tuple[str, str]]()
    for _, fault, result in ran:
        outcomes.update({(kind, fault): trials for kind, trials in result["outcomes"].items()})
    cpu = sum(result["seconds"]["cpu"] for *_, result in ran)
    without = [
        f"- {command}, {TITLES[fault]}: {result['dash']}."
        for command, own in pairs.items()
        for fault, result in own.items()
        if "dash" in result
    ]
    wrong = [
        f"- `--command '{command}' --fault {fault} --seed {one['seed']} --trials 1`: {one['kind']}: {one['note']}"
        for command, fault, result in ran
        for one in result["wrong"]
    ]
    text = _PAGE.format(
        table="\n".join(lines),
        trials=outcomes.total(),
        minutes=cpu / 60,
        counts="\n".join(
            f"| {' | '.join([kind, *(str(outcomes[kind, fault]) for fault in TITLES)])} |" for kind in (*RIGHT, *WRONG)
        ),
        faults=" | ".join(TITLES.values()),
        dashes=" ---: |" * len(TITLES),
        versions=", ".join(f"{name} {number}" for name, number in content["versions"].items()),
        **{name: content[name] for name in ("machine", "disk")},
    )
    text += "\nWithout meaning:\n\n" + "\n".join(without) + "\n" if without else ""
    return text + ("\nWrong:\n\n" + "\n".join(wrong) + "\n" if wrong else "")


def _cell(result: Results | None) -> str:
    """Wrong trials of all; `-` where the pair has no meaning."""
    if result is None:
        return ""
    return "-" if "dash" in result else f"{len(result['wrong'])} of {result['trials']}"


_PAGE = """# Faults

    python benchmarks/faults.py

Wrong trials of all trials, each a fault at random in a small run, and the same command again:

{table}

{trials:,} trials in {minutes:.0f} minutes of CPU time, on {machine}. A full disk is {disk}. {versions}.

| what came of a trial | {faults} |
| --- |{dashes}
{counts}

The first five are right: the run finished all the same, or the fault came too late; it had finished its output when the
fault ended it; an error said what to do, and nothing was left that loads; an earlier state was there, such as an older
library or a checkpoint; or nothing had appeared yet. Each trial ends with the same command again (`--resume` where that
is the way), whose result must be that of an undisturbed run, with no file too many. The others are wrong: records were
lost or doubled, what was left loaded and was not right, the second run failed or left something over, an error was a
traceback, or a run hung.

- kill -9: of the whole process group, half of the trials at a random moment, half between two changes of files, mostly
  just before or after one gets its name.
- disk full: from the start, or it fills up in the middle; then there is space again.
- corrupt file: a bit, the end or all of an input, or of a file that a killed run had left. The error must name it.
- clock change: by up to a year, in the middle or before the second run; files then have dates of the past or future.
- two processes: at random distance, or one stands still between two changes of files while the other runs.
"""


if __name__ == "__main__":
    main()
