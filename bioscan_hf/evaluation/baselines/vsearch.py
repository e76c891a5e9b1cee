"""vsearch, where it is installed: each query is named as the first key that it accepts."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bioscan_hf.evaluation.baselines.aligner import KEYS, QUERIES, Aligner, Search
from bioscan_hf.evaluation.encoders.base import Report

PROGRAMS = ("vsearch",)

# Queries of one call, after which progress can be told.
_QUERIES = 5000
# Share of equal letters below which a key is no hit; the nearest of an unseen genus may be far.
_IDENTITY = 0.5


def is_installed() -> bool:
    """Whether the program is there."""
    return _aligner().is_installed()


def version() -> str:
    """Version of `vsearch`, such as `2.22.1`.

    Raises:
        OSError: If it is not installed.
    """
    _aligner().check(PROGRAMS)
    # It tells its version on stderr.
    done = subprocess.run(["vsearch", "--version"], capture_output=True, text=True, check=False)
    words = f"{done.stderr} {done.stdout}".split()
    if done.returncode or len(words) < 2:
        raise OSError(f"'vsearch --version' failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return words[1].removeprefix("v").partition("_")[0]


def best_hits(keys: Sequence[str], queries: Sequence[str], *, report: Report | None = None) -> NDArray[np.int64]:
    """Find the key that `vsearch --usearch_global` accepts for each query.

    It aligns, from end to end, the keys that share most words of eight letters with the query, and accepts the first
    that is equal in half of the letters, among at most 32 others. All settings but this share are its own, on the
    forward strand, as all barcodes are. Equal barcodes are searched once.

    Args:
        keys: K barcodes.
        queries: Q barcodes.
        report: Called with the number of distinct queries done and of all.

    Returns:
        (Q,) index of the key, of equal barcodes the lowest; -1 where nothing was found.

    Raises:
        OSError: If vsearch is not installed, or fails.
        ValueError: If there are no keys.
    """
    return _aligner().best_hits(keys, queries, threads=torch.get_num_threads(), block=_QUERIES, report=report)


def measured_search(keys: Sequence[str], queries: Sequence[str], *, threads: int = 2) -> Search:
    """Find the keys of `best_hits` by one call of vsearch, and measure the time and memory of this call alone.

    The library is made beforehand, of the distinct keys; all queries are searched, also equal ones.

    Args:
        keys: K barcodes.
        queries: Q barcodes.
        threads: Of the search.

    Raises:
        OSError: If vsearch is not installed, or fails.
        ValueError: If there are no keys.
    """
    return _aligner().measured_search(keys, queries, threads=threads)


def _aligner() -> Aligner:
    return Aligner(
        name="vsearch",
        programs=PROGRAMS,
        install="it (Debian: `apt install vsearch`; conda: `conda install -c bioconda vsearch`)",
        library=["vsearch", "--quiet", "--makeudb_usearch", KEYS, "--output", "keys.udb"],
        search=_search,
        parse=_best_keys,
    )


def _search(threads: int) -> list[str]:
    options = {
        "usearch_global": QUERIES,
        "db": "keys.udb",
        "id": str(_IDENTITY),
        "strand": "plus",
        "maxaccepts": "1",
        "threads": str(threads),
        "userout": "-",
        "userfields": "query+target",
    }
    return ["vsearch", "--quiet", *(word for name, value in options.items() for word in (f"--{name}", value))]


def _best_keys(printed: str) -> dict[int, int]:
    return {int(query): int(key) for query, key in (line.split("\t") for line in printed.splitlines())}
