import random

import numpy as np
import pytest

from bioscan_hf.identification.gaps import align_with_gaps
from bioscan_hf.identification.letters import UNKNOWN, as_codes
from tests.identification.made_gene import made_barcodes

CONSENSUS = made_barcodes(1)[0]
CODES = as_codes([CONSENSUS])[0]


@pytest.mark.parametrize("first", [0, 40])
@pytest.mark.parametrize("last", [300, 260])
def test_a_barcode_without_gaps(first: int, last: int) -> None:
    columns = align_with_gaps(CONSENSUS[first:last], CONSENSUS)
    assert (columns[first:last] == CODES[first:last]).all()
    assert (columns[:first] == UNKNOWN).all() and (columns[last:] == UNKNOWN).all()


def test_letters_beyond_the_gene_are_left_out() -> None:
    draw = random.Random(1)
    before, after = ("".join(draw.choices("ACGT", k=150)) for _ in range(2))
    assert (align_with_gaps(before + CONSENSUS + after, CONSENSUS) == CODES).all()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_an_insertion_has_no_column_and_a_deletion_no_letter(count: int) -> None:
    inserted = align_with_gaps(CONSENSUS[:140] + "G" * count + CONSENSUS[140:], CONSENSUS)
    assert (inserted != CODES).sum() <= 2  # where it stands may be ambiguous
    deleted = align_with_gaps(CONSENSUS[:140] + CONSENSUS[140 + count :], CONSENSUS)
    assert (deleted == UNKNOWN).sum() == count
    assert ((deleted != CODES) & (deleted != UNKNOWN)).sum() <= 2


def test_letters_that_are_not_known() -> None:
    barcode = CONSENSUS[:100] + "NRYSWKMBDHV" + CONSENSUS[111:]
    columns = align_with_gaps(barcode, CONSENSUS)
    assert (columns[100:111] == UNKNOWN).all()
    assert (np.delete(columns, range(100, 111)) == np.delete(CODES, range(100, 111))).all()


def test_different_letters_are_no_gaps() -> None:
    draw = random.Random(2)
    for _ in range(10):
        letters = list(CONSENSUS)
        for place in draw.sample(range(10, 290), 45):
            letters[place] = draw.choice("ACGT".replace(letters[place], ""))
        assert (align_with_gaps("".join(letters), CONSENSUS) == as_codes(["".join(letters)])[0]).all()


@pytest.mark.parametrize("barcode", ["", "A", "N" * 50, "A" * 2000])
def test_what_is_no_barcode_is_no_error(barcode: str) -> None:
    columns = align_with_gaps(barcode, CONSENSUS)
    assert columns.shape == CODES.shape and columns.max() <= UNKNOWN
