from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report, by_length

PROTEIN = "MTNIRKTHPLMKIVNNAFIDLPAPSNISSWWNFGSLLGICLILQILTGLFLAMHYTSDTTTAFSS"


class Lengths(BarcodeEncoder):
    name, dimension, min_letters = "lengths", 2, 4

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        self.seen += barcodes
        return np.array([[len(barcode), barcode.count("A")] for barcode in barcodes], np.float32)


def specimens_with(barcodes: Sequence[Any]) -> Dataset:
    return Dataset.from_dict({"processid": [f"P{i}" for i in range(len(barcodes))], "dna_barcode": list(barcodes)})


@given(st.lists(st.text("ACGT", min_size=4, max_size=6), min_size=1, max_size=20))
def test_each_distinct_barcode_is_computed_once(barcodes: list[str]) -> None:
    encoder = Lengths()
    vectors = encoder.embed(specimens_with(barcodes))
    np.testing.assert_array_equal(vectors, Lengths().encode(barcodes))
    assert encoder.seen == sorted(set(barcodes))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, "missing"),
        ("", "empty"),
        ("ACG", "3 letters; it needs at least 4"),
        ("acgtacgt", "'a' at position 1"),
        ("A" * 2001, "2,001 letters"),
        (PROTEIN, "protein"),
        ("12345", "number"),
    ],
)
def test_a_bad_barcode_is_named(bad: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"barcode of 'P1' cannot be embedded: .*{reason}"):
        Lengths().embed(specimens_with(["ACGTACGT", bad, "ACGT", bad]))


def test_numbers_and_missing_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"barcode of 'P0' cannot be embedded: .*number 3"):
        Lengths().embed(specimens_with([3, 4]))
    with pytest.raises(ValueError, match=r"need the column 'dna_barcode'; they have \['processid'\]"):
        Lengths().embed(specimens_with(["ACGT"]).select_columns("processid"))


def test_the_format_of_the_specimens_does_not_matter() -> None:
    specimens = specimens_with(["ACGT", "AACGT"])
    np.testing.assert_array_equal(Lengths().embed(specimens.with_format("arrow")), Lengths().embed(specimens))


@given(st.lists(st.text("ACGT", max_size=9), max_size=30), st.integers(1, 8))
def test_batches_hold_every_row_once_and_short_barcodes_first(barcodes: list[str], batch_size: int) -> None:
    batches = by_length(barcodes, batch_size)
    rows = [int(row) for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(barcodes))) and all(0 < len(batch) <= batch_size for batch in batches)
    lengths = [len(barcodes[row]) for row in rows]
    assert lengths == sorted(lengths) and len(batches) == -(-len(barcodes) // batch_size)


def test_a_batch_needs_a_barcode() -> None:
    with pytest.raises(ValueError, match="at least 1; got 0"):
        by_length(["A"], 0)
