import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.identification.letters import UNKNOWN, as_codes, one_hot, reverse_complement
from bioscan_hf.tokenization.letters import IUPAC_LETTERS

BARCODE = st.text(IUPAC_LETTERS, max_size=20)


def test_codes_of_letters() -> None:
    codes = as_codes(["ACGT", "", "NRT"])
    assert codes.tolist() == [[0, 1, 2, 3], [UNKNOWN] * 4, [UNKNOWN, UNKNOWN, 3, UNKNOWN]]
    assert one_hot(codes)[2].tolist() == [[0] * 4, [0] * 4, [0, 0, 0, 1], [0] * 4]
    assert as_codes([]).shape[0] == 0
    assert one_hot(as_codes([])).shape[0] == 0


@given(BARCODE)
def test_the_other_strand_of_the_other_strand(barcode: str) -> None:
    assert reverse_complement(reverse_complement(barcode)) == barcode


def test_the_other_strand_of_every_letter() -> None:
    bases = {"R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC"}
    bases |= {"B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT"} | {base: base for base in "ACGT"}
    assert set(bases) == set(IUPAC_LETTERS)
    pair = dict(zip("ACGT", "TGCA", strict=True))
    for letter, meant in bases.items():
        assert bases[reverse_complement(letter)] == "".join(sorted(pair[base] for base in meant))


@given(st.lists(BARCODE, max_size=4))
def test_letter_by_letter(barcodes: list[str]) -> None:
    codes = as_codes(barcodes)
    for row, barcode in zip(codes, barcodes, strict=True):
        expected = ["ACGT".find(letter) for letter in barcode]
        assert np.where(row == UNKNOWN, -1, row.astype(int))[: len(barcode)].tolist() == expected
        assert (row[len(barcode) :] == UNKNOWN).all()
