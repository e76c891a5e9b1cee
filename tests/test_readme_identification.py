"""The figures of identification in README.md are those of the committed results."""

import re
from pathlib import Path

from bioscan_hf.evaluation.results import Result, read_results
from bioscan_hf.identification.benchmark_tables import bars, bars_markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDER = ROOT / "docs" / "results" / "benchmarks" / "identification_real"


def results() -> list[Result]:
    return read_results(FOLDER / "results.json")


def first_table() -> str:
    """The table of README's first screen."""
    values = {(r.model, r.benchmark, r.metric): r.value for r in results()}
    lines = [
        "| | species of seen species, % | genus of unseen species, % | queries/s | with start-up | peak memory, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model in dict.fromkeys(model for model, *_ in values):
        accuracies = [values[model, name, "accuracy"] for name in ("species, seen species", "genus, unseen species")]
        cells = [f"{100 * value:.1f}" for value in accuracies]
        for metric in ("queries_per_second", "queries_per_second_with_start", "peak_megabytes"):
            value = values.get((model, "speed", metric))
            cells.append("-" if value is None else f"{value:,.0f}")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_first_table_and_bars_are_those_of_the_results() -> None:
    assert first_table() in README
    assert bars_markdown(bars(results(), max_error=0.01)) in README


def test_command_is_that_of_the_results() -> None:
    assert {result.command for result in results()} <= set(re.sub(r" \\\n +", " ", README).splitlines())


def test_page_has_the_same_bars() -> None:
    assert bars_markdown(bars(results(), max_error=0.01)) in (FOLDER / "README.md").read_text(encoding="utf-8")
