"""Small files for the examples, and the environment of a program that they start."""

import os
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from bioscan_hf import load_specimens, select_split

# Of each split of the embedded sample; its barcodes take a second or two.
COUNTS = {"pretrain": 40, "train": 40, "val": 5, "val_unseen": 5, "test": 10, "test_unseen": 10}


def write_barcodes(path: Path, count: int = 16) -> str:
    """Write barcodes of 60 letters; returns the path."""
    draw = random.Random(0)
    path.write_text("".join(f">B{i}\n{''.join(draw.choices('ACGT', k=60))}\n" for i in range(count)))
    return str(path)


def write_table(path: Path, sample: Dataset) -> str:
    """Write some of the embedded sample, with splits; returns the path."""
    rows = [row for split, count in COUNTS.items() for row in select_split(sample, split).select(range(count))]
    Dataset.from_list(rows).to_csv(path)
    return str(path)


def environment(*first: Path, **variables: str) -> dict[str, str]:
    """Of a program that finds `bioscan`, and before it what is in some folders."""
    path = os.pathsep.join([*map(str, first), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "OMP_NUM_THREADS": "1", **variables, "PATH": path}


def write_image_table(path: Path) -> str:
    """Write some specimens of the embedded sample that have images, with these and with splits; returns the path."""
    table = load_specimens(image=True).with_format("arrow")[:]
    splits = table["split"].to_pylist()
    has_image = table["image"].is_valid().to_pylist()
    wanted = {"train": 64, "key_unseen": 10, "test": 12, "test_unseen": 12}
    rows = [
        row
        for split, count in wanted.items()
        for row in [i for i, own in enumerate(splits) if own == split and has_image[i]][:count]
    ]
    pq.write_table(table.take(pa.array(rows)), path)
    return str(path)
