"""The page of all comparisons: one table, made from their JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comparison import COMPARISONS

Record = dict[str, Any]


def write_page(folder: Path) -> None:
    """Write `README.md` from the JSON files of a folder."""
    (folder / "README.md").write_text(page(read_records(folder)), encoding="utf-8")


def read_records(folder: Path) -> list[Record]:
    """The records of a folder, in the order of `COMPARISONS`; other JSON files are left alone."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    order = list(COMPARISONS)
    return sorted((own for own in found if "comparison" in own), key=lambda own: order.index(own["comparison"]))


def page(records: list[Record]) -> str:
    """The page in Markdown."""
    machines = list(dict.fromkeys(_machine(record) for record in records))
    numbers = {machine: number for number, machine in enumerate(machines, 1)}
    runs = [_row("comparison", "date", "machine", "load average", "versions"), _row(*["---"] * 5)]
    figures = [_row("comparison", "what", "size", "ours", "figure", "peer", "its figure", "better by", "bar")]
    figures.append(_row(*["---"] * 4, "---:", "---", "---:", "---:", "---"))
    for record in records:
        name = _name(record)
        versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
        loads = " to ".join(f"{load:.1f}" for load in record["load_average"])
        runs.append(_row(name, record["date"], str(numbers[_machine(record)]), loads, versions))
        figures += [_figures(name, row) for row in record["rows"]]
    shown = "\n".join(f"{number}. {machine}" for machine, number in numbers.items())
    bars = [row["bar"] for record in records for row in record["rows"] if row["bar"]]
    known = [bar["met"] for bar in bars if bar["met"] is not None]
    return f"""# What bioscan_hf costs beside its peers

Written by `benchmarks/run.py` from the JSON files here. "Better by" is how many times the figure of ours is better than
the peer's, so above 1 ours is ahead. {sum(known)} of {len(known)} bars, which were set before, are met. Other programs
used the cores, too: compare CPU seconds (of the user and the system) rather than wall seconds ("s").

Machines:

{shown}

{chr(10).join(runs)}

## Figures

{chr(10).join(figures)}

## How each was measured

The commit is that of the code; a plus stands for changes that were not committed yet.

{chr(10).join(map(_section, records))}"""


def _name(record: Record) -> str:
    return f"{record['comparison']}, {record['label']}" if record["label"] else str(record["comparison"])


def _machine(record: Record) -> str:
    machine = record["machine"]
    memory = f", {machine['memory_gb']:.0f} GB" if machine["memory_gb"] else ""
    return f"{machine['cores']} cores of {machine['cpu']}{memory}, {machine['system']}"


def _figures(name: str, row: Record) -> str:
    peer = row["peer"] or {"way": "", "value": None, "absent": None}
    bar = row["bar"]
    verdict = "" if not bar else f"{_bar(bar)}: {_VERDICTS[bar['met']]}"
    ratio = "" if row["ratio"] is None else f"{number(row['ratio'])}x"
    what = f"{row['what']}: {row['unit']}"
    theirs = peer["absent"] or ("" if peer["value"] is None else number(peer["value"]))
    return _row(
        name, what, row["size"], row["ours"]["way"], number(row["ours"]["value"]), peer["way"], theirs, ratio, verdict
    )


_VERDICTS = {True: "met", False: "**not met**", None: "not known"}


def _bar(bar: Record) -> str:
    bound = "at least" if "at_least" in bar else "at most"
    limit = bar["at_least"] if "at_least" in bar else bar["at_most"]
    return f"{bound} {limit:.4g}{'x' if bar['of'] == 'ratio' else ''}"


def number(value: float) -> str:
    """Three digits, thousands with commas; shares of almost 1 with six."""
    if value and abs(value) < 0.001:
        return f"{value:.1g}"
    if 0.999 <= value < 1:
        return f"{value:.6f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _section(record: Record) -> str:
    commit = f" (commit {record['commit']})" if record["commit"] else ""
    lines = [f"**{_name(record)}**, {record['title']}: `{record['command']}`{commit}", ""]
    if kept := record.get("kept"):
        lines.append(
            f"- This is the result of {record['date']}, which stays: `{kept['command']}` of {kept['date']} was without "
            f"{'; '.join(kept['absent'])}."
        )
    lines += [f"- {what}: {'yes' if holds else '**no**'}." for what, holds in record["checks"].items()]
    lines += [f"- {note}" for note in record["notes"]]
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
