"""Libraries of the embedded sample, with barcodes cut short, which are learnt from in a tenth of the time."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Image, concatenate_datasets

from bioscan_hf import load_specimens, select_split
from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.hub.push import save_model
from bioscan_hf.identification.library import Library
from tests.evaluation.encoders.made_vision_models import png
from tests.tiny import tiny_clibd, tiny_clibd_processor

LETTERS = 240
HELD_OUT = "val+val_unseen+other_heldout"


@cache
def _sample() -> Dataset:
    return load_specimens()


@cache
def specimens(split: str, count: int | None = None) -> Dataset:
    """The first specimens of a split, with barcodes of `LETTERS` letters."""
    if count is not None:
        return specimens(split).select(range(count))
    chosen = select_split(_sample(), split).select_columns(list(COLUMN_NAMES))
    return with_barcodes(chosen, [barcode[:LETTERS] for barcode in chosen["dna_barcode"]])


def with_barcodes(chosen: Dataset, barcodes: Sequence[str | None]) -> Dataset:
    return with_column(chosen, "dna_barcode", barcodes)


def with_column(chosen: Dataset, name: str, values: Sequence[str | None]) -> Dataset:
    """The same specimens with another column of text."""
    table = chosen.with_format("arrow")[:]
    return Dataset(table.set_column(table.column_names.index(name), name, pa.array(values, pa.string())))


def without(chosen: Dataset, *ranks: str) -> Dataset:
    """The same specimens without names at some ranks."""
    for rank in ranks:
        chosen = with_column(chosen, rank, [None] * len(chosen))
    return chosen


def joined(*parts: Dataset) -> Dataset:
    return concatenate_datasets(list(parts))


@cache
def library() -> Library:
    """All of `train`, calibrated; nothing may be changed in it."""
    info = {"source": "bioscan_hf sample (simulated specimens)", "revision": "0123456789ab", "command": "made"}
    return Library.build(specimens("train"), calibration=specimens(HELD_OUT), info=info)


def without_digests(folder: Path) -> Path:
    """A saved library as an older version wrote it."""
    manifest = json.loads((folder / "library.json").read_text())
    kept = {name: value for name, value in manifest.items() if name not in ("digest", "digests")}
    (folder / "library.json").write_text(json.dumps(kept))
    return folder


def non_coi(seed: int = 0, letters: int = LETTERS) -> str:
    """Letters at random."""
    return "".join(random.Random(seed).choices("ACGT", k=letters))


def picture(genus: str, seed: int) -> bytes:
    """An image in the colour of a genus, with some noise."""
    colour = np.random.default_rng(sum(genus.encode())).integers(30, 220, 3)
    noise = np.random.default_rng(seed).integers(-20, 20, (24, 30, 3))
    return png(PIL.Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)))


def with_images(chosen: Dataset, images: Sequence[bytes | None] | None = None) -> Dataset:
    """The same specimens with images; by default a `picture` for each."""
    if images is None:
        images = [picture(genus or "", seed) for seed, genus in enumerate(chosen["genus"])]
    rows = [{**row, "image": image and {"bytes": image}} for row, image in zip(chosen, images, strict=True)]
    return Dataset.from_list(rows, features=Features({**chosen.features, "image": Image()}))


def save_clibd(folder: Path, modalities: tuple[str, ...] = ("image", "dna")) -> Path:
    """A tiny CLIBD with random weights, as `bioscan align` writes one."""
    save_model(folder, tiny_clibd(modalities=modalities), tiny_clibd_processor())
    return folder


def counts(table: pa.Table, name: str) -> int:
    """How many values a column has that are not null."""
    return int(pc.count(table[name]).as_py())
