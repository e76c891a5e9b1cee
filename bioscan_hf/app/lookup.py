"""What somebody typed into the search box of the library: a taxon, a process id or a BIN."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bioscan_hf.app.served import Served
from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.library import Library


class Found(NamedTuple):
    """What was found.

    Attributes:
        row: The first of the specimens.
        keys: Which keys of the library they have, (K,).
        rank: Of the taxon; None for a process id or a BIN.
        message: What it is and how many specimens there are, for the page; not escaped.
    """

    row: int
    keys: NDArray[np.bool_]
    rank: str | None
    message: str


def find_specimens(served: Served, text: str) -> Found:
    """Find specimens by process id, BIN or name, whatever the letter case; parts of names where no whole one fits.

    Args:
        served: Its library is looked through.
        text: What was typed.

    Raises:
        ValueError: If nothing is found; the message is for the page.
    """
    wanted = " ".join(text.split()).lower()
    if not wanted:
        raise ValueError("Type the name of a taxon, a process id or a BIN.")
    return _by_id(served, wanted) or _by_name(served.library, wanted) or _fail(text)


def _fail(text: str) -> Found:
    raise ValueError(f"The library has no taxon, process id or BIN like “{text.strip()[:60]}”.")


def _by_id(served: Served, wanted: str) -> Found | None:
    for name, title in (("processid", "Process id"), ("dna_bin", "BIN")):
        column = served.facts[name]
        same = pc.equal(pc.utf8_lower(column.cast(pa.string())), wanted)
        rows = np.flatnonzero(same.fill_null(False).to_numpy())
        if len(rows):
            return _found(served.library, rows, None, f"{title} {column[int(rows[0])].as_py()}")
    return None


def _by_name(library: Library, wanted: str) -> Found | None:
    lower = {rank: [name.lower() for name in library.taxa[rank]] for rank in RANKS}
    # The finest rank first; whole names before beginnings, and these before other parts.
    for fits in (str.__eq__, str.startswith, str.__contains__):
        for place, rank in reversed(list(enumerate(RANKS))):
            labels = [label for label, name in enumerate(lower[rank]) if fits(name, wanted)]
            if labels:
                inside = np.isin(library.keys.labels[:, place], labels)
                rows = np.flatnonzero(inside[library.keys.of_specimen])
                first = library.taxa[rank][labels[0]]
                more = "" if len(labels) == 1 else f" and {len(labels) - 1:,} others of its rank"
                return _found(library, rows, rank, f"{first} ({rank}){more}")
    return None


def _found(library: Library, rows: NDArray[np.int64], rank: str | None, what: str) -> Found:
    keys = np.zeros(len(library.keys.first), bool)
    keys[library.keys.of_specimen[rows]] = True
    number = "1 specimen" if len(rows) == 1 else f"{len(rows):,} specimens, of which you see the first"
    return Found(int(rows[0]), keys, rank, f"{what}: {number}.")
