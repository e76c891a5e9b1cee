"""Made specimens for trials of faults."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pillow

TAXA = (("Afam", "Aus", "Aus bus"), ("Afam", "Aus", "Aus cus"), ("Bfam", "Dus", "Dus eus"))
COLUMNS = ("processid", "dna_barcode", "class", "order", "family", "genus", "species", "split")
SPLITS = ("pretrain", "train", "train", "val", "test")
"""Of specimens in turn."""


def made_specimens(count: int, letters: int, splits: Sequence[str] = SPLITS) -> list[dict[str, str]]:
    """Specimens of three species that differ in a few letters; all splits take turns."""
    draw = random.Random(0)
    gene = draw.choices("ACGT", k=letters)
    species = [_changed(gene, letters // 8, draw) for _ in TAXA]
    rows = []
    for number in range(count):
        barcode = _changed(species[number % len(TAXA)], 3, draw)
        taxa = zip(COLUMNS[2:7], ("Insecta", "Aptera", *TAXA[number % len(TAXA)]), strict=True)
        split = splits[number // len(TAXA) % len(splits)]
        rows.append({"processid": f"P{number:03d}", "dna_barcode": "".join(barcode), **dict(taxa), "split": split})
    return rows


def _changed(barcode: Sequence[str], places: int, draw: random.Random) -> list[str]:
    letters = list(barcode)
    for place in draw.sample(range(len(letters)), places):
        letters[place] = draw.choice("ACGT")
    return letters


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write specimens as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_with_images(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write specimens as Parquet, with a small photograph of noise each."""
    draw = np.random.default_rng(0)
    stored = []
    for row in rows:
        file = io.BytesIO()
        Pillow.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
        stored.append({**row, "image": {"bytes": file.getvalue(), "path": f"{row['processid']}.png"}})
    features = Features({**{name: Value("string") for name in COLUMNS}, "image": Image()})
    Dataset.from_list(stored, features=features).to_parquet(path)
    return path
