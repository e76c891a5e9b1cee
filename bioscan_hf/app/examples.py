"""Queries to click on: a known species, a new one, another strand, a photograph."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from bioscan_hf.app.alignment import barcode_of
from bioscan_hf.app.pictures import Pictures
from bioscan_hf.app.served import Served
from bioscan_hf.data.selection import select_split
from bioscan_hf.data.specimens import load_specimens
from bioscan_hf.identification.barcode_space import FITS
from bioscan_hf.identification.letters import reverse_complement

_LINE = 60
# Specimens of a library among which one with a photograph is looked for.
_LOOKED_AT = 1000


class Example(NamedTuple):
    """A query to click on.

    Attributes:
        label: Of the button.
        text: What goes into the text box.
        photograph: File that goes beside it, and what it is called; None for none.
    """

    label: str
    text: str
    photograph: tuple[str, str] | None = None


def examples_of(served: Served, folder: Path) -> list[Example]:
    """Queries that fit what is served: of the sample specimens that its library lacks, else specimens of the library.

    Args:
        served: What is served.
        folder: Takes the photographs.
    """
    return list(_of_sample(served, folder) if served.simulated else _of_library(served, folder))


def _of_sample(served: Served, folder: Path) -> Iterator[Example]:
    specimens = load_specimens()
    known, new = (_pictured(select_split(specimens, split), served.pictures) for split in ("test", "test_unseen"))
    yield Example("Known species", _fasta(known.select([0])))
    yield Example("Species new to the library", _fasta(new.select([0])))
    yield Example("Reverse complement", _fasta(known.select([1]), turned=True))
    if served.library.images is not None:
        yield Example("Photograph", "", _photograph(served, known[0]["processid"], folder))
        beside = _photograph(served, known[3]["processid"], folder)
        yield Example("Barcode and photograph", _fasta(known.select([3])), beside)
    yield Example("Ten barcodes", _fasta(known.select(range(4, 11))) + _fasta(new.select(range(1, 4))))


def _pictured(specimens: Dataset, pictures: Pictures) -> Dataset:
    """The same, those with a photograph first."""
    absent = [processid not in pictures for processid in specimens["processid"][:]]
    return specimens.select(np.argsort(absent, kind="stable"))


def _of_library(served: Served, folder: Path) -> Iterator[Example]:
    library = served.library
    for key in np.flatnonzero(library.flags & FITS)[:1].tolist():
        barcode = {"processid": [served.id_of(int(library.keys.first[key]))], "dna_barcode": [barcode_of(library, key)]}
        yield Example("A barcode of the library", _fasta(barcode))
        yield Example("Reverse complement", _fasta(barcode, turned=True))
    if library.images is not None:
        processids = served.facts["processid"].slice(0, _LOOKED_AT).to_pylist()
        for processid in [processid for processid in processids if processid in served.pictures][:1]:
            yield Example("A photograph of the library", "", _photograph(served, processid, folder))


def _photograph(served: Served, processid: str, folder: Path) -> tuple[str, str] | None:
    image = served.pictures.of(processid)
    if image is None:
        return None
    handle, path = tempfile.mkstemp(suffix=".png", dir=folder)  # a process id need not be the name of a file
    with os.fdopen(handle, "wb") as file:
        image.save(file, format="PNG")
    return path, processid


def _fasta(specimens: Dataset | Mapping[str, list[str]], *, turned: bool = False) -> str:
    lines = []
    for processid, barcode in zip(specimens["processid"], specimens["dna_barcode"], strict=True):
        letters = reverse_complement(barcode) if turned else barcode
        lines += [f">{processid}", *(letters[start : start + _LINE] for start in range(0, len(letters), _LINE))]
    return "\n".join(lines) + "\n"
