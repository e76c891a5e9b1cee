"""BLAST, where it is installed: each query is named as its best hit among the keys."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import Report

PROGRAMS = ("makeblastdb", "blastn")

# Queries of one call, after which progress can be told.
_QUERIES = 500
# Hits that are asked for: with one alone, blastn may stop before it has seen the best (Shah et al. 2019,
# doi:10.1093/bioinformatics/bty833).
_HITS = 10


def is_installed() -> bool:
    """Whether the programs are there."""
    return all(shutil.which(program) for program in PROGRAMS)


def version() -> str:
    """Version of `blastn`, such as `2.12.0+`.

    Raises:
        OSError: If it is not installed.
    """
    return _run(["blastn", "-version"]).split()[1]


def best_hits(keys: Sequence[str], queries: Sequence[str], *, report: Report | None = None) -> NDArray[np.int64]:
    """Find the key that blastn aligns best with each query.

    The settings are blastn's own, on the forward strand, as all barcodes are. Its task is `megablast`, which was five
    times as fast as the task `blastn` on 200 real barcodes, and half a point below it for the genus of unseen species.
    Equal barcodes are searched once.

    Args:
        keys: K barcodes.
        queries: Q barcodes.
        report: Called with the number of distinct queries done and of all.

    Returns:
        (Q,) index of the key with the highest bit score, the lowest of equals among the ten best hits that blastn
        gives; -1 where nothing was found.

    Raises:
        OSError: If BLAST is not installed, or fails.
        ValueError: If there are no keys.
    """
    if not keys:
        raise ValueError("BLAST needs keys to search in; there are none.")
    # First of equal barcodes, so that the lowest index wins.
    distinct_keys = list({barcode: i for i, barcode in reversed(list(enumerate(keys)))}.items())
    distinct_keys.sort(key=lambda item: item[1])
    distinct_queries = list(dict.fromkeys(queries))
    found: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="bioscan-blast-") as name:
        folder = Path(name)
        _write_fasta(folder / "keys.fasta", [(str(i), barcode) for barcode, i in distinct_keys])
        _run(["makeblastdb", "-in", "keys.fasta", "-dbtype", "nucl", "-out", "keys"], folder)
        for start in range(0, len(distinct_queries), _QUERIES):
            block = distinct_queries[start : start + _QUERIES]
            _write_fasta(folder / "queries.fasta", [(str(start + i), barcode) for i, barcode in enumerate(block)])
            best: dict[int, tuple[float, int]] = {}
            for line in _search(folder).splitlines():
                query, key, bits = line.split("\t")
                candidate = (-float(bits), int(key))
                best[int(query)] = min(best.get(int(query), candidate), candidate)
            found.update({distinct_queries[query]: key for query, (_, key) in best.items()})
            if report:
                report(start + len(block), len(distinct_queries))
    return np.array([found.get(barcode, -1) for barcode in queries], dtype=np.int64)


def _search(folder: Path) -> str:
    options = {
        "strand": "plus",
        "db": "keys",
        "query": "queries.fasta",
        "max_target_seqs": str(_HITS),
        "max_hsps": "1",
        "num_threads": str(torch.get_num_threads()),
        "outfmt": "6 qseqid sseqid bitscore",
    }
    return _run(["blastn", *(word for name, value in options.items() for word in (f"-{name}", value))], folder)


def _write_fasta(path: Path, records: Sequence[tuple[str, str]]) -> None:
    path.write_text("".join(f">{name}\n{barcode}\n" for name, barcode in records), encoding="ascii")


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    """Run a program, in a folder: it would take a path with a space for two files."""
    if shutil.which(command[0]) is None:
        raise OSError(
            f"The program '{command[0]}' is not installed. Install BLAST+ (Debian: `apt install ncbi-blast+`; conda: "
            "`conda install -c bioconda blast`), or leave this baseline out."
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"'{command[0]}' failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
