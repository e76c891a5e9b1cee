"""Faults: every long command is disturbed in every way, many times at random, and must lose and double nothing.

    python benchmarks/faults.py                                          # all: about an hour of CPU time
    python benchmarks/faults.py --command pretrain --fault kill --seed 17 --trials 1    # one trial again

Writes `faults.json` and `faults.md`; pairs that are not run keep their results.
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
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from faults_harness import RIGHT, WRONG, Scenario, Trial, judge, undisturbed
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
Results = dict[str, Any]


@contextmanager
def opened(command: str, folder: Path) -> Iterator[tuple[Scenario, Server]]:
    """The scenario of a command, and a server that starts its programs."""
    module, name = COMMANDS[command].split(":")
    (folder / "inputs").mkdir(parents=True)
    scenario: Scenario = getattr(importlib.import_module(module), name)(folder / "inputs")
    caches = {"HF_HOME": str(folder / "huggingface"), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    server = Server({**caches, **scenario.environment})
    try:
        yield scenario, server
    finally:
        server.close()
        scenario.close()


def run(command: str, faults: Sequence[str], trials: int, seed: int, folder: Path) -> Iterator[tuple[str, Results]]:
    """Run the trials of a command, and yield each fault with what came of it."""
    folder = folder / command.replace(" ", "-")
    with opened(command, folder) as (scenario, server):
        possible = {**FAULTS, **scenario.faults}
        reference = undisturbed(scenario, server, folder / "trial")
        for fault in faults:
            if fault not in possible or fault in scenario.dashes:
                yield fault, {"dash": scenario.dashes.get(fault, "it has nothing to do with the command")}
                continue
            outcomes: Counter[str] = Counter()
            wrong: list[Results] = []
            start, cpu = time.perf_counter(), time.process_time() + server.cpu
            for number in range(seed, seed + trials):
                trial = Trial(scenario, server, folder / "trial", f"{command} {fault} {number}", reference)
                try:
                    kind, note = judge(trial, possible[fault])
                finally:
                    trial.clear()
                outcomes[kind] += 1
                if kind in WRONG:
                    wrong.append({"seed": number, "kind": kind, "note": note})
                    say(f"{command}, {fault}, seed {number}: {kind}: {note}")
            seconds = {"wall": round(time.perf_counter() - start, 1), "cpu": round(time.process_time() + server.cpu - cpu, 1)}
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
    content["pairs"].setdefault(command, {})[fault] = result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content


def main() -> None:
    """Parse the command line, run the trials, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="of each pair (default: %(default)s)")
    parser.add_argument("--command", choices=COMMANDS, action="append", help="may be given several times; default: all")
    parser.add_argument("--fault", choices=TITLES, action="append", help="may be given several times; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two trials of each pair")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    trials = 2 if options.quick else options.trials
    failed = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for command in options.command or COMMANDS:
            for fault, result in run(command, options.fault or list(TITLES), trials, options.seed, Path(folder)):
                content = merge(options.output / "faults.json", command, fault, result)
                (options.output / "faults.md").write_text(page(content), encoding="utf-8")
                say(f"{command}, {fault}: {result.get('outcomes', result.get('dash'))} {result.get('seconds', '')}")
                failed += len(result.get("wrong", ()))
    raise SystemExit(min(failed, 1))


def page(content: Results) -> str:
    """The table of the results."""
    lines = []
    for command, pairs in content["pairs"].items():
        lines.append(f"| {command} | {' | '.join(_cell(pairs.get(fault)) for fault in TITLES)} |")
    return "\n".join(lines)


def _cell(result: Results | None) -> str:
    if result is None:
        return ""
    return "-" if "dash" in result else str(result["outcomes"])


if __name__ == "__main__":
    main()
