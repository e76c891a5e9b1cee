"""FASTA files of barcodes, with the headers of BOLD and vsearch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from bioscan_hf.data.messages import shown
from bioscan_hf.data.raw_records import (
    CHARACTERS_PER_BATCH,
    LONGEST_RECORD,
    NO_VALUE,
    RECORDS_PER_BATCH,
    RawRecords,
    open_text,
    raw_records,
    too_long,
)

FASTA_ENDINGS = (".fasta", ".fas", ".fa", ".fna")
FASTA_COLUMNS = (
    *("processid", "dna_barcode", "marker_code", "country", "taxon"),
    *("phylum", "class", "order", "family", "subfamily", "genus", "species"),
)

# Ranks of the lineage in the headers of BOLD 5, in their order.
_BOLD_LINEAGE = ("kingdom", "phylum", "class", "order", "family", "subfamily", "tribe", "genus", "species")
_SINTAX_RANKS = {"p": "phylum", "c": "class", "o": "order", "f": "family", "g": "genus", "s": "species"}
_SINTAX = re.compile(r";tax=([^;]*)")
_SHOWN = 40
_END_OF_PROCESSID = re.compile(r"[|;\s]")


def read_fasta(path: Path, columns: Sequence[str] = FASTA_COLUMNS) -> Iterator[RawRecords]:
    """Read records; the place of each is the line of its header.

    The process id ends at the first `|`, `;` or white space of the header. Understood are, besides,

    - `>processid|identification|marker|accession` (BOLD 4; an identification of one word is no species),
    - `>processid|marker|country|kingdom,phylum,...,species` (BOLD 5, ten ranks with `tribe` and `subspecies`),
    - `>processid;tax=k:Animalia,p:Arthropoda,...,s:Genus_species;` (vsearch's SINTAX).

    Args:
        path: FASTA file.
        columns: Which of `FASTA_COLUMNS` to give; few take a fraction of the time.

    Yields:
        The columns, null where the header does not tell.

    Raises:
        ValueError: If the file is not text, does not start with a header, or has a record of absurd length.
    """
    parse = _marker_from_header if set(columns) <= {"processid", "dna_barcode", "marker_code"} else _from_header
    found: list[dict[str, str]] = []
    places: list[int] = []
    characters = 0
    with open_text(path) as lines:
        for place, header, letters in _records(lines, path):
            processid = _END_OF_PROCESSID.split(header, maxsplit=1)[0]
            found.append({**parse(header), "processid": processid, "dna_barcode": letters})
            places.append(place)
            characters += len(header) + len(letters)
            if len(found) == RECORDS_PER_BATCH or characters >= CHARACTERS_PER_BATCH:
                yield _batch(found, places, columns)
                found, places, characters = [], [], 0
        yield _batch(found, places, columns)


def _batch(found: list[dict[str, str]], places: list[int], columns: Sequence[str]) -> RawRecords:
    # Where no header names a marker, there is no such column: then a record without barcode is a mistake.
    marked = any("marker_code" in record for record in found)
    names = [name for name in columns if marked or name != "marker_code"]
    return raw_records({name: [record.get(name) for record in found] for name in names}, places)


def _records(lines: TextIO, path: Path) -> Iterator[tuple[int, str, str]]:
    """Line of the header, header and letters of each record."""
    header: str | None = None
    place = characters = 0
    letters: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(">"):
            if header is not None:
                yield place, header, "".join(letters)
            place, header, letters, characters = number, line[1:].strip(), [], 0
        elif header is None and line.strip():
            found = shown(line.strip(), _SHOWN)
            raise ValueError(f"'{path}', line {number}: expected '>' and a process id; got '{found}'.")
        else:
            letters.append(line.strip())
            characters += len(line)
            if characters > LONGEST_RECORD:
                raise too_long(path, place)
    if header is not None:
        yield place, header, "".join(letters)


def _marker_from_header(header: str) -> dict[str, str]:
    """What `_from_header` finds as marker, in a tenth of the time."""
    fields = header.split("|")
    if len(fields) < 3 or _SINTAX.search(header):
        return {}
    return {"marker_code": fields[1 if _is_bold_5(fields) else 2]}


def _is_bold_5(fields: Sequence[str]) -> bool:
    return len(fields) >= 4 and fields[3].count(",") >= len(_BOLD_LINEAGE) - 1


def _from_header(header: str) -> dict[str, str]:
    if sintax := _SINTAX.search(header):
        pairs = (pair.strip().partition(":") for pair in sintax[1].split(","))
        return _with_taxon({_SINTAX_RANKS[k]: name.replace("_", " ") for k, _, name in pairs if k in _SINTAX_RANKS})
    fields = [field.strip() for field in header.split("|")]
    if _is_bold_5(fields):
        lineage = dict(zip(_BOLD_LINEAGE, (name.strip() for name in fields[3].split(",")), strict=False))
        return {"marker_code": fields[1], "country": fields[2]} | _with_taxon(lineage)
    found = dict(zip(("taxon", "marker_code"), fields[1:3], strict=False))
    words = found.get("taxon", "").split()
    if len(words) > 1:
        found |= {"taxon": " ".join(words), "genus": words[0]}
        if words[1:] not in (["sp."], ["sp"]):
            found["species"] = found["taxon"]
    return found


def _with_taxon(lineage: dict[str, str]) -> dict[str, str]:
    named = [name for name in lineage.values() if name not in NO_VALUE]
    return {**lineage, "taxon": named[-1]} if named else lineage
