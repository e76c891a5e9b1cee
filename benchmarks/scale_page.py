"""The page of the rehearsals, docs/scale.md, from their results: tables between markers, and two pictures.

    python benchmarks/scale_page.py

What stands between `<!-- made: NAME -->` and `<!-- end -->` is written anew; the text around it is not touched.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scale import RESULTS, parts
from scale_projection import HEADER, projection

DOCS = Path(__file__).resolve().parents[1] / "docs"
FLAT = 0.1
"""GB that the work may hold more at the largest size than at the smallest, to be called flat."""
_MARKED = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SUMMARY = ("part", "size", "CPU s", "wall s", "exponent", "at the end", "held, GB", "grown by", "resident, GB", "bars")
Record = dict[str, Any]


def read_records(folder: Path = RESULTS) -> list[Record]:
    """The results of a folder, in the order of the parts; JSON files of other things are left alone."""
    found = {}
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[content.get("part", "")] = content
    return [found[name] for name in parts() if name in found]


def exponent(record: Record, cost: str, *, first: int = 0) -> float:
    """With which power of the size a cost grows: the slope of the line through the sizes in logarithms.

    Args:
        record: A result.
        cost: Which.
        first: The first size that counts.
    """
    points = [(math.log(size["n"]), math.log(max(size[cost], 1e-9))) for size in record["sizes"][first:]]
    middle = sum(x for x, _ in points) / len(points)
    return sum((x - middle) * y for x, y in points) / sum((x - middle) ** 2 for x, _ in points)


def grown(record: Record) -> float:
    """How much more memory, in GB, the work holds at the largest size than at the smallest, without what was before."""
    first, last = (size["held"] - size["held_before"] for size in (record["sizes"][0], record["sizes"][-1]))
    return float(last - first)


def summary(records: Sequence[Record]) -> str:
    """One row per part: its largest size, what it costs there, how it grows, and the bars."""
    rows = []
    for record in records:
        last = record["sizes"][-1]
        power = exponent(record, "cpu")
        met = power <= record["exponent"]
        bars = [f"exponent at most {record['exponent']:g}: {_verdict(met)}"]
        if record["flat"]:
            bars.append(f"flat memory, within {FLAT:g} GB: {_verdict(grown(record) < FLAT)}")
        rows.append(
            [
                record["title"],
                f"{last['n']:,} {record['unit']}",
                number(last["cpu"]),
                number(last["wall"]),
                f"{power:.2f}",
                f"{exponent(record, 'cpu', first=len(record['sizes']) - 2):.2f}",
                number(last["held"]),
                f"{grown(record):+.2f}",
                number(last["peak"]),
                "; ".join(bars),
            ]
        )
    header = [
        "part",
        "size",
        "CPU s",
        "wall s",
        "exponent",
        "at the end",
        "held, GB",
        "grown by",
        "resident, GB",
        "bars",
    ]
    return table(header, rows, numbers=range(2, 9))


def details(records: Sequence[Record]) -> str:
    """A section per part: how it was measured, all costs, and what shows that the work was done."""
    sections = []
    for record in records:
        sizes = record["sizes"]
        rows = [
            [name, *(number(size[key]) for size in sizes)]
            for name, key in (
                ("CPU s", "cpu"),
                ("wall s", "wall"),
                ("memory held, GB", "held"),
                ("held before, GB", "held_before"),
                ("resident memory of a process, GB", "peak"),
                ("load average before", "load"),
            )
        ]
        microseconds = [f"{1e6 * size['cpu'] / size['n']:,.1f}" for size in sizes]
        rows.insert(1, [f"CPU µs per {record['unit'].replace('ies', 'ys').removesuffix('s')}", *microseconds])
        names = dict.fromkeys(name for size in sizes for name in size["facts"])
        rows += [[name, *(shown(size["facts"].get(name)) for size in sizes)] for name in names]
        header = [record["unit"], *(f"{size['n']:,}" for size in sizes)]
        text = table(header, rows, numbers=range(1, len(header)))
        sections.append(f"### {record['title']}\n\n    {record['command']}\n\n{text}\n\n{_where(record)}")
    return "\n\n".join(sections)


def _where(record: Record) -> str:
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (
        f"{record['date']}; {machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']:g} GB, "
        f"{machine['system']}; {versions}."
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """A table in Markdown; the columns of `numbers` are flush right."""
    right = set(numbers)
    ruler = ["---:" if place in right else "---" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ruler, *rows))


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def shown(fact: Any) -> str:
    """A fact as a reader wants it."""
    if isinstance(fact, bool):
        return "yes" if fact else "**no**"
    if isinstance(fact, int):
        return f"{fact:,}"
    return "" if fact is None else number(fact) if isinstance(fact, float) else str(fact)


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def made(records: Sequence[Record], others: Path = RESULTS.parent) -> dict[str, str]:
    """What the page shows, by the name of its marker.

    Args:
        records: The results.
        others: Folder of the results of `run.py`, which the projection reads, too.
    """
    on_paper = table(HEADER, projection(records, others))
    return {"summary": summary(records), "details": details(records), "projection": on_paper}


def filled(page: str, contents: Mapping[str, str]) -> str:
    """The page with what was made between its markers.

    Raises:
        ValueError: If a marker is missing.
    """
    names = [match[2] for match in _MARKED.finditer(page)]
    if sorted(names) != sorted(contents):
        raise ValueError(f"The page has markers of {names}; expected one of each of {list(contents)}.")
    return _MARKED.sub(lambda match: f"{match[1]}\n{contents[match[2]]}\n\n{match[3]}", page)


def main() -> None:
    """Write the page and its pictures."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from scale_pictures import save_pictures

    records = read_records()
    path = DOCS / "scale.md"
    path.write_text(filled(path.read_text(encoding="utf-8"), made(records)), encoding="utf-8")
    save_pictures(records, DOCS / "images")


if __name__ == "__main__":
    main()
