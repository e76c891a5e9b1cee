"""`bioscan embed` under faults: a folder of several shards, in chunks of a few barcodes."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from faults_harness import Content, Refused, Scenario

from bioscan_hf.evaluation.bulk import output as bulk_output
from bioscan_hf.evaluation.bulk import run as bulk_run

_SPECIMENS = 60
_DISTINCT = 40
_CHECKED = {"page_checksum_verification": True}


def small_parts() -> None:
    """Let a few barcodes make several chunks, groups of rows and shards."""
    defaults = bulk_run.embed_to_parquet.__kwdefaults__
    assert defaults is not None
    defaults["chunk_size"] = 5
    bulk_output.SHARD_BYTES = 20_000
    bulk_output._ROWS_PER_GROUP = 8


class Embed(Scenario):
    """4-mer counts of barcodes of which some occur twice, and of one that is left out."""

    name = "embed"
    dashes = {"hub": "the input and the model are on the disk"}  # noqa: RUF012
    patches = ("faults_embedding:small_parts",)

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        draw = random.Random(0)
        distinct = ["".join(draw.choices("ACGT", k=60)) for _ in range(_DISTINCT)]
        barcodes = [*distinct, *draw.choices(distinct, k=_SPECIMENS - _DISTINCT), "no barcode"]
        names = [*(f"P{number:03d}" for number in range(_SPECIMENS)), "BAD"]
        self.table = inputs / "specimens.parquet"
        table = pa.table({"processid": names, "dna_barcode": barcodes})
        pq.write_table(table, self.table, write_page_checksum=True)
        self.fragile = [self.table]

    def words(self, output: Path, *, again: bool = False) -> list[str]:
        """See `Scenario`."""
        return ["embed", str(self.table), "--output", str(output), "--model", "kmer:4", "--on-error", "skip"]

    def read(self, output: Path) -> Content | None:
        """See `Scenario`."""
        if not output.exists():
            return None
        try:
            table = pq.read_table(output, **_CHECKED)
            made_by = pq.read_schema(sorted(output.iterdir())[0]).metadata[bulk_output.METADATA_KEY]
        except (OSError, pa.ArrowException) as error:
            raise Refused(str(error)) from error  # as `bioscan embed`, and every reader that looks at checksums, says
        vectors = table["embedding"].combine_chunks().flatten().to_numpy()
        left_out = output.with_name(f"{output.name}.skipped.csv").read_text(encoding="utf-8")
        values = {"vectors": hashlib.sha256(vectors).hexdigest(), "left out": left_out, "made by": made_by}
        return Content(tuple(table["processid"].to_pylist()), values)
