import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioscan_hf.app.answering import agreed_rank, answer
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.queries import Queries
from bioscan_hf.identification.results import results_schema
from bioscan_hf.identification.writers import result_writer
from tests.app.made_app import pictured, served, served_with_images
from tests.identification.made_library import specimens

TEST = specimens("test", 3)


def queries(barcodes: list[str | None], images: list[Any] | None = None) -> Queries:
    names = [f"Q{number}" for number in range(len(barcodes))]
    nowhere = np.full(len(names), np.nan)
    return Queries(names, barcodes, images, [None] * len(names), nowhere, nowhere)


def image(row: int) -> dict[str, Any]:
    """Of a specimen of the library."""
    stored: dict[str, Any] = pictured().with_format("arrow")["image"][row].as_py()
    return stored


def test_barcodes_are_named_as_by_the_identifier() -> None:
    answered = answer(served().identifier, queries(TEST["dna_barcode"][:]))
    expected = served().identifier(TEST["dna_barcode"][:], ["Q0", "Q1", "Q2"])
    assert answered.table.equals(expected)
    assert [len(rows) for rows in answered.rows] == [1, 1, 1]


def test_a_query_with_both_is_named_by_each_for_itself() -> None:
    identifier: Identifier = served_with_images().identifier
    barcodes = pictured()["dna_barcode"][:]
    asked = queries([barcodes[0], None, barcodes[2], barcodes[3]], [image(0), image(1), None, image(9)])
    answered = answer(identifier, asked)
    assert answered.table["processid"].to_pylist() == ["Q0", "Q0", "Q1", "Q2", "Q3", "Q3"]
    assert [[row["evidence"] for row in rows] for rows in answered.rows] == [
        ["barcode", "image"],
        ["image"],
        ["barcode"],
        ["barcode", "image"],
    ]
    ids = pictured()["processid"][:]
    nearest = [row["nearest_processid"] for row in answered.table.to_pylist() if row["evidence"] == "image"]
    assert nearest == [ids[0], ids[1], ids[9]]
    by_barcode = identifier([barcodes[0], barcodes[2], barcodes[3]], ["Q0", "Q2", "Q3"])
    assert answered.table.take([0, 3, 4]).equals(by_barcode)


def test_a_damaged_image_leaves_the_barcode_its_name() -> None:
    asked = queries([pictured()[0]["dna_barcode"]], [{"bytes": b"no", "path": None}])
    answered = answer(served_with_images().identifier, asked)
    one, other = answered.rows[0]
    assert one["species"] and other["evidence"] is None and "cannot be decoded" in other["notes"]


def test_csv_is_that_of_the_program(tmp_path: Path) -> None:
    answered = answer(served().identifier, queries([*TEST["dna_barcode"], None]))
    with result_writer(tmp_path / "n.csv", results_schema(5)) as write:
        write(answered.table)
    assert answered.csv() == (tmp_path / "n.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(answered.csv().decode())))
    assert [row["species"] for row in rows] == [name or "" for name in answered.table["species"].to_pylist()]


@pytest.mark.parametrize("rank", [None, *RANKS])
def test_where_two_rows_agree(rank: str | None) -> None:
    depth = -1 if rank is None else RANKS.index(rank)
    one = {name: f"A{place}" for place, name in enumerate(RANKS)}
    other = {name: f"A{place}" if place <= depth else f"B{place}" for place, name in enumerate(RANKS)}
    assert agreed_rank([one, other]) == rank


def test_no_names_agree_in_nothing() -> None:
    assert agreed_rank([dict.fromkeys(RANKS), dict.fromkeys(RANKS)]) is None
