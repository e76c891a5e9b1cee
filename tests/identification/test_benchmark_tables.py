from collections.abc import Mapping

import pytest

from bioscan_hf.evaluation.benchmarks.pages import table_rows
from bioscan_hf.evaluation.results import Result
from bioscan_hf.identification.benchmark_tables import bars, bars_markdown, speed_markdown, tables

OURS, BLAST, BLASTN, VSEARCH = "bioscan identify", "BLAST 9.9+", "BLAST 9.9+, task blastn", "vsearch 8.8"
SPECIES, GENUS = ("species, seen species", "accuracy"), ("genus, unseen species", "accuracy")
SPEED, START = ("speed", "queries_per_second"), ("speed", "queries_per_second_with_start")
# All bars are just met.
VALUES: dict[tuple[str, str, str], float] = {
    (OURS, *SPECIES): 0.9,
    (BLAST, *SPECIES): 0.8,
    (BLASTN, *SPECIES): 0.9,
    (VSEARCH, *SPECIES): 0.7,
    (OURS, *GENUS): 0.8301,
    (BLAST, *GENUS): 0.83,
    (VSEARCH, *GENUS): 0.7,
    **{(OURS, *metric): 300 for metric in (SPEED, START)},
    **{(BLAST, *metric): 10 for metric in (SPEED, START)},
    **{(BLASTN, *metric): 2 for metric in (SPEED, START)},
    **{(VSEARCH, *metric): 60 for metric in (SPEED, START)},
    **{(OURS, f"safe rank, {group}", "error"): 0.0199 for group in ("seen species", "unseen species", "all queries")},
    (OURS, "safe rank, all queries", "coverage"): 0.5,
    (OURS, "safe at species, all queries", "coverage"): 0.25,
    (OURS, "novelty", "auroc"): 0.95,
    (OURS, "calibration, genus", "expected_calibration_error"): 0.0299,
    (OURS, "calibration, order", "expected_calibration_error"): 0.01,
    (BLAST, "speed", "cpu_seconds"): 1234.5,
    (BLAST, "speed", "peak_megabytes"): 62.51,
}


def results(changes: Mapping[tuple[str, str, str], float] | None = None) -> list[Result]:
    """Results of the values, some of them changed."""
    about = (None, "data", "1", "test", "bioscan")
    return [
        Result(benchmark, metric, value, 100, model, *about)
        for (model, benchmark, metric), value in {**VALUES, **(changes or {})}.items()
    ]


def test_all_bars_are_met() -> None:
    found = bars(results(), max_error=0.01)
    assert [bar.met for bar in found] == [True] * 11
    assert [bar.verdict for bar in found] == ["met"] * 11
    species, genus, blast, vsearch, *_ = found
    assert species[:3] == ("species of seen species, %", "90.00", "BLAST 9.9+, task blastn: 90.00, vsearch 8.8: 70.00")
    assert genus.ours == "83.01"
    # The faster of two BLASTs counts.
    assert blast.ours == "30.00 times" and blast.beside == "300 against 10.0 of BLAST 9.9+"
    assert vsearch.ours == "5.00 times" and vsearch.bar == "at least 5 times"
    assert found[-1].ours == "0.030" and found[-1].beside == "genus"
    assert found[8].what == "error of safe names at --max-error 0.01, all queries, %"
    assert found[7].beside == "-"
    assert found[8][1:4] == ("1.99", "coverage: safe names 50.0 %, to species 25.0 %", "under 2")


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ((OURS, *SPECIES), 0.8999, 0),
        ((OURS, *GENUS), 0.83, 1),
        ((VSEARCH, *GENUS), 0.9, 1),
        ((BLAST, *START), 10.1, 2),
        ((VSEARCH, *START), 60.1, 3),
        ((BLAST, *SPEED), 10.1, 4),
        ((VSEARCH, *SPEED), 61.0, 5),
        ((OURS, "safe rank, seen species", "error"), 0.02, 6),
        ((OURS, "safe rank, unseen species", "error"), 0.02, 7),
        ((OURS, "safe rank, all queries", "error"), 0.02, 8),
        ((OURS, "novelty", "auroc"), 0.9499, 9),
        ((OURS, "calibration, order", "expected_calibration_error"), 0.03, 10),
    ],
)
def test_a_bar_is_missed_alone(key: tuple[str, str, str], value: float, place: int) -> None:
    found = bars(results({key: value}), max_error=0.01)
    assert [bar.verdict for bar in found] == ["not met" if row == place else "met" for row in range(11)]


def test_a_larger_error_may_be_asked_for() -> None:
    found = bars(results({(OURS, "safe rank, all queries", "error"): 0.09}), max_error=0.05)
    assert found[8].bar == "under 10" and found[8].met


def test_what_is_not_measured_is_neither_met_nor_missed() -> None:
    found = bars([], max_error=0.01)
    assert {bar.verdict for bar in found} == {"not measured"} and {bar.ours for bar in found} == {"-"}
    without = [result for result in results() if not result.model.startswith(("BLAST", "vsearch"))]
    assert [bar.met for bar in bars(without, max_error=0.01)] == [None] * 6 + [True] * 5


def test_the_best_of_two_is_not_known_from_one() -> None:
    without = [result for result in results() if not result.model.startswith("BLAST")]
    assert [bar.met for bar in bars(without, max_error=0.01)][:4] == [None, None, None, True]
    worse = [result for result in results({(VSEARCH, *GENUS): 0.84}) if not result.model.startswith("BLAST")]
    assert [bar.met for bar in bars(worse, max_error=0.01)][:2] == [None, False]


def test_bars_in_markdown() -> None:
    lines = bars_markdown(bars(results(), max_error=0.01)).split("\n")
    assert lines[:2] == ["| what | bioscan identify | beside | bar |  |", "| --- | ---: | --- | --- | --- |"]
    assert len(lines) == 13 and {line.count("|") for line in lines} == {6}
    assert lines[11] == "| AUROC of novelty, unseen against seen species | 0.950 |  | at least 0.95 | met |"


def test_speed_in_markdown() -> None:
    header, _, ours, *others = speed_markdown(results()).split("\n")
    assert header == (
        "|  | queries/s, start-up included | times BLAST's | times vsearch's | queries/s, without start-up | "
        "times BLAST's | times vsearch's | CPU s | peak memory, MB |"
    )
    assert ours == "| bioscan identify | 300 | 30.00 | 5.00 | 300 | 30.00 | 5.00 | - | - |"
    assert others[0] == "| BLAST 9.9+ | 10.0 | 1.00 | 0.17 | 10.0 | 1.00 | 0.17 | 1,234 | 62.5 |"
    assert len(others) == 3


def test_each_table_has_what_was_measured() -> None:
    shown = {table.heading: table_rows(results(), table) for table in tables(0.01)}
    header, rows = shown["Accuracy"]
    assert header == ["", "species, seen (100)", "genus, unseen (100)"] and rows[0] == [OURS, "90.0", "83.0"]
    assert shown["Calibration error"][1] == [[OURS, "1.0", "3.0"]]
    assert shown["Safe names at --max-error 0.01"][1] == [[OURS, "2.0", "2.0", "50.0", "2.0"]]
    assert shown["Novelty"] == (["", "AUROC (100)"], [[OURS, "95.0"]])
