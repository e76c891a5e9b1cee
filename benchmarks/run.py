"""All comparisons with peers, in one command: JSON files of the figures, and one table of them.

    python benchmarks/run.py [--quick] [--only NAME,...] [--peer PYTHON] [--data FILE --splits FILE]

Each comparison gives `<name>.json` in the output folder, of which `README.md` shows all. PYTHON is that of the
environment of bioscan-dataset (see README.md); BLAST and vsearch are asked where they are on the PATH. Of a peer that
is absent the table says so, and an earlier result with it stays, with its date and command. All take about an hour on
two cores. `--quick` measures tiny sizes in this process, to see that everything runs, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from comparison import COMPARISONS, Comparison, Options
from results_page import write_page
from scale_parts import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
Record = dict[str, Any]


def compare(name: str, options: Options) -> Comparison:
    """Run a comparison."""
    module, function = COMPARISONS[name].split(":")
    found: Callable[[Options], Comparison] = getattr(import_module(module), function)
    return found(options)


def record(
    name: str, found: Comparison, options: Options, *, label: str | None, command: str, loads: Sequence[float]
) -> Record:
    """What is kept of a comparison.

    Args:
        name: Of the comparison.
        found: What it gave.
        options: What was asked for.
        label: Tells it from another run of the same comparison.
        command: The command line.
        loads: Load averages before and after.
    """
    return {
        "comparison": name,
        "label": label,
        "title": found.title,
        "command": command,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "load_average": [round(load, 1) for load in loads],
        "versions": found.versions,
        "quick": options.quick,
        "rows": [row.to_json() for row in found.rows],
        "checks": found.checks,
        "notes": found.notes,
    }


def _commit() -> str | None:
    """Of this code, with a plus if it was changed since; None outside of a repository."""
    words = ["git", "-C", str(HERE), "describe", "--always", "--exclude", "*", "--dirty=+"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def absent_peers(kept: Record) -> list[str]:
    """Peers of a record that were absent, and why."""
    peers = [row["peer"] for row in kept["rows"] if row["peer"]]
    return list(dict.fromkeys(f"{peer['way']} ({peer['absent']})" for peer in peers if peer["absent"]))


def settle(new: Record, earlier: Record | None) -> Record:
    """Choose what is kept: an earlier result stays, and says so, if it has a peer that is absent now.

    Args:
        new: Just measured.
        earlier: That of the output folder, if it has one.
    """
    missing = absent_peers(new)
    if earlier is None or not missing or absent_peers(earlier) or earlier["quick"] != new["quick"]:
        return new
    return earlier | {"kept": {"date": new["date"], "command": new["command"], "absent": missing}}


def run(names: Iterable[str], options: Options, output: Path, *, command: str, label: str | None = None) -> list[str]:
    """Run comparisons one after the other, write what they gave, and the page.

    Args:
        names: Of `COMPARISONS`.
        options: What is asked for.
        output: Folder of the results.
        command: The command line.
        label: Of these results; they do not replace those of another.

    Returns:
        Names of those that failed; they leave what was there before.
    """
    failed = []
    output.mkdir(parents=True, exist_ok=True)
    names = list(names)
    for number, name in enumerate(names, 1):
        _say(f"[{number}/{len(names)}] {name}")
        before = os.getloadavg()[0]
        try:
            found = compare(name, options)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        loads = before, os.getloadavg()[0]
        new = record(name, found, options, label=label, command=command, loads=loads)
        for peer in absent_peers(new):
            _say(f"{name}: {peer}")
        path = output / f"{name}{'-' if label else ''}{label or ''}.json"
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        path.write_text(json.dumps(settle(new, earlier), indent=1) + "\n", encoding="utf-8")
        write_page(output)
    return failed


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,...", help=f"some of {', '.join(COMPARISONS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--rounds", type=int, default=2, help="the best of them counts (default: %(default)s)")
    parser.add_argument("--peer", metavar="PYTHON", help="of the environment of bioscan-dataset")
    parser.add_argument("--metadata", type=Path, help="CSV in the form of the released one (default: made rows)")
    parser.add_argument("--data", type=Path, help="specimens to identify (default: the embedded sample)")
    parser.add_argument("--splits", type=Path, help="their table of splits")
    parser.add_argument("--label", help="keep these results beside others, such as those of another machine")
    parser.add_argument("--output", type=Path, help="folder of the results (default: results; with --quick, none)")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(COMPARISONS)
    if unknown := [name for name in names if name not in COMPARISONS]:
        parser.error(f"--only {','.join(unknown)}: choose from {', '.join(COMPARISONS)}")
    options = Options(given.quick, given.rounds, given.peer, given.metadata, given.data, given.splits)
    # One thread for all that has no number of its own; and no reports of weights, which are random here.
    os.environ |= {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = shlex.join(["python", "benchmarks/run.py", *map(_shown, sys.argv[1:])])
    with tempfile.TemporaryDirectory() as temporary:
        output = given.output or (Path(temporary) if given.quick else RESULTS)
        failed = run(names, options, output, command=command, label=given.label)
        if given.quick and not given.output:
            sys.stdout.write((output / "README.md").read_text(encoding="utf-8"))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _shown(word: str) -> str:
    """An argument without the folders of this machine."""
    return Path(word).name if Path(word).is_absolute() else word


if __name__ == "__main__":
    main()
