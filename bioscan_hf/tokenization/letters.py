"""What a barcode is written with, and what is wrong with a text that is none."""

from __future__ import annotations

import math
import string
from numbers import Number

# The four bases, and the codes for several of them (Cornish-Bowden 1985); U is written T, and gaps are left out.
IUPAC_LETTERS = "ACGTNRYSWKMBDHV"
GAPS = " \t\n\r\f\v-."
# The whole gene COI has about 1,540 letters, its barcode region 658: what is longer is something else, or more of it.
MAX_LETTERS = 2000

_CLEAN = str.maketrans(string.ascii_lowercase + "Uu", string.ascii_uppercase + "TT", GAPS)
# Amino acids, and the stop, whose letters are no nucleotide codes. Some third of the letters of a protein are such.
_PROTEIN_LETTERS = frozenset("EFILPQZJOX*")
_BASES = "ACGTN"
_SHOWN_LETTERS = 6


def clean_barcode(barcode: object, *, min_letters: int = 1) -> str:
    """Write a barcode as the datasets of this package do: as upper-case IUPAC letters without gaps.

    Args:
        barcode: Nucleotides in any letter case, with T or U, white space and gaps (`-`, `.`).
        min_letters: As in `why_no_barcode`.

    Raises:
        ValueError: If it is no barcode; the message is the reason of `why_no_barcode`.

    >>> clean_barcode("aac-auu n")
    'AACATTN'
    """
    clean = barcode.translate(_CLEAN) if isinstance(barcode, str) else barcode
    reason = why_no_barcode(clean, min_letters=min_letters)
    if reason is not None:
        raise ValueError(f"{reason[0].upper()}{reason[1:]}.")
    return str(clean)


def why_no_barcode(barcode: object, *, min_letters: int = 1) -> str | None:
    """Say why something is no barcode.

    Args:
        barcode: What should be a barcode, clean already (see `clean_barcode`).
        min_letters: Letters that it needs, such as the k of a model.

    Returns:
        The reason, to be continued or ended with a full stop; None if there is nothing wrong.

    >>> why_no_barcode("ACGE")
    "the barcode has 'E' at position 4; expected ACGTNRYSWKMBDHV"
    """
    if not isinstance(barcode, str):
        return _why_no_text(barcode)
    if not barcode:
        return "the barcode is empty"
    if barcode.strip(IUPAC_LETTERS):
        return _why_no_nucleotides(barcode)
    if len(barcode) < min_letters:
        return f"the barcode has {len(barcode)} letters; it needs at least {min_letters}"
    if len(barcode) > MAX_LETTERS:
        return (
            f"the barcode has {len(barcode):,} letters, more than {MAX_LETTERS:,} (the whole gene COI has about "
            "1,540); cut the barcode out of it"
        )
    return None


def _why_no_text(barcode: object) -> str:
    # NaN is what pandas makes of an empty field.
    if barcode is None or (isinstance(barcode, float) and math.isnan(barcode)):
        return f"the barcode is missing ({barcode})"
    if isinstance(barcode, Number):
        return f"the barcode is the number {barcode}; expected {IUPAC_LETTERS}"
    return f"the barcode must be a text; got {type(barcode).__name__}"


def _why_no_nucleotides(barcode: str) -> str:
    if barcode.isdecimal():
        return f"the barcode is the number {barcode[:20]}; expected {IUPAC_LETTERS}"
    other = list(dict.fromkeys(letter for letter in barcode if letter not in IUPAC_LETTERS))
    found = f"has {other[0]!r} at position {barcode.index(other[0]) + 1}"
    if len(other) > 1:
        more = ", ..." if len(other) > _SHOWN_LETTERS else ""
        found += f", and {', '.join(map(repr, other[1:_SHOWN_LETTERS]))}{more}"
    bases = sum(map(barcode.count, _BASES))
    if _PROTEIN_LETTERS.intersection(other) and bases < len(barcode) / 2:
        return f"the barcode looks like a protein: it {found}; expected nucleotides ({IUPAC_LETTERS})"
    return f"the barcode {found}; expected {IUPAC_LETTERS}"
