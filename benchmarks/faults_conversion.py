"""`bioscan data convert` under faults: archives of a few images, by this process and by a worker of datatrove."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from faults_harness import Content, Refused, Scenario

from bioscan_hf.data import cluster, conversion, executors
from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES
from bioscan_hf.data.release import METADATA_ARCHIVE, METADATA_MEMBERS, PARTS, image_member
from bioscan_hf.data.sources import open_source
from bioscan_hf.data.specimens import load_specimens

_PACKAGE = "cropped_256"
_PARTS = ("train", "eval")
_PER_SPLIT = 6
_SHARD_BYTES = 12_000
# pandas wrote them as floats, because they have gaps.
_FLOATS = ("image_measurement_value", "index_bioscan_1M_insect")
_WAYS = ("here", "cluster")


def small_shards() -> None:
    """Let a few images make several shards."""
    for function in (conversion.convert, cluster.convert_on_cluster):
        defaults = function.__kwdefaults__
        assert defaults is not None
        defaults["shard_bytes"] = _SHARD_BYTES


def on_cluster(logs: str, *words: str) -> None:
    """The program with a worker of datatrove, as `--executor` starts them elsewhere.

    More of them would be processes that import everything anew; `scale_conversion.py` kills a conversion with two.
    """
    from loguru import logger

    from bioscan_hf.cli.program import main

    logger.disable("datatrove")

    def convert(root: Path, folder: Path, *, num_proc: int, **common: Any) -> Any:
        return cluster.convert_on_cluster(root, folder, options={"workers": 1}, **common)

    def run_tasks(*arguments: Any, **others: Any) -> bool:
        # Elsewhere: the other way leaves no logs, and both must leave the same.
        return executors.run_tasks(*arguments, **{**others, "logs": Path(tempfile.mkdtemp(dir=logs))})

    cluster.run_tasks = run_tasks
    conversion.convert = convert  # type: ignore[assignment]
    sys.argv = ["bioscan", *words]
    main()


class Convert(Scenario):
    """Images of four splits in two archives, and the metadata in a third."""

    name = "convert"
    dashes = {"hub": "the archives are on the disk"}  # noqa: RUF012
    patches = ("faults_conversion:small_shards",)

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        self._trials = count()
        self._way = _WAYS[0]
        write_release(inputs, made_rows())
        self._logs = inputs.parent / "logs"
        self._logs.mkdir()
        self.fragile = sorted(inputs.glob("*.zip"))

    def begin(self, output: Path) -> None:
        """Take turns between the ways to convert."""
        self._way = _WAYS[next(self._trials) % len(_WAYS)]

    def words(self, output: Path, *, again: bool = False) -> list[str]:
        """The second run goes another way than the first."""
        command = ["data", "convert", str(self.inputs), str(output)]
        on_cluster = (self._way == "cluster") != again
        return ["faults_conversion:on_cluster", str(self._logs), *command] if on_cluster else command

    def read(self, output: Path) -> Content | None:
        """See `Scenario`."""
        if not any(output.glob("metadata/*.parquet")):
            return None
        records: list[str] = []
        values: dict[str, Any] = {}
        try:
            source = open_source(output)
            for family in ("metadata", _PACKAGE):
                files = [file for split in SPLIT_NAMES for file in source.shards(family, split)]
                whole = pa.concat_tables([pq.read_table(file, page_checksum_verification=True) for file in files])
                records += [f"{family} {processid}" for processid in whole["processid"].to_pylist()]
                values[family] = repr(whole.to_pylist())
            splits = [split for split in SPLIT_NAMES if source.shards("metadata", split)]
            values["labels"] = source.labels().names
            values["order"] = [(split, source.order(split).tolist()) for split in splits]
        except (ValueError, OSError, pa.ArrowException) as error:
            raise Refused(str(error)) from error  # Arrow's are of a damaged file
        report = json.loads((output / "report.json").read_text(encoding="utf-8"))
        return Content(tuple(records), {**values, "rows": report["rows"], "skipped": report["skipped"]})


def made_rows() -> list[dict[str, Any]]:
    """Some specimens with images of the embedded sample."""
    table = load_specimens(image=True).with_format("arrow")[:]
    table = table.filter(pc.is_valid(pc.struct_field(table["image"], "bytes")))
    wanted = [split for part in _PARTS for split in PARTS[part]]
    tables = [table.filter(pc.equal(table["split"], split)).slice(0, _PER_SPLIT) for split in wanted]
    rows = pa.concat_tables(tables).to_pylist()
    return [{**row, "image": row["image"]["bytes"]} for row in sorted(rows, key=lambda row: str(row["processid"]))]


def write_release(root: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the archives of a release of these specimens."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMN_NAMES)
    writer.writerows([_text(name, row[name]) for name in COLUMN_NAMES] for row in rows)
    with zipfile.ZipFile(root / METADATA_ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA_MEMBERS["csv"], text.getvalue())
    for part in _PARTS:
        with zipfile.ZipFile(root / f"BIOSCAN_5M_{_PACKAGE}_{part}.zip", "w") as archive:
            for row in rows:
                if row["split"] in PARTS[part]:
                    name = image_member(_PACKAGE, row["split"], row["chunk"], row["processid"])
                    archive.writestr(name, row["image"])


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    return str(float(str(value))) if name in _FLOATS else str(value)
