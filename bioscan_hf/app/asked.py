"""What somebody typed and dropped on the page, as queries; what is wrong with all of it is an error."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioscan_hf.data.raw_records import RECORDS_PER_BATCH
from bioscan_hf.identification.queries import Queries, read_queries

MAX_QUERIES = 1000
"""That one page names; `bioscan identify` has no limit."""
MAX_LETTERS = 4_000_000
"""Letters of the text box, which is room for `MAX_QUERIES` whole genes and their names."""
TABLE_ENDINGS = (".fasta", ".fas", ".fa", ".fna", ".csv", ".tsv", ".parquet", ".gz")
# Editors and databases wrap barcodes into lines of 50 to 100 letters.
_WRAPPED = range(50, 101)

Photograph = tuple[str, str | None]
"""Path of a file, and what it is called; by default as its file."""


def read_asked(text: str, table: str | None = None, photographs: Sequence[Photograph] = ()) -> Queries:
    """Put together what is asked for.

    A photograph belongs to the barcode of its name, and a single one to a single barcode; all others are queries of
    their own.

    Args:
        text: Barcodes, one in a line or wrapped into lines of the same length, or FASTA.
        table: File of barcodes, see `read_queries`.
        photographs: Image files.

    Returns:
        Queries, of which each has a barcode, an image, both, or a note on what is wrong with it.

    Raises:
        ValueError: If there is nothing, too much, or nothing that can be identified; the message is for the page.
    """
    if len(text) > MAX_LETTERS:
        raise ValueError(f"The text has {len(text):,} letters, more than {MAX_LETTERS:,}. {_USE_THE_PROGRAM}")
    parts = []
    if text.strip():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text.fasta"
            path.write_text(as_fasta(text), encoding="utf-8", errors="replace")
            parts.append(_read(path, "the text"))
    if table is not None:
        parts.append(_read(Path(table), f"'{Path(table).name}'"))
    queries = _with_photographs(_joined(parts), photographs)
    if not queries.processids:
        raise ValueError("There is nothing to identify yet: paste a barcode, or add a file or a photograph.")
    if len(queries.processids) > MAX_QUERIES:
        raise ValueError(f"These are more than {MAX_QUERIES:,} queries, the most for this page. {_USE_THE_PROGRAM}")
    if not any(queries.barcodes) and not any(queries.images or ()):
        raise ValueError(_sentence(queries))
    return queries


_USE_THE_PROGRAM = "For more, run `bioscan identify FILE --library LIBRARY`, which has no limit."


def as_fasta(text: str) -> str:
    r"""Write bare barcodes as FASTA; FASTA stays as it is.

    >>> as_fasta("acgt\nacga")
    '>barcode-1\nacgt\n>barcode-2\nacga\n'
    """
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if any(line.startswith(">") for line in lines):
        return "\n".join(lines) + "\n"
    # GenBank counts the letters before each line, and leaves gaps between them.
    lines = [line.lstrip("0123456789").replace(" ", "") for line in lines]
    first, *middle = [len(line) for line in lines[:-1]] or [0]
    if first in _WRAPPED and set(middle) <= {first} and len(lines[-1]) <= first:
        lines = ["".join(lines)]
    return "".join(f">barcode-{number}\n{line}\n" for number, line in enumerate(lines, 1))


def _read(path: Path, name: str) -> Queries:
    """Read no more than the page takes, and one."""
    parts: list[Queries] = []
    try:
        # Without images: a path in a table must not open a file of the computer that serves the page.
        for part in read_queries(path, image=False, batch_size=min(MAX_QUERIES + 1, RECORDS_PER_BATCH)):
            parts.append(part)
            if sum(len(part.processids) for part in parts) > MAX_QUERIES:
                break
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0].replace(f"'{path}'", name).replace(str(path), name)
        raise ValueError(reason[:1].upper() + reason[1:]) from error
    return _joined(parts)


def _joined(parts: Sequence[Queries]) -> Queries:
    """All queries; those that share a name with an earlier part are still told apart by their order."""
    none = np.empty(0)
    return Queries(
        [name for part in parts for name in part.processids],
        [barcode for part in parts for barcode in part.barcodes],
        None,
        [note for part in parts for note in part.notes],
        np.concatenate([none, *(part.latitudes for part in parts)]),
        np.concatenate([none, *(part.longitudes for part in parts)]),
    )


def _with_photographs(queries: Queries, photographs: Sequence[Photograph]) -> Queries:
    if not photographs:
        return queries
    names, barcodes, notes = list(queries.processids), list(queries.barcodes), list(queries.notes)
    images: list[dict[str, str | None] | None] = [None] * len(names)
    alone = len(names) == len(photographs) == 1
    place_of = {name: place for place, name in reversed(list(enumerate(names)))}
    for path, given in photographs:
        name = given or Path(path).stem
        place = 0 if alone else place_of.get(name, -1)
        image = {"bytes": None, "path": path}
        if place >= 0 and images[place] is None:
            images[place] = image
            continue
        names.append(name)
        barcodes.append(None)
        notes.append(None)
        images.append(image)
    nowhere = np.full(len(names) - len(queries.processids), np.nan)
    places = (np.concatenate([column, nowhere]) for column in (queries.latitudes, queries.longitudes))
    return Queries(names, barcodes, images, notes, *places)


def _sentence(queries: Queries) -> str:
    """Why none of the queries can be identified."""
    if len(queries.notes) == 1:
        # In notes, which are joined by semicolons, the reason has commas.
        note = (queries.notes[0] or "the barcode is empty").replace(", expected", "; expected")
        reason = re.sub(r"^the barcode", "This text", note)
        return f"{reason[:1].upper()}{reason[1:]}."
    first = next(filter(None, queries.notes), "the barcode is empty")
    return f"None of the {len(queries.notes):,} barcodes can be read; the first: {first}."
