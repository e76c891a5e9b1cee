"""Specimens, answers and tables of results that the tests of the benchmark of identification share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.benchmark import Settings, Task

SETTINGS = Settings(threads=1)
# Species of the keys, and of queries that have no keys but for their genus.
KNOWN = ("Aus bus", "Aus cus", "Dus eus")
NEW = ("Aus fus", "Dus gus")


def specimen(number: int, species: str | None, split: str, **changes: Any) -> dict[str, Any]:
    """A specimen; its barcode is that of its species, but for three letters."""
    draw = random.Random(species or "")
    letters = draw.choices("ACGT", k=60)
    draw = random.Random(number)
    for place in draw.sample(range(60), 3):
        letters[place] = draw.choice("ACGT")
    genus = species.split()[0] if species else None
    higher = {"phylum": "Arthropoda", "class": "Insecta", "order": "Aptera", "family": f"{genus}idae"}
    taxa: dict[str, str | None] = {**higher, "subfamily": None, "genus": genus, "species": species}
    barcode = "".join(letters)
    return {"processid": f"P{number:03}", "split": split, "dna_barcode": barcode, "dna_bin": None, **taxa, **changes}


def made_specimens(count: int = 6) -> list[dict[str, Any]]:
    """So many specimens of each species in each split that has it."""
    splits = {"train": KNOWN, "test": KNOWN, "val": KNOWN, "test_unseen": NEW, "val_unseen": ("Aus hus",)}
    kinds = [(species, split) for split, names in splits.items() for species in names for _ in range(count)]
    return [specimen(number, *kind) for number, kind in enumerate(kinds)]


def made_task(rows: Sequence[dict[str, Any]] | None = None, settings: Settings = SETTINGS) -> Task:
    """A task of specimens."""
    specimens = Dataset.from_list(list(made_specimens() if rows is None else rows))
    return Task(specimens, specimens, settings)


def made_table(task: Task, seed: int = 0) -> pa.Table:
    """A table of results, right at a share of the queries, that obeys the rules of such tables.

    Probabilities never rise from broad to fine; some queries have no names.
    """
    draw = np.random.default_rng(seed)
    count = len(task.queries)
    columns: dict[str, Any] = {"processid": [f"query{number}" for number in range(count)]}
    known = draw.random(count) < 0.9
    probabilities = np.ones(count)
    for depth, rank in enumerate(RANKS):
        probabilities = probabilities * draw.uniform(1 - 0.1 * (depth + 1), 1, count)
        right = draw.random(count) < probabilities
        truth = task.truth[rank]
        columns[rank] = [
            (name if good else "Xus") if has else None for name, good, has in zip(truth, right, known, strict=True)
        ]
        given = zip(probabilities, known, strict=True)
        columns[f"{rank}_probability"] = [float(value) if has else None for value, has in given]
    safe = [RANKS[draw.integers(len(RANKS))] if has and draw.random() < 0.8 else None for has in known]
    columns["safe_rank"] = safe
    columns["safe_taxon"] = [rank and columns[rank][row] for row, rank in enumerate(safe)]
    novelty = [float(value) if has else None for value, has in zip(draw.random(count), known, strict=True)]
    columns["novelty"] = novelty
    columns["novel"] = [None if value is None else value >= 0.5 for value in novelty]
    texts = dict.fromkeys((*RANKS, "safe_rank", "safe_taxon"), pa.string())
    arrays = {name: pa.array(values, texts.get(name)) for name, values in columns.items()}
    return pa.table(arrays)
