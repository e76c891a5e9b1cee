"""Alignment with gaps, for the few barcodes that do not fit without."""

from __future__ import annotations

import re

import numpy as np
import parasail
from numpy.typing import NDArray

from bioscan_hf.identification.letters import CODES, UNKNOWN

_OTHERS = str.maketrans(dict.fromkeys("RYSWKMBDHV", "N"))
# Scores of an alignment with affine gaps, about those of BLAST's task for distant sequences (5, -4, 12, 8): gaps that
# cost no more than a different letter would be put wherever barcodes differ. An unknown letter costs nothing.
_OPEN, _EXTEND = 12, 3
_MATCHES = parasail.matrix_create("ACGTN", 5, -4)
_MATCHES[4, 0:5] = 0
_MATCHES[0:5, 4] = 0
_STEP = re.compile(r"(\d+)([=XID])")


def align_with_gaps(barcode: str, consensus: str) -> NDArray[np.uint8]:
    """Align a barcode with a gene.

    Args:
        barcode: Clean letters.
        consensus: The most frequent letter of each of C columns.

    Returns:
        uint8 (C,): the letters in the columns; those without column are left out.
    """
    columns = np.full(len(consensus), UNKNOWN, np.uint8)
    if not barcode:
        return columns
    text = barcode.translate(_OTHERS)
    cigar = parasail.sg_trace_striped_16(text, consensus, _OPEN, _EXTEND, _MATCHES).cigar
    letters = CODES[np.frombuffer(text.encode(), np.uint8)]
    place, column = cigar.beg_query, cigar.beg_ref
    for length, step in _STEP.findall(cigar.decode.decode()):
        count = int(length)
        if step in "=X":
            columns[column : column + count] = letters[place : place + count]
        place += count if step != "D" else 0
        column += count if step != "I" else 0
    return columns
