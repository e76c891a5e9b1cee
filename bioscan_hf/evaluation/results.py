"""The one result type, from a metric to a card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One measured number and where it comes from.

    Attributes:
        benchmark: What was asked, for example "1-NN genus, unseen species".
        metric: Name of the metric, for example "accuracy".
        value: The number; accuracies are between 0 and 1.
        count: Queries behind the number.
        model: Name of the model or baseline.
        model_revision: Digest or commit of its weights; None for a baseline without weights.
        dataset: Name or file of the data.
        dataset_revision: Digest or commit of the data.
        split: Split of the queries.
        command: The command that measured it.
        spread: Standard deviation over repetitions with other seeds, of which the value is the mean; None if it was
            measured once.
    """

    benchmark: str
    metric: str
    value: float
    count: int
    model: str
    model_revision: str | None
    dataset: str
    dataset_revision: str
    split: str
    command: str
    spread: float | None = None


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write results as a JSON list of objects."""
    path.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")


def read_results(path: Path) -> list[Result]:
    """Read what `write_results` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a list.
    """
    try:
        return [Result(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is no list of results: {error}") from error


def result_rows(results: Iterable[Result]) -> tuple[list[str], list[list[str]]]:
    """Arrange results with one row per benchmark and one column per model.

    Returns:
        Header and rows of text; values are per cent with one decimal, and "-" where there is none.
    """
    results = list(results)
    models = list(dict.fromkeys(result.model for result in results))
    benchmarks = list(dict.fromkeys((result.benchmark, result.metric, result.count) for result in results))
    values = {(result.benchmark, result.metric, result.model): f"{100 * result.value:.1f}" for result in results}
    rows = [
        [
            f"{benchmark}, {metric.replace('_', ' ')} (%)",
            f"{count:,}",
            *(values.get((benchmark, metric, model), "-") for model in models),
        ]
        for benchmark, metric, count in benchmarks
    ]
    return ["", "queries", *models], rows


def results_markdown(results: Iterable[Result]) -> str:
    """Render results as a Markdown table, one row per benchmark and one column per model."""
    header, rows = result_rows(results)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
