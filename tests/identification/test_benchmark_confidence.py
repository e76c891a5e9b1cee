from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.benchmarks.barcode_classification import Measured
from bioscan_hf.identification.benchmark import Task
from bioscan_hf.identification.benchmark_confidence import (
    confident,
    risk_and_coverage,
    score_confidence,
)
from tests.identification.made_benchmark import made_specimens, made_table, made_task


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))


def scores(task: Task, table: pa.Table) -> dict[tuple[str, str], Measured]:
    return {(m.benchmark, m.metric): m for m in score_confidence(task, table)}


@pytest.fixture
def task() -> Task:
    """Of some queries a label is not known."""
    rows = made_specimens(30)
    for row in rows[::7]:
        row["species"] = None
    for row in rows[::14]:
        row["genus"] = ""
    return made_task(rows)


@pytest.mark.parametrize("seed", [0, 1])
def test_as_counted_one_by_one(task: Task, seed: int) -> None:
    table = made_table(task, seed)
    found = scores(task, table)
    answers = table.to_pylist()
    truths = [{rank: row[rank] or None for rank in RANKS} for row in task.queries]
    for rank in RANKS:
        bins: dict[int, list[float]] = {}
        count = 0
        for answer, truth in zip(answers, truths, strict=True):
            if truth[rank] is not None and answer[f"{rank}_probability"] is not None:
                place = min(int(np.ceil(answer[f"{rank}_probability"] * 15)) - 1, 14)
                bins.setdefault(place, []).append((answer[rank] == truth[rank]) - answer[f"{rank}_probability"])
                count += 1
        if rank == "subfamily":
            assert count == 0 and ("calibration, subfamily", "accuracy") not in found
            continue
        error = found[f"calibration, {rank}", "expected_calibration_error"]
        assert error.value == pytest.approx(sum(abs(sum(gaps)) for gaps in bins.values()) / count)
        assert error.count == count and error.split == "test+test_unseen"
    for group, places in task.groups.items():
        covered = [row for row in places if answers[row]["safe_rank"] is not None]
        known = [row for row in covered if truths[row][answers[row]["safe_rank"]] is not None]
        wrong = [row for row in known if truths[row][answers[row]["safe_rank"]] != answers[row]["safe_taxon"]]
        assert 0 < len(wrong) < len(known) < len(covered) < len(places)
        coverage, error = (found[f"safe rank, {group}", metric] for metric in ("coverage", "error"))
        assert coverage.value == pytest.approx(len(covered) / len(places)) and coverage.count == len(places)
        assert error.value == pytest.approx(len(wrong) / len(known)) and error.count == len(known)
        assert error.split == task.splits[group]
    pairs = [
        (new, old)
        for new in answers[90:]
        for old in answers[:90]
        if new["novelty"] is not None and old["novelty"] is not None
    ]
    above = sum((new["novelty"] > old["novelty"]) + 0.5 * (new["novelty"] == old["novelty"]) for new, old in pairs)
    assert found["novelty", "auroc"].value == pytest.approx(above / len(pairs))


def test_names_are_safe_down_to_the_safe_rank(task: Task) -> None:
    table = made_table(task)
    safe: list[str | None] = [None] * len(task.queries)
    safe[:4] = ["species", "family", "genus", "species"]
    genera = [row["genus"] for row in task.queries]
    genera[2] = "Xus"
    table = with_column(with_column(table, "safe_rank", safe), "genus", genera)
    expected = [(name != row["genus"]) for name, row in zip(genera[:4], task.queries, strict=False) if row["genus"]]
    found = scores(task, table)
    # Of the genus three are safe: that with a safe family is not.
    assert found["safe at genus, all queries", "coverage"].value * len(task.queries) == pytest.approx(
        sum(genera[row] is not None for row in (0, 2, 3))
    )
    assert found["safe at genus, all queries", "error"].value == pytest.approx(sum(expected) / 3) and sum(expected) == 1
    assert found["safe at genus, unseen species", "coverage"].value == 0
    assert found["safe at genus, seen species", "coverage"].value == pytest.approx(
        found["safe at genus, all queries", "coverage"].value * 150 / 90
    )
    assert ("safe at subfamily, all queries", "coverage") not in found


def test_flags_of_new_species(task: Task) -> None:
    flags: list[bool | None] = [row >= 90 for row in range(150)]
    flags[0], flags[1], flags[100], flags[101], flags[102] = True, None, False, False, None
    found = scores(task, with_column(made_table(task), "novel", flags))
    # 89 old and 59 new queries have a flag; it is wrong for one old and two new ones.
    values = {metric: found["novel flag", metric] for metric in ("accuracy", "precision", "recall")}
    assert {metric: m.count for metric, m in values.items()} == {"accuracy": 148, "precision": 58, "recall": 59}
    expected = {"accuracy": 145 / 148, "precision": 57 / 58, "recall": 57 / 59}
    assert {metric: m.value for metric, m in values.items()} == pytest.approx(expected)


def test_nothing_is_told_of_a_library_without_calibration(task: Task) -> None:
    table = made_table(task)
    for name in [name for name in table.column_names if name.endswith("_probability") or name.startswith("nov")]:
        table = with_column(table, name, [None] * len(table))
    table = with_column(table, "safe_rank", [None] * len(table))
    found = scores(task, table)
    assert set(found) == {(f"safe rank, {group}", "coverage") for group in task.groups}
    assert all(m.value == 0 for m in found.values())


def test_risk_and_coverage_by_hand() -> None:
    task = made_task()
    table = made_table(task)
    count = len(task.queries)
    probabilities: list[float | None] = [None] * count
    probabilities[:5] = [0.9, 0.5, 0.9, 0.5, 0.2]
    names = [row["genus"] for row in task.queries]
    names[2] = names[4] = "Xus"
    table = with_column(with_column(table, "genus", names), "genus_probability", probabilities)
    risks, coverages = risk_and_coverage(task, table, "genus")
    # Equally sure names are taken together: two with one mistake, four with one, five with two.
    assert risks.tolist() == pytest.approx([1 / 2, 1 / 4, 2 / 5])
    assert coverages.tolist() == pytest.approx([2 / count, 4 / count, 5 / count])
    nothing = risk_and_coverage(task, table, "subfamily")
    assert [len(values) for values in nothing] == [0, 0] == [len(v) for v in confident(task, table, "subfamily")]
