import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.tokenization.letters import GAPS, IUPAC_LETTERS, MAX_LETTERS, clean_barcode, why_no_barcode

# The start of the protein that the barcode of a fly codes for.
PROTEIN = "MFINRWLFSTNHKDIGTLYFIFGAWAGMVGTSLSILIRAELGHPGALIGDDQIYNVIVTAHAFIMIFFMVMPIMIGGFGNWLVPLMLGAPD"


@given(barcode=st.text(IUPAC_LETTERS, min_size=1), data=st.data())
def test_case_uracil_and_gaps_make_no_difference(barcode: str, data: st.DataObject) -> None:
    written = "".join(
        data.draw(st.sampled_from([letter, letter.lower(), *("Uu" if letter == "T" else "")]))
        + data.draw(st.text(GAPS, max_size=2))
        for letter in barcode
    )
    assert clean_barcode(written) == barcode


@given(barcode=st.text("ACGTNRYSWKMBDHVacgtu-. EFILPQZJOX*1é", max_size=30))
def test_what_is_clean_is_a_barcode_and_stays_as_it_is(barcode: str) -> None:
    try:
        clean = clean_barcode(barcode)
    except ValueError:
        letters = set(barcode.upper()) - set(GAPS)
        assert not letters or letters - set(IUPAC_LETTERS + "U")
    else:
        assert clean and not set(clean) - set(IUPAC_LETTERS)
        assert why_no_barcode(clean) is None and clean_barcode(clean) == clean


@pytest.mark.parametrize(
    ("barcode", "reason"),
    [
        (None, "the barcode is missing (None)"),
        (math.nan, "the barcode is missing (nan)"),
        (np.float64("nan"), "the barcode is missing (nan)"),
        (658, "the barcode is the number 658; expected ACGTNRYSWKMBDHV"),
        (Decimal("6.5"), "the barcode is the number 6.5; expected ACGTNRYSWKMBDHV"),
        (np.int64(3), "the barcode is the number 3; expected ACGTNRYSWKMBDHV"),
        (b"ACGT", "the barcode must be a text; got bytes"),
        (["ACGT"], "the barcode must be a text; got list"),
        ("", "the barcode is empty"),
        ("658", "the barcode is the number 658; expected ACGTNRYSWKMBDHV"),
        ("ACGÉ", "the barcode has 'É' at position 4; expected ACGTNRYSWKMBDHV"),
        ("ACGTACGE", "the barcode has 'E' at position 8; expected ACGTNRYSWKMBDHV"),
        ("ACQTAEGQ", "the barcode has 'Q' at position 3, and 'E'; expected ACGTNRYSWKMBDHV"),
        ("AC0123456", "the barcode has '0' at position 3, and '1', '2', '3', '4', '5', ...; expected ACGTNRYSWKMBDHV"),
        ("RYKMS1", "the barcode has '1' at position 6; expected ACGTNRYSWKMBDHV"),
        (
            PROTEIN,
            "the barcode looks like a protein: it has 'F' at position 2, and 'I', 'L', 'E', 'P', 'Q'; expected "
            "nucleotides (ACGTNRYSWKMBDHV)",
        ),
        (
            "MKKVW*",
            "the barcode looks like a protein: it has '*' at position 6; expected nucleotides (ACGTNRYSWKMBDHV)",
        ),
        (
            "A" * (MAX_LETTERS + 1),
            "the barcode has 2,001 letters, more than 2,000 (the whole gene COI has about 1,540); cut the barcode out "
            "of it",
        ),
    ],
)
def test_what_is_no_barcode_is_named(barcode: object, reason: str) -> None:
    assert why_no_barcode(barcode) == reason
    with pytest.raises(ValueError) as error:
        clean_barcode(barcode)
    assert str(error.value) == reason[0].upper() + reason[1:] + "."


@given(start=st.integers(0, len(PROTEIN) - 20), length=st.integers(20, 60))
def test_any_piece_of_a_protein_is_found(start: int, length: int) -> None:
    assert "protein" in (why_no_barcode(PROTEIN[start : start + length]) or "")


@given(barcode=st.text("ACGT", min_size=20), letters=st.text("EFILPQZJOX*", min_size=1, max_size=9))
def test_a_barcode_with_a_few_odd_letters_is_no_protein(barcode: str, letters: str) -> None:
    assert "protein" not in (why_no_barcode(barcode + letters) or "")


def test_gaps_alone_are_no_barcode() -> None:
    with pytest.raises(ValueError, match=r"The barcode is empty\."):
        clean_barcode(" -.\t\n\f\r\v")


def test_limits_are_inclusive() -> None:
    assert why_no_barcode("A" * MAX_LETTERS) is None and why_no_barcode("ACGT", min_letters=4) is None
    assert why_no_barcode("ACG", min_letters=4) == "the barcode has 3 letters; it needs at least 4"
    with pytest.raises(ValueError, match="it needs at least 4"):
        clean_barcode("ac-g", min_letters=4)
