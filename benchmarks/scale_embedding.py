"""Rehearsal: a million barcodes to shards of embeddings by a tiny model; whole, and killed in the middle and resumed.

    python benchmarks/scale_embedding.py FOLDER OUTPUT

is what is killed: the embedding alone.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scale_parts import SPECIMENS, Part, costs

BARCODES = (100_000, 316_000, 1_000_000)
TINY_BARCODES = 300
SHARD_BYTES = 50_000_000
"""A tenth of the usual size, as the vectors are a tenth of those of a model in use."""
KILLED_UP_TO = BARCODES[0]
"""The larger sizes are not embedded once more to be killed."""
_BARCODES = 2_486_492  # of BIOSCAN-5M, distinct ones
_SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def need_specimens(barcodes: int, folder: Path) -> None:
    """Specimens with about so many distinct barcodes, as an Arrow file, and a tiny model, made once."""
    import pyarrow as pa
    import torch
    from scale_data import made_specimens

    from bioscan_hf import BarcodeBertConfig, BarcodeBertModel
    from bioscan_hf.hub.push import save_model

    if not (folder / "tiny").exists():
        torch.manual_seed(0)
        save_model(folder / "tiny", BarcodeBertModel(BarcodeBertConfig(**_SIZES)))
    target, partial = folder / "embedded-specimens.arrow", folder / "embedded-specimens.partial"
    if target.exists():
        return
    writer = None
    for table in made_specimens(max(round(barcodes * SPECIMENS / _BARCODES), 200)):
        chosen = table.select(["processid", "dna_barcode"])
        writer = writer or pa.ipc.new_stream(str(partial), chosen.schema)
        writer.write_table(chosen)
    assert writer is not None
    writer.close()
    partial.rename(target)


def embed(folder: Path, output: Path) -> Any:
    """As `bioscan embed --model FOLDER/tiny --batch-size 128`."""
    from datasets import Dataset

    from bioscan_hf import load_encoder
    from bioscan_hf.evaluation.bulk import output as bulk_output
    from bioscan_hf.evaluation.bulk.run import embed_to_parquet

    bulk_output.SHARD_BYTES = SHARD_BYTES
    encoder = load_encoder(str(folder / "tiny"), batch_size=128, device="cpu")
    return embed_to_parquet(
        encoder, Dataset.from_file(str(folder / "embedded-specimens.arrow")), output, chunk_size=_chunk(folder)
    )


def _chunk(folder: Path) -> int:
    """The usual size of chunks; of few specimens a smaller one, so that there are several."""
    return 8192 if (folder / "embedded-specimens.arrow").stat().st_size > 1 << 24 else 32


def run(size: int, folder: Path) -> dict[str, Any]:
    """Embed undisturbed, which is what is measured; then again, killed when half of the chunks are there."""
    import bioscan_hf

    assert bioscan_hf.load_encoder
    whole = folder / "embeddings"
    shutil.rmtree(whole, ignore_errors=True)
    with costs() as cost:
        written = embed(folder, whole)
    shards = sorted(whole.glob("*.parquet"))
    facts = {
        "specimens": written.specimens,
        "distinct barcodes": written.barcodes,
        "barcodes per CPU second": round(written.barcodes / cost["cpu"]),
        "shards": len(shards),
        "MB written": round(sum(path.stat().st_size for path in shards) / 1e6, 1),
        "every specimen once, in order": _in_order(folder, shards),
    }
    if size <= KILLED_UP_TO:
        facts |= _killed_and_resumed(folder, written.barcodes, shards)
    shutil.rmtree(whole)
    return {**cost, "facts": facts}


def _in_order(folder: Path, shards: list[Path]) -> bool:
    """Whether the process ids are those of the specimens, and those with equal barcodes have equal vectors."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    from bioscan_hf.data.barcodes import barcode_hashes

    written = pa.concat_tables(pq.read_table(shard) for shard in shards)
    given = Dataset.from_file(str(folder / "embedded-specimens.arrow")).with_format("arrow")[:]
    vectors = written["embedding"].combine_chunks().flatten().to_numpy().reshape(len(written), -1)
    _, first, same = _unique(barcode_hashes(given["dna_barcode"]))
    return bool(written["processid"].equals(given["processid"])) and bool((vectors[first][same] == vectors).all())


def _unique(values: Any) -> Any:
    import numpy as np

    return np.unique(values, return_index=True, return_inverse=True)


def _killed_and_resumed(folder: Path, barcodes: int, shards: list[Path]) -> dict[str, Any]:
    """Kill the same work when half of the chunks are there, and start it again."""
    output = folder / "embeddings-killed"
    partial = output.with_name(f".{output.name}.partial")
    for path in (output, partial):
        shutil.rmtree(path, ignore_errors=True)
    half = -(-barcodes // _chunk(folder)) // 2
    with subprocess.Popen([sys.executable, __file__, str(folder), str(output)]) as process:
        while process.poll() is None and len(list(partial.glob("*.npy"))) < half:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    there = len(list(partial.glob("*.npy")))
    resumed = embed(folder, output)
    same = [_digest(path) for path in sorted(output.glob("*.parquet"))] == [_digest(path) for path in shards]
    shutil.rmtree(output)
    return {
        "chunks there when killed": there,
        "barcodes computed after the kill": resumed.computed,
        "barcodes computed twice at most": _chunk(folder),
        "killed and resumed: the same bytes": process.returncode == -signal.SIGKILL and same,
    }


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


PARTS = (Part("embedding", "embed, by a tiny model", "barcodes", BARCODES, (TINY_BARCODES,), need_specimens, run),)


if __name__ == "__main__":
    embed(Path(sys.argv[1]), Path(sys.argv[2]))
