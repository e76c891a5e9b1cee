import numpy as np
import pytest
from datasets import Dataset

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.benchmark import (
    ALL,
    SEEN,
    UNSEEN,
    Answers,
    Settings,
    Speed,
    Task,
    is_named,
    names_of,
    score_names,
    score_speed,
)
from tests.identification.made_benchmark import made_specimens, made_task, specimen


def test_keys_queries_and_their_groups() -> None:
    task = made_task()
    assert set(task.keys["split"]) == {"train"} and len(task.keys) == 18
    assert task.queries["split"][:] == ["test"] * 18 + ["test_unseen"] * 12
    assert {group: len(rows) for group, rows in task.groups.items()} == {SEEN: 18, UNSEEN: 12, ALL: 30}
    assert task.splits == {SEEN: "test", UNSEEN: "test_unseen", ALL: "test+test_unseen"}
    unseen = {task.truth["species"][row] for row in task.groups[UNSEEN]}
    assert unseen == {"Aus fus", "Dus gus"} and not unseen & set(task.key_names["species"])


def test_a_group_without_queries_is_left_out() -> None:
    task = made_task([row for row in made_specimens() if row["split"] != "test_unseen"])
    assert list(task.groups) == [SEEN, ALL]
    assert len(task.labelled("genus", UNSEEN)) == 0


@pytest.mark.parametrize(("left", "counts"), [("train", "18 keys and 0 queries"), ("test", "0 keys and 18 queries")])
def test_keys_and_queries_must_be_there(left: str, counts: str) -> None:
    specimens = Dataset.from_list([row for row in made_specimens() if row["split"] == left])
    with pytest.raises(ValueError, match=f"keys in the split 'train' and queries in 'test' .* got {counts}"):
        Task(specimens, specimens, Settings())


def test_accuracy_is_over_queries_with_a_label() -> None:
    rows = [specimen(0, "Aus bus", "train"), specimen(1, "Dus eus", "train")]
    rows += [specimen(n, "Aus bus", "test") for n in (2, 3, 4)]
    rows += [specimen(5, None, "test", family="Ausidae"), specimen(6, "Aus fus", "test_unseen")]
    rows += [specimen(7, "Dus gus", "test_unseen", family="")]
    task = made_task(rows)
    # The second key is of another species, and the fourth query has a family only.
    answers = Answers("A program", task.named_as(np.array([0, 1, -1, 0, 0, 0])), Speed(1))
    found = {m.benchmark: (m.value, m.count, m.split) for m in score_names(task, answers)}
    assert found == {
        "species, seen species": (pytest.approx(1 / 3), 3, "test"),
        "genus, seen species": (pytest.approx(1 / 3), 3, "test"),
        "family, seen species": (0.5, 4, "test"),
        "order, seen species": (0.75, 4, "test"),
        "genus, unseen species": (0.5, 2, "test_unseen"),
        "family, unseen species": (1, 1, "test_unseen"),
        "order, unseen species": (1, 2, "test_unseen"),
    }


def test_names_of_hits() -> None:
    task = made_task()
    hits = np.random.default_rng(0).integers(-1, len(task.keys), len(task.queries))
    named = task.named_as(hits)
    for rank in RANKS:
        column = task.keys[rank][:]
        assert named[rank].tolist() == [None if hit < 0 else column[hit] for hit in hits]


def test_an_empty_name_is_none() -> None:
    names = names_of(["Aus", "", None])
    assert names.tolist() == ["Aus", None, None] and is_named(names).tolist() == [True, False, False]


def test_speed_of_a_program_and_of_what_is_none() -> None:
    task = made_task()
    whole = {m.metric: (m.value, m.count, m.split) for m in score_speed(task, Speed(2, 6, 4, 50_000_000))}
    about = (30, "test+test_unseen")
    assert whole == {
        "queries_per_second": (15, *about),
        "queries_per_second_with_start": (5, *about),
        "cpu_seconds": (4, *about),
        "peak_megabytes": (50, *about),
    }
    assert [(m.metric, m.value) for m in score_speed(task, Speed(3))] == [("queries_per_second", 10)]


@pytest.mark.parametrize("error", [0, 1, float("nan")])
def test_an_error_out_of_range_is_refused(error: float) -> None:
    with pytest.raises(ValueError, match=f"`max_error` must be between 0 and 1, such as 0.01; got {error}"):
        Settings(max_error=error)
