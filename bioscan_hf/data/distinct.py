"""One specimen of each distinct barcode."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.data.files import build_once
from bioscan_hf.data.sources import Source


def distinct_barcodes(source: Source, max_nucleotides: int | None, cache: Path) -> Mapping[str, np.ndarray]:
    """Choose one specimen of each distinct barcode, over all splits.

    Barcodes are cut, then trailing N are left out; of the specimens that agree, the first in a shuffled order of the
    released table is kept. The order is that of `pandas.DataFrame.sample(frac=1, random_state=0)`, so that the
    specimens are those of bioscan-dataset 1.3.0 with `reduce_repeated_barcodes=True`.

    Args:
        source: Specimens; their `order` must be that of a whole released table.
        max_nucleotides: Letters that are compared, None for all.
        cache: Folder in which the choice is kept for the next time.

    Returns:
        For each split, which of its specimens are kept.
    """
    files = {split: source.shards("metadata", split) for split in SPLIT_NAMES}
    key = repr([(file, Path(file).stat().st_mtime_ns) for own in files.values() for file in own])
    name = hashlib.sha256(f"{key} {max_nucleotides}".encode()).hexdigest()[:16]
    folder = cache / "bioscan_hf" / f"distinct-{name}"

    def build(partial: Path) -> None:
        for split, kept in _choose(source, files, max_nucleotides).items():
            pq.write_table(pa.table({"kept": kept}), partial / f"{split}.parquet")

    build_once(folder, build)
    return {split: pq.read_table(folder / f"{split}.parquet")["kept"].to_numpy() for split, own in files.items() if own}


def _choose(source: Source, files: Mapping[str, list[str]], max_nucleotides: int | None) -> dict[str, np.ndarray]:
    present = [split for split, own in files.items() if own]
    hashes = {split: _hashes(files[split], max_nucleotides) for split in present}
    rows = np.concatenate([source.order(split) for split in present])
    total = int(rows.max()) + 1
    place = np.empty(total, np.int64)
    place[np.random.RandomState(0).permutation(total)] = np.arange(total)
    # By barcode and, among equal ones, by place in the shuffled order: the first of each run is kept.
    all_hashes = np.concatenate(list(hashes.values()))
    by_barcode = np.lexsort((place[rows], all_hashes))
    kept = np.empty(len(rows), bool)
    ordered = all_hashes[by_barcode]
    kept[by_barcode] = np.r_[True, ordered[1:] != ordered[:-1]]
    ends = np.cumsum([len(hashes[split]) for split in present])
    return dict(zip(present, np.split(kept, ends[:-1]), strict=True))


def _hashes(files: list[str], max_nucleotides: int | None) -> np.ndarray:
    parts = [
        barcode_hashes(batch.column(0), max_nucleotides=max_nucleotides, strip="trailing")
        for file in files
        for batch in pq.ParquetFile(file).iter_batches(columns=["dna_barcode"])
    ]
    return np.concatenate(parts)
