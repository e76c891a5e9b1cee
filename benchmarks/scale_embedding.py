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
from collections.abc import Callable
from importlib import import_module
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

    from bioscan_hf import BarcodeBertConfig, BarcodeBertModel, build_tokenizer
    from bioscan_hf.hub.push import save_model

    if not (folder / "tiny").exists():
        torch.manual_seed(0)
        config = BarcodeBertConfig(**_SIZES)
        save_model(folder / "tiny", BarcodeBertModel(config), build_tokenizer(config.kmer_size))
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


def embed(folder: Path, output: Path, report: Callable[[int, int], None] | None = None) -> Any:
    """As `bioscan embed --model FOLDER/tiny --batch-size 128`."""
    from datasets import Dataset

    from bioscan_hf import load_encoder
    from bioscan_hf.evaluation.bulk import output as bulk_output
    from bioscan_hf.evaluation.bulk.run import embed_to_parquet

    bulk_output.SHARD_BYTES = SHARD_BYTES
    encoder = load_encoder(str(folder / "tiny"), batch_size=128, device="cpu")
    specimens = Dataset.from_file(str(folder / "embedded-specimens.arrow"))
    return embed_to_parquet(encoder, specimens, output, chunk_size=_chunk(folder), report=report)


def _chunk(folder: Path) -> int:
    """The usual size of chunks; of few specimens a smaller one, so that there are several."""
    return 8192 if (folder / "embedded-specimens.arrow").stat().st_size > 1 << 24 else 32


def run(size: int, folder: Path) -> dict[str, Any]:
    """Embed undisturbed, which is what is measured; then again, killed when half of the chunks are there."""
    for name in ("bioscan_hf.evaluation.bulk.run", "bioscan_hf.evaluation.encoders.loading"):
        import_module(name)
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
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    from bioscan_hf.data.barcodes import barcode_hashes

    written = pa.concat_tables(pq.read_table(shard) for shard in shards)
    given = Dataset.from_file(str(folder / "embedded-specimens.arrow")).with_format("arrow")[:]
    vectors = written["embedding"].combine_chunks().flatten().to_numpy().reshape(len(written), -1)
    _, first, same = np.unique(barcode_hashes(given["dna_barcode"]), return_index=True, return_inverse=True)
    return bool(written["processid"].equals(given["processid"])) and bool((vectors[first][same] == vectors).all())


def _killed_and_resumed(folder: Path, barcodes: int, shards: list[Path]) -> dict[str, Any]:
    """Kill the same work when half of the chunks are there, and start it again."""
    output = folder / "embeddings-killed"
    for path in (output, parts_of(output)):
        shutil.rmtree(path, ignore_errors=True)
    kill_at(folder, output, -(-barcodes // _chunk(folder)) // 2)
    there = finished(output)
    resumed = embed(folder, output)
    same = [_digest(path) for path in sorted(output.glob("*.parquet"))] == [_digest(path) for path in shards]
    shutil.rmtree(output)
    return {
        "chunks there when killed": there,
        "barcodes computed after the kill": resumed.computed,
        "barcodes of a chunk, the most that is lost": _chunk(folder),
        "killed and resumed: the same bytes": same,
    }


def kill_at(folder: Path, output: Path, chunks: int) -> None:
    """Embed in another process, and kill it when so many chunks are there.

    Raises:
        RuntimeError: If it ends before.
    """
    with subprocess.Popen([sys.executable, __file__, str(folder), str(output)]) as process:
        while process.poll() is None and finished(output) < chunks:
            time.sleep(0.01)
        process.kill()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"The embedding ended with {process.returncode} before it was killed.")


def parts_of(output: Path) -> Path:
    """Where an unfinished output lies."""
    return output.with_name(f".{output.name}.partial")


def finished(output: Path) -> int:
    """How many chunks of an unfinished output are there."""
    return len(list(parts_of(output).glob("*.npy")))


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


PARTS = (Part("embedding", "embed, by a tiny model", "barcodes", BARCODES, (TINY_BARCODES,), need_specimens, run),)


if __name__ == "__main__":
    embed(Path(sys.argv[1]), Path(sys.argv[2]))
