"""The figures of identification in README.md and docs/ are those of the committed results."""

import re
from pathlib import Path

from datasets import Dataset

from bioscan_hf import Identifier, Library, select_split
from bioscan_hf.evaluation.results import Result, read_results
from bioscan_hf.identification.benchmark_tables import bars, bars_markdown

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
FOLDER = ROOT / "docs" / "results" / "benchmarks" / "identification_real"


def results() -> list[Result]:
    return read_results(FOLDER / "results.json")


def systems_table() -> str:
    """The table of all that was compared."""
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


def test_systems_and_bars_are_those_of_the_results() -> None:
    assert systems_table() in PAGE
    assert bars_markdown(bars(results(), max_error=0.01)) in PAGE


def test_command_is_that_of_the_results() -> None:
    assert {result.command for result in results()} <= set(re.sub(r" \\\n +", " ", PAGE).splitlines())


def test_page_has_the_same_bars() -> None:
    assert bars_markdown(bars(results(), max_error=0.01)) in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_figures_in_the_text_are_those_of_the_results() -> None:
    values = {(r.model, r.benchmark, r.metric): f"{100 * r.value:.1f}" for r in results()}
    ours, blast = "bioscan identify", next(model for model, *_ in values if model.startswith("BLAST"))
    asked = [(name, "accuracy") for name in ("species, seen species", "genus, unseen species")]
    found = {model: [values[model, *question] for question in asked] for model in (ours, blast)}
    wrong = next(bar for bar in bars(results(), max_error=0.01) if "all queries" in bar.what).ours
    tutorial = re.sub(r"\s+", " ", (ROOT / "docs/tutorials/identification.md").read_text(encoding="utf-8"))
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert f"{found[ours][0]} % of the species that the library has, and {found[ours][1]} % of the genera" in tutorial
    assert f"has {found[blast][0]} and {found[blast][1]} %" in tutorial
    for text in (tutorial, readme):
        assert f"safe at 1 %, {float(wrong):.1f} % were wrong" in text


def test_names_in_the_tutorial_are_those_of_the_sample(sample: Dataset) -> None:
    text = (ROOT / "docs/tutorials/identification.md").read_text(encoding="utf-8")
    shown = re.findall(r"^ (SIM\w+-26) +(\S.*?) +(\w+) +([\d.]+ %) +(.*?) +([\d.]+ %)$", text, re.MULTILINE)
    barcodes = {row["processid"]: row["dna_barcode"] for row in sample.select_columns(["processid", "dna_barcode"])}
    others = select_split(sample, "val+val_unseen+other_heldout")
    identifier = Identifier(Library.build(select_split(sample, "train"), calibration=others))
    ids = [processid for processid, *_ in shown]
    answers = identifier([barcodes[processid] for processid in ids], ids).to_pylist()
    assert len(shown) == 6
    for (_, taxon, rank, sure, novelty, identity), answer in zip(shown, answers, strict=True):
        assert answer["safe_taxon"].startswith(taxon) and answer["safe_rank"] == rank
        # Half of the last digit for rounding; the number of threads, by the order of sums, changes it by 0.03.
        assert abs(float(sure.removesuffix(" %")) - 100 * answer[f"{rank}_probability"]) < 0.05 + 0.04
        assert novelty == f"{'new ' if answer['novel'] else ''}{answer['novelty']:.2f}"
        assert identity == f"{100 * answer['nearest_identity']:.1f} %"
