"""What a benchmark leaves in its folder: results, a page with tables, and pictures."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from bioscan_hf import __version__
from bioscan_hf.data.files import staged
from bioscan_hf.data.whole_files import write_json
from bioscan_hf.evaluation.benchmarks.paper import Published
from bioscan_hf.evaluation.pictures import save_picture
from bioscan_hf.evaluation.results import Result, write_results

PUBLISHED_MARK = " (published)"
"""Follows the name of a model whose numbers others measured."""
RESULTS, SETTINGS, PAGE = "results.json", "settings.json", "README.md"
_LIBRARIES = ("torch", "transformers", "datasets", "scikit-learn", "numpy")


class Column(NamedTuple):
    """A column of a table: its title, and which question and metric stand in it."""

    title: str
    benchmark: str
    metric: str


class Table(NamedTuple):
    """A table with one row per model: a heading, a sentence on what it shows, its columns, and published numbers."""

    heading: str
    text: str
    columns: Sequence[Column]
    published: Sequence[Published] = ()


class Picture(NamedTuple):
    """A picture: the name of its file, what it shows, and itself."""

    file: str
    caption: str
    figure: Figure


def check_names(names: Sequence[str]) -> None:
    """Refuse models that tables could not tell apart.

    Raises:
        ValueError: If there are none, or two have one name.
    """
    if not names:
        raise ValueError("Expected at least one model to measure; got none.")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"Two models have the name {repeated[0]!r}, by which tables tell them apart; rename the folder or file of "
            "one of them."
        )


def table_rows(results: Iterable[Result], table: Table) -> tuple[list[str], list[list[str]]]:
    """Arrange results with one row per model, and below them what others published.

    Returns:
        Header and rows of text. Values are per cent with one decimal, with the spread over seeds if there are several,
        and "-" where there is none; columns without any value are left out. No rows if nothing was measured.
    """
    measured = {(result.model, result.benchmark, result.metric): result for result in results}
    counts = {result[1:]: measured[result].count for result in measured}
    numbers = {(p.model, p.benchmark, p.metric): f"{100 * p.value:.1f}" for p in table.published}
    known = {key[1:] for key in (*measured, *numbers)}
    columns = [column for column in table.columns if column[1:] in known]
    if not any(column[1:] in counts for column in columns):
        return [""], []
    rows = [
        [model, *(_cell(measured.get((model, *column[1:]))) for column in columns)]
        for model in dict.fromkeys(model for model, *_ in measured)
    ]
    rows += [
        [model + PUBLISHED_MARK, *(numbers.get((model, *column[1:]), "-") for column in columns)]
        for model in dict.fromkeys(p.model for p in table.published)
    ]
    header = [f"{c.title} ({counts[c[1:]]:,})" if c[1:] in counts else c.title for c in columns]
    return ["", *header], [row for row in rows if set(row[1:]) != {"-"}]


def table_markdown(results: Iterable[Result], table: Table) -> list[str]:
    """Lines of a table in Markdown; none if nothing was measured."""
    header, rows = table_rows(results, table)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows] if rows else []
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    value = f"{100 * result.value:.1f}"
    return value if result.spread is None else f"{value} ± {100 * result.spread:.1f}"


def write_report(
    folder: Path,
    *,
    title: str,
    text: str,
    results: Sequence[Result],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    settings: Mapping[str, Any],
) -> None:
    """Write `results.json`, `settings.json`, `README.md` and pictures into a folder, all together.

    Args:
        folder: It is made if need be; other files in it stay.
        title: Heading of the page.
        text: First paragraph of the page.
        results: All that was measured, on one dataset.
        tables: Tables of the page; those without rows are left out.
        pictures: Pictures of the page.
        settings: What was asked for, fit for JSON.

    Raises:
        OSError: If the folder cannot be written.
    """
    versions = {"bioscan_hf": __version__, "python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}}
    with staged(folder) as stage:
        write_results(results, stage / RESULTS)
        write_json(stage / SETTINGS, {"settings": dict(settings), "versions": versions})
        for picture in pictures:
            save_picture(picture.figure, stage / picture.file)
        page = _page(title, text, results, tables, pictures, versions)
        (stage / PAGE).write_text(page, encoding="utf-8")


def _page(
    title: str,
    text: str,
    results: Sequence[Result],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    versions: Mapping[str, str],
) -> str:
    first = results[0]
    parts = [
        f"# {title}",
        f"{text} Data: {first.dataset}, revision {first.dataset_revision}.",
        "```bash\n" + "\n".join(dict.fromkeys(result.command for result in results)) + "\n```",
    ]
    for table in tables:
        lines = table_markdown(results, table)
        if not lines:
            continue
        parts += [f"## {table.heading}", table.text, "\n".join(lines)]
        asked = {column[1:] for column in table.columns}
        sources = dict.fromkeys(p.source for p in table.published if (p.benchmark, p.metric) in asked)
        if sources:
            parts.append(
                "Published numbers are for BIOSCAN-5M's own splits, and comparable only with results on these. From: "
                f"{'; '.join(sources)}."
            )
    parts += [f"![{picture.caption}]({picture.file})\n\n*{picture.caption}*" for picture in pictures]
    parts.append(f"Made with {', '.join(f'{name} {number}' for name, number in versions.items())}.")
    return "\n\n".join(parts) + "\n"
