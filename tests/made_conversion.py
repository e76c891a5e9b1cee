"""A made converted folder: simulated specimens in the layout that `bioscan data convert` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.features import SPLIT_NAMES, bioscan_features, published_name
from bioscan_hf.data.labels import LABEL_COLUMNS
from tests.made_release import Row, made_rows


def make_conversion(
    folder: Path, rows: list[Row] | None = None, *, packages: tuple[str, ...] = ("cropped_256",), shards: int = 2
) -> list[Row]:
    """Write a converted folder.

    Args:
        folder: Where to write.
        rows: Specimens, those of `made_rows` unless given.
        packages: Image packages.
        shards: Shards of `train` in each package; the other splits have one.

    Returns:
        The specimens.
    """
    rows = made_rows() if rows is None else rows
    counts: dict[str, dict[str, int]] = {}
    for family in ("metadata", *packages):
        for split in SPLIT_NAMES:
            own = [row for row in rows if row["split"] == split]
            if own:
                count = shards if split == "train" and family != "metadata" else 1
                _write_shards(folder / family, published_name(split), own, count)
                counts.setdefault(family, {})[published_name(split)] = len(own)
    for name in LABEL_COLUMNS:
        names = sorted({str(row[name]) for row in rows if row[name] is not None})
        _parent(folder / "labels" / f"{name}.txt").write_text("".join(f"{n}\n" for n in names), encoding="utf-8")
    for split in counts["metadata"]:
        order = [number for number, row in enumerate(rows) if published_name(str(row["split"])) == split]
        pq.write_table(pa.table({"row": pa.array(order, pa.int32())}), _parent(folder / "order" / f"{split}.parquet"))
    (folder / "report.json").write_text(json.dumps({"rows": counts}))
    return rows


def _write_shards(folder: Path, split: str, rows: list[Row], count: int) -> None:
    schema = bioscan_features(image=folder.name != "metadata").arrow_schema
    stored = [{**row, "image": {"bytes": row["image"], "path": f"{row['processid']}.jpg"}} for row in rows]
    for number in range(count):
        part = stored[number * len(stored) // count : (number + 1) * len(stored) // count]
        table = pa.Table.from_pylist(part, schema=schema)
        pq.write_table(table, _parent(folder / f"{split}-{number:05d}-of-{count:05d}.parquet"), compression="zstd")


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
