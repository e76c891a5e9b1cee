import re

import numpy as np
import pytest

from bioscan_hf.app.alignment import WIDTH, Alignment, align, alignment_html, barcode_of, unpack
from bioscan_hf.identification.letters import reverse_complement
from bioscan_hf.identification.packed import pack
from tests.app.made_app import hostile, served
from tests.identification.made_library import library, non_coi, specimens

TEST = specimens("test", 12)


@pytest.mark.parametrize("columns", [1, 60, 64, 65, 240])
def test_unpacking_undoes_packing(columns: int) -> None:
    letters = np.random.default_rng(columns).integers(0, 5, (7, columns)).astype(np.uint8)
    assert np.array_equal(unpack(pack(letters), columns), letters)


def test_differences_are_those_of_the_identity() -> None:
    table = served().identifier(TEST["dna_barcode"][:])
    for barcode, row in zip(TEST["dna_barcode"], table.to_pylist(), strict=True):
        for prefix in ("nearest_", "nearest_5_"):
            (found,) = align(served().library, barcode, [served().row_of(row[f"{prefix}processid"])])
            assert 1 - found.differs.sum() / found.shared == pytest.approx(row[f"{prefix}identity"], abs=1e-6)


def test_the_other_strand_is_turned() -> None:
    barcode = TEST[0]["dna_barcode"]
    (one,), (other,) = (align(served().library, text, [3]) for text in (barcode, reverse_complement(barcode)))
    assert np.array_equal(one.query, other.query) and np.array_equal(one.other, other.other)


def test_what_does_not_fit_is_not_aligned() -> None:
    assert align(served().library, non_coi(), [0]) == []


def made(query: str, other: str) -> Alignment:
    codes = [np.array(["ACGT-".index(letter) for letter in text], np.uint8) for text in (query, other)]
    return Alignment(codes[0], codes[1])


def lines(html: str) -> list[list[str]]:
    """Ruler, query, other and marks of each block, without tags."""
    return [re.sub(r"<[^>]+>", "", block).split("\n") for block in re.findall(r"<pre>(.*?)</pre>", html, re.DOTALL)]


def test_a_small_one() -> None:
    html = alignment_html(made("--ACGTA-", "-TACCTAA"), "P1")
    ((ruler, query, other, marks),) = lines(html)
    assert (query, other, marks) == ("·ACGTA·", "TACCTAA", "   ▲   ")
    assert ruler.split() == ["2", "8"] and html.count("<b>") == 2
    assert "1 difference in 5 shared letters" in html and "columns 2 to 8" in html


def test_long_ones_are_drawn_in_lines() -> None:
    rng = np.random.default_rng(0)
    query, other = ("".join(rng.choice(list("ACGT"), 150)) for _ in range(2))
    blocks = lines(alignment_html(made(query, other), "P1"))
    assert [len(block[1]) for block in blocks] == [WIDTH, WIDTH, 30]
    assert "".join(block[1] for block in blocks) == query and "".join(block[2] for block in blocks) == other
    marked = "".join(block[3] for block in blocks)
    assert [mark == "▲" for mark in marked] == [a != b for a, b in zip(query, other, strict=True)]
    assert [block[0].split() for block in blocks] == [["1", "60"], ["61", "120"], ["121", "150"]]


def test_names_are_escaped() -> None:
    assert "<script" not in alignment_html(made("ACGT", "ACGT"), hostile())


def test_barcodes_come_back_from_their_columns() -> None:
    barcodes = [barcode_of(library(), key) for key in range(0, len(library().keys.first), 9)]
    firsts = library().keys.first[::9].tolist()
    # The columns of the gene are those that many barcodes have; an ambiguous letter is unknown.
    for barcode, row in zip(barcodes, firsts, strict=True):
        assert len(barcode) > 100 and barcode in re.sub("[^ACGT]", "N", specimens("train")[row]["dna_barcode"])
    _, neighbours, _ = library().ask(barcodes)
    assert neighbours.identities is not None and (neighbours.identities[:, 0] == 1).all()
