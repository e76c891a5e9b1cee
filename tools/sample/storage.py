"""The sample on disk: one Parquet file per split, and a README whose table is counted from them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.features import COLUMNS, SPLIT_NAMES, bioscan_features

from .specimens import Row

UNIQUE = {"processid", "sampleid", "dna_barcode", "index_bioscan_1M_insect"}
"""Columns with too many distinct values for a dictionary."""


def write_splits(rows: list[Row], folder: Path) -> None:
    """Write `<split>.parquet` for every split, with the features of `datasets` in its metadata.

    Args:
        rows: Specimens.
        folder: Where to write; made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = bioscan_features(image=True).arrow_schema
    # JPEG does not shrink further.
    compression = {"image.bytes": "NONE", "image.path": "ZSTD"} | {column.name: "ZSTD" for column in COLUMNS}
    levels = {name: 19 for name, codec in compression.items() if codec == "ZSTD"}
    for split in SPLIT_NAMES:
        chosen = [row for row in rows if row["split"] == split]
        table = pa.Table.from_pylist([row | {"image": with_path(row)} for row in chosen], schema=schema)
        # Pages as large as the column: barcodes shrink by what they share with others anywhere in the file.
        pq.write_table(
            table,
            folder / f"{split}.parquet",
            compression=compression,
            compression_level=levels,
            use_dictionary=[column.name for column in COLUMNS if column.name not in UNIQUE],
            data_page_size=64 << 20,
        )


def with_path(row: Row) -> Row | None:
    """The image in the form of `datasets.Image`, under the file name that BIOSCAN-5M gives it."""
    return None if row["image"] is None else {"bytes": row["image"], "path": f"{row['processid']}.jpg"}


def count_splits(rows: list[Row]) -> str:
    """Markdown table of the splits: specimens, distinct barcodes, species and images."""
    lines = ["| split | specimens | distinct barcodes | species | images |", "|---|---:|---:|---:|---:|"]
    for split in (*SPLIT_NAMES, "total"):
        chosen = [row for row in rows if split in ("total", row["split"])]
        barcodes = len({row["dna_barcode"] for row in chosen})
        species = len({row["species"] for row in chosen} - {None})
        images = sum(row["image"] is not None for row in chosen)
        lines.append(f"| {split} | {len(chosen)} | {barcodes} | {species} | {images} |")
    return "\n".join(lines)
