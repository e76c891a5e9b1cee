"""`load_dataset` beside bioscan-dataset 1.3.0: loading a split, reading barcodes, streaming.

    python benchmarks/dataset.py --metadata FULL.csv --peer PYTHON [--output benchmarks/results]

FULL.csv has the form of the released metadata; PYTHON is that of the peer's environment (see README.md). Every figure
is of a fresh process; both packages take turns, and the best of some rounds counts. `dataset.md` is written to the
output folder. A round takes about six minutes, 13 GB of memory and 2 GB of temporary space.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import ask

HERE = Path(__file__).resolve().parent
CSV = Path("bioscan5m/metadata/csv/BIOSCAN_5M_Insect_Dataset_metadata.csv")
SPLIT = "train"
PEERS = {"peer": "", "peer, no pyarrow": ", peer without pyarrow"}
"""Runs of the peer and how the table speaks of them; the bars are those against the first."""
Result = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: What was measured, with its unit.
        theirs: The peer's figure.
        ours: Our figure.
        bar: What the figures must fulfil, in words, and whether they do; None if nothing.
        higher: Whether the higher figure is the better one.
    """

    what: str
    theirs: float | None
    ours: float
    bar: tuple[str, bool] | None = None
    higher: bool = False

    def __str__(self) -> str:
        if self.theirs is None:
            theirs = ratio = ""
        else:
            theirs = _number(self.theirs)
            ratio = f"{_number(self.ours / self.theirs if self.higher else self.theirs / self.ours)}x"
        verdict = f"{self.bar[0]}: {'met' if self.bar[1] else '**not met**'}" if self.bar else ""
        return f"| {self.what} | {theirs} | {_number(self.ours)} | {ratio} | {verdict} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def measure(metadata: Path, peer: str, rounds: int) -> dict[str, list[Result]]:
    """Run every program, in turns.

    Args:
        metadata: CSV in the form of the released one.
        peer: Python of the peer's environment.
        rounds: How often each is run.

    Returns:
        The results of each program, one per round.
    """
    results: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        (root / CSV).parent.mkdir(parents=True)
        (root / CSV).symlink_to(metadata.resolve())

        def run(what: str, python: str, program: str, *arguments: object) -> None:
            result = {"load average": os.getloadavg()[0], **ask(python, HERE / program, *arguments)}
            results.setdefault(what, []).append(result)
            sys.stderr.write(f"{what}: {result}\n")

        for number in range(rounds):
            with tempfile.TemporaryDirectory() as cache:
                run("peer", peer, "peer.py", "measure", root, SPLIT)
                run("ours, first", sys.executable, "ours.py", root, cache, SPLIT)
                run("ours, later", sys.executable, "ours.py", root, cache, SPLIT)
                run("peer, no pyarrow", peer, "peer.py", "measure", root, SPLIT, "--no-pyarrow")
                if not number:
                    # The first time includes the choice for all splits, but not the conversion.
                    run("peer, reduced", peer, "peer.py", "measure", root, SPLIT, "--reduce")
                    run("ours, reduced first", sys.executable, "ours.py", root, cache, SPLIT, "--reduce")
                    run("ours, reduced later", sys.executable, "ours.py", root, cache, SPLIT, "--reduce")
        run("streaming", sys.executable, "streaming.py", "measure", metadata)
    return results


def _best(results: Iterable[Result], *keys: str, better: Callable[..., float] = min) -> float:
    """The best value of a figure, given by its keys, among the results."""
    values = []
    for result in results:
        value: Any = result
        for key in keys:
            value = value[key]
        values.append(float(value))
    return better(values)


def loading_lines(results: dict[str, list[Result]]) -> list[Line]:
    """From the CSV to a split that is ready."""
    lines = []
    for ours, time in (("ours, first", "first time"), ("ours, later", "every later time")):
        for peer, note in PEERS.items():
            cpu, peak, wall = (
                [_best(results[side], "load", key) for side in (peer, ours)] for key in ("cpu", "peak", "wall")
            )
            bars: list[tuple[str, bool] | None] = [None, None]
            if peer == "peer" and ours == "ours, first":
                bars = [("not slower", cpu[1] <= cpu[0]), ("at most 1/3", peak[1] <= peak[0] / 3)]
            elif peer == "peer":
                bars = [("at most 1/50", cpu[1] <= cpu[0] / 50), ("under 1 GB", peak[1] < 1)]
            what = f"`{SPLIT}` from the CSV, {time}{note}"
            lines += [
                Line(f"{what}: CPU s", cpu[0], cpu[1], bars[0]),
                Line(f"{what}: peak memory, GB", peak[0], peak[1], bars[1]),
                Line(f"{what}: wall s", wall[0], wall[1]),
            ]
    reduced = [results[side] for side in ("peer, reduced", "ours, reduced first", "ours, reduced later")]
    theirs, first, later = (_best(side, "load", "cpu") for side in reduced)
    what = f"`{SPLIT}`, one specimen per barcode"
    lines += [
        Line(f"{what}, first time after `{SPLIT}`: CPU s", theirs, first),
        Line(f"{what}, every later time: CPU s", theirs, later),
    ]
    theirs, own = (_best(results[side], "import", "cpu") for side in ("peer", "ours, later"))
    return [*lines, Line("import, in none of the above: CPU s", theirs, own)]


def reading_lines(results: dict[str, list[Result]]) -> list[Line]:
    """Rows per CPU second: process id, barcode and index of the species here, barcode and index there."""
    lines = []
    for peer, note in PEERS.items():
        for key, what, factor in (
            ("rows per CPU s, in order", "batches of 256 against the peer's `ds[i]`", 50),
            ("rows per CPU s, at random", "`ds[i]` at random, both", 3),
        ):
            theirs = _best(results[peer], key, better=max)
            ours = _best(results["ours, later"], key, better=max)
            bar = (f"at least {factor}x", ours >= factor * theirs) if peer == "peer" else None
            lines.append(Line(f"{what}{note}: rows per CPU s", theirs, ours, bar, higher=True))
    return lines


def streaming_lines(result: Result) -> list[Line]:
    """Streams from a Hub on this machine; the peer has none."""
    lines = []
    for what, stream in result["streams"].items():
        wall, sent = stream["first"]["wall"], stream["bytes"]
        what = f"stream of {what}"
        lines.append(Line(f"{what}, to the first row: wall s", None, wall, ("under 2 s", wall < 2)))
        lines.append(Line(f"{what}, all {stream['rows']:,} rows: MB sent", None, sum(sent.values()) / 1e6))
        if "images and" not in what:
            images = sent.get("cropped_256", 0)
            lines.append(Line(f"{what}: MB sent of files with images", None, images / 1e6, ("none", not images)))
    return [*lines, Line("for comparison, the images of these rows: MB", None, result["image bytes"] / 1e6)]


def page(results: dict[str, list[Result]], rows: int, command: str) -> str:
    """The page in Markdown.

    Args:
        results: What `measure` gave.
        rows: Number of rows of the table.
        command: How it was measured.
    """
    [streaming] = results["streaming"]
    peer, ours = results["peer"][0], results["ours, first"][0]
    versions = {**peer["versions"], **ours["versions"]}
    loads = [result["load average"] for runs in results.values() for result in runs]
    lines = [*loading_lines(results), *reading_lines(results), *streaming_lines(streaming)]
    reduced = [result for what, runs in results.items() if "reduced" in what for result in runs]
    plain = [result for runs in results.values() for result in runs if "digest" in result and result not in reduced]
    return f"""# The dataset beside bioscan-dataset 1.3.0

    {command}

- {_agreement(plain, f"`{SPLIT}`")}
- {_agreement(reduced, f"`{SPLIT}`, one specimen per barcode")}

| what | bioscan-dataset | bioscan_hf | better by | bar |
| --- | ---: | ---: | ---: | --- |
{os.linesep.join(map(str, lines))}

The bars are those against the peer in an environment with pyarrow; the lines without it show what it gains there.

Each figure is of a fresh process and the best of {len(results["peer"])}, both packages in turns; one specimen per
barcode and the streams were measured once. CPU seconds are those of the user and the system. Memory is that of the
whole process, memory-mapped files included. {os.cpu_count()} cores of {platform.machine()}, {platform.system()}, shared
with other programs: the load average was {min(loads):.1f} to {max(loads):.1f} when the programs started, so compare CPU
seconds rather than wall seconds.

{_list_versions(versions)}

- The table is simulated, {rows:,} rows in the form of the released one, so the peer's checks of MD5 sums are switched
  off; they would cost it the MD5 of the CSV, 4.4 GB as released, at every construction. Ours reads and checks every
  record in the first conversion.
- "First time" is an empty cache: all splits are converted, `{SPLIT}` is prepared. Later times open that cache.
- pandas keeps text in Arrow where pyarrow is installed, as it is beside `datasets`; that costs the peer time and
  memory. "Without pyarrow" is the same environment in which pyarrow cannot be imported.
- The peer constructs with `modality="dna"`, and we with `modalities="dna", targets="species"`.
- Streams are read to their end from a Hub on this machine, without the delays of a network; the repository holds these
  specimens of `{SPLIT}` with images of the embedded sample.
"""


def _agreement(results: Sequence[Result], what: str) -> str:
    same = len({result["digest"] for result in results}) == 1
    agreed = "the same process ids and species indices, in the same order" if same else "**different rows**"
    return f"{what}, {results[0]['rows']:,} rows: both packages give {agreed}."


def _list_versions(versions: dict[str, str]) -> str:
    return "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


def main() -> None:
    """Parse the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metadata", type=Path, required=True, help="CSV in the form of the released metadata")
    parser.add_argument("--peer", required=True, help="Python of the peer's environment")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the page")
    parser.add_argument("--rounds", type=int, default=3, help="the best of them counts (default: %(default)s)")
    options = parser.parse_args()
    results = measure(options.metadata, options.peer, options.rounds)
    command = f"python benchmarks/dataset.py --metadata {options.metadata.name} --peer PYTHON --rounds {options.rounds}"
    with options.metadata.open("rb") as file:
        rows = sum(1 for _ in file) - 1
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "dataset.md").write_text(page(results, rows, command), encoding="utf-8")


if __name__ == "__main__":
    main()
