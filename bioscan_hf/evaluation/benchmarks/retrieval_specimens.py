"""Keys and queries of benchmark 3, from wherever they may lie."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from bioscan_hf.data.anywhere import has_splits
from bioscan_hf.data.fasta import FASTA_ENDINGS
from bioscan_hf.data.features import resolve_split
from bioscan_hf.data.raw_records import ending
from bioscan_hf.data.tables import TABLE_ENDINGS, column_names
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import DNA, IMAGE, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.specimens import Say, load_labelled

COLUMNS = {IMAGE: "image", DNA: "dna_barcode"}
"""By modality: the column that encoders read."""


def load_keys_and_queries(
    source: str | Path,
    settings: RetrievalSettings,
    *,
    image: bool,
    splits: Path | None = None,
    limit: int | None = None,
    say: Say,
) -> Dataset:
    """Load the specimens of the benchmark's splits.

    Where splits are drawn, half of the barcodes of each unseen species become keys, as BIOSCAN-5M has them in
    `key_unseen`; a species with one barcode has no query.

    Args:
        source: As in `load_anywhere`.
        settings: Which splits.
        image: Whether to load images, too.
        splits: Table that replaces the column `split` of a file.
        limit: Specimens of each split, drawn at random, that are kept; None for all.
        say: Told if splits were drawn.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a record is bad, or there are no specimens of the splits.
        OSError: If the Hub does not answer.
    """
    wanted = "+".join((settings.keys, *settings.groups.values()))
    specimens = load_labelled(source, wanted, splits=splits, image=image, limit=limit, seed=settings.seed, say=say)
    if has_splits(source, splits) or "key_unseen" not in resolve_split(settings.keys):
        return specimens
    rows_of: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    names: list[str] = specimens["split"][:]
    columns = (names, specimens["species"][:], specimens["dna_barcode"][:])
    for row, (split, species, barcode) in enumerate(zip(*columns, strict=True)):
        if split == "test_unseen":
            rows_of[species][barcode].append(row)
    rng = np.random.default_rng(settings.seed)
    for species in sorted(rows_of):
        barcodes = list(rows_of[species].values())
        for place in rng.permutation(len(barcodes))[: (len(barcodes) + 1) // 2]:
            for row in barcodes[place]:
                names[row] = "key_unseen"
    if rows_of:
        say("Half of the barcodes of each unseen species became keys.")
    return specimens.remove_columns("split").add_column("split", pa.array(names, pa.string()))


def is_table_without_images(source: str | Path) -> bool:
    """Whether a source is a file that can have no images, or a Parquet file without the column `image`."""
    path = Path(source).expanduser()
    if not path.is_file():
        return False
    if ending(path) == ".parquet":
        return COLUMNS[IMAGE] not in column_names(path)
    return ending(path) in (*FASTA_ENDINGS, *TABLE_ENDINGS)
