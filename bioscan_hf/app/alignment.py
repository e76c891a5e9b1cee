"""A query over its nearest specimens, letter by letter, in the columns of the library's gene."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.identification.barcode_space import FITS
from bioscan_hf.identification.letters import UNKNOWN
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.packed import Packed

WIDTH = 60
"""Columns in a line."""
_LETTERS = "ACGT\u00b7"
# Under a letter that differs: seen without colours, too.
_MARK = "\u25b2"


@dataclass(frozen=True)
class Alignment:
    """Two barcodes in the same columns.

    Attributes:
        query: uint8 (C,): 0 to 3 for A, C, G, T, 4 where nothing is known.
        other: The same of the other barcode.
    """

    query: NDArray[np.uint8]
    other: NDArray[np.uint8]

    @property
    def shared(self) -> int:
        """Columns in which both have a letter."""
        return int(((self.query < UNKNOWN) & (self.other < UNKNOWN)).sum())

    @property
    def differs(self) -> NDArray[np.bool_]:
        """Bool (C,): whether both have a letter, and another one."""
        return (self.query < UNKNOWN) & (self.other < UNKNOWN) & (self.query != self.other)


def unpack(letters: Packed, columns: int) -> NDArray[np.uint8]:
    """Letters as `pack` took them: uint8 (N, columns)."""
    low, high, known = (
        np.unpackbits(np.ascontiguousarray(letters[:, plane]).view(np.uint8), axis=1)[:, :columns] for plane in range(3)
    )
    return np.where(known, low + 2 * high, UNKNOWN).astype(np.uint8)


def barcode_of(library: Library, key: int) -> str:
    """The letters of a key in the columns of the gene: the barcode itself would be searched for on the disk.

    Args:
        library: The library.
        key: Its key.
    """
    columns = unpack(np.asarray(library.letters[[key]]), len(library.barcodes.profile.log_odds))
    return "".join("ACGTN"[code] for code in columns[0]).strip("N")


def align(library: Library, barcode: str, rows: list[int]) -> list[Alignment]:
    """Lay a barcode beside those of some specimens of the library.

    Args:
        library: The library.
        barcode: Clean; it is turned if it is on the other strand.
        rows: Of the library's specimens.

    Returns:
        One for each row; none if the barcode does not fit the gene.
    """
    seen = library.barcodes.see([barcode])
    if not seen.has(FITS)[0]:
        return []
    columns = len(library.barcodes.profile.log_odds)
    query = unpack(seen.letters, columns)[0]
    keys = library.keys.of_specimen[rows]
    return [Alignment(query, other) for other in unpack(np.asarray(library.letters[keys]), columns)]


def alignment_html(alignment: Alignment, name: str) -> str:
    """Draw an alignment in lines of `WIDTH` columns, of those in which one of both has a letter.

    Args:
        alignment: The barcodes.
        name: Of the other one.
    """
    known = np.flatnonzero((alignment.query < UNKNOWN) | (alignment.other < UNKNOWN))
    first, last = int(known[0]), int(known[-1]) + 1
    different = int(alignment.differs.sum())
    count = f"{different} {'difference' if different == 1 else 'differences'}"
    blocks = [_block(alignment, start, min(start + WIDTH, last)) for start in range(first, last, WIDTH)]
    return (
        f'<p class="bs-muted">Above: the query. Below: {escape(name)}. {count} in {alignment.shared} shared letters, '
        f"each marked by {_MARK}; columns {first + 1} to {last} of the gene as the library has it; "
        f"{_LETTERS[UNKNOWN]} is no letter, or another than A, C, G, T.</p>"
        f'<div class="bs-alignment" role="img" aria-label="{count} in {alignment.shared} shared letters">'
        f"{''.join(blocks)}</div>"
    )


def _block(alignment: Alignment, start: int, stop: int) -> str:
    differs = alignment.differs[start:stop]
    upper, lower = (_line(codes[start:stop], differs) for codes in (alignment.query, alignment.other))
    marks = "".join(_MARK if different else " " for different in differs)
    room = " " * max(1, stop - start - len(str(start + 1)) - len(str(stop)))
    return (
        f'<pre><span class="bs-ruler">{start + 1}{room}{stop}</span>\n{upper}\n{lower}\n'
        f'<span class="bs-marks">{marks}</span></pre>'
    )


def _line(codes: NDArray[np.uint8], differs: NDArray[np.bool_]) -> str:
    """Letters of a line, with each that differs in an element of its own."""
    parts = []
    for different, group in groupby(zip(codes.tolist(), differs.tolist(), strict=True), key=lambda pair: pair[1]):
        letters = [_LETTERS[code] for code, _ in group]
        parts.append("".join(f"<b>{letter}</b>" for letter in letters) if different else "".join(letters))
    return "".join(parts)
