from typing import Any

import numpy as np
import pytest

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.answers import Answers, Described
from bioscan_hf.identification.library import Library
from tests.identification.made_library import joined, library, specimens, without


def answers(count: int, nearest: int, seed: int, evidence: str) -> Answers:
    """Made up; every third query is not answered."""
    rng = np.random.default_rng(seed)
    return Answers(
        np.full(count, evidence, object),
        np.arange(count) % 3 > 0,
        rng.integers(0, 5, (count, len(RANKS))),
        rng.random((count, len(RANKS)), np.float32),
        rng.integers(-1, 7, count),
        rng.random(count, np.float32),
        rng.integers(0, 9, (count, nearest)),
        rng.random((count, nearest), np.float32),
        rng.random((count, nearest), np.float32),
    )


def assert_row(one: Answers, row: int, other: Answers, place: int) -> None:
    pairs: list[tuple[Any, Any]] = list(zip(one, other, strict=True))
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine[row], theirs[place])


@pytest.mark.parametrize("nearest", [1, 3])
def test_at_places(nearest: int) -> None:
    given = answers(6, nearest, 0, "barcode")
    nothing = Answers.none(1, nearest)
    placed = given.at(np.array([4, -1, 0, 1, 4]))
    for row, place in enumerate([4, None, None, 1, 4]):
        assert_row(placed, row, *((nothing, 0) if place is None else (given, place)))
    empty = Answers.none(0, nearest).at(np.array([-1, -1]))
    assert_row(empty, 1, nothing, 0)


def test_gaps_are_filled() -> None:
    one, other = answers(6, 2, 0, "barcode"), answers(6, 2, 1, "image")
    other = other._replace(answered=np.array([True, True, False, False, True, False]))
    filled = one.filled_up(other)
    for row, source in enumerate([other, one, one, one, one, one]):
        assert_row(filled, row, source, row)


def test_the_finest_name_of_a_specimen_is_told() -> None:
    given = specimens("train", 8)
    mixed = joined(given.select([0, 1, 2]), without(given.select([3, 4]), "species"))
    others = without(given.select([5]), "species", "genus", "subfamily", "family")
    made = Library.build(joined(mixed, others), calibration=specimens("val_unseen", 1))
    columns = Described.of(made).at(np.array([5, 0, -1, 3]))
    assert columns["taxon"].to_pylist() == [given[5]["order"], given[0]["species"], None, given[3]["genus"]]
    assert columns["processid"].to_pylist() == [
        given[5]["processid"],
        given[0]["processid"],
        None,
        given[3]["processid"],
    ]
    bins = Described.of(library()).columns["dna_bin"].to_pylist()
    assert bins == specimens("train")["dna_bin"][:]
