"""Programs that search barcodes by alignment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.evaluation.baselines.programs import Usage, run_measured, run_program
from bioscan_hf.evaluation.encoders.base import Report

KEYS, QUERIES = "keys.fasta", "queries.fasta"
"""Files of the folder in which a program runs."""


@dataclass(frozen=True)
class Search:
    """A measured search.

    Attributes:
        hits: (Q,) index of the key that is best for each query; -1 where nothing was found.
        usage: What the search took.
    """

    hits: NDArray[np.int64]
    usage: Usage


@dataclass(frozen=True)
class Aligner:
    """A program that finds the key which it aligns best with a query.

    Attributes:
        name: What messages call it.
        programs: All that it needs, the last of which searches.
        install: How to install it, for messages.
        library: Command that makes a library of the file `KEYS`.
        search: Makes the command that searches in it for the records of the file `QUERIES`, from a number of threads.
        parse: Makes of what the search prints the index of the best key, by the number of the query.
    """

    name: str
    programs: Sequence[str]
    install: str
    library: Sequence[str]
    search: Callable[[int], Sequence[str]]
    parse: Callable[[str], Mapping[int, int]]

    def is_installed(self) -> bool:
        """Whether the programs are there."""
        return all(shutil.which(program) for program in self.programs)

    def check(self, command: Sequence[str]) -> None:
        """Refuse a command whose program is not there.

        Raises:
            OSError: If it is not installed.
        """
        if shutil.which(command[0]) is None:
            raise OSError(
                f"The program '{command[0]}' is not installed. Install {self.install}, or leave this baseline out."
            )

    def run(self, command: Sequence[str], folder: Path | None = None) -> str:
        """Run one of the programs, and give what it prints.

        Args:
            command: Its name and words.
            folder: Where it runs; files are named relative to it, as BLAST takes a path with a space for two.

        Raises:
            OSError: If it is not installed, or fails.
        """
        self.check(command)
        return run_program(command, folder)

    def best_hits(
        self,
        keys: Sequence[str],
        queries: Sequence[str],
        *,
        threads: int,
        block: int,
        report: Report | None = None,
    ) -> NDArray[np.int64]:
        """Find the best key for each query; equal barcodes are searched once.

        Args:
            keys: K barcodes.
            queries: Q barcodes.
            threads: Of the search.
            block: Queries of one call, after which progress can be told.
            report: Called with the number of distinct queries done and of all.

        Returns:
            (Q,) index of a key, of equal barcodes the lowest; -1 where nothing was found.

        Raises:
            OSError: If the program is not installed, or fails.
            ValueError: If there are no keys.
        """
        distinct = list(dict.fromkeys(queries))
        found: dict[str, int] = {}
        with tempfile.TemporaryDirectory(prefix="bioscan-align-") as name:
            folder = Path(name)
            self._make_library(keys, folder)
            for start in range(0, len(distinct), block):
                part = distinct[start : start + block]
                _write_fasta(folder / QUERIES, _numbered(part, start))
                hits = self.parse(self.run(self.search(threads), folder))
                found.update({distinct[query]: key for query, key in hits.items()})
                if report:
                    report(start + len(part), len(distinct))
        return np.array([found.get(barcode, -1) for barcode in queries], dtype=np.int64)

    def measured_search(self, keys: Sequence[str], queries: Sequence[str], *, threads: int) -> Search:
        """Find the best key for each query in one call of the program, and measure this call alone.

        The library is made beforehand, of the distinct keys; all queries are searched, also equal ones, from one file.

        Args:
            keys: K barcodes.
            queries: Q barcodes.
            threads: Of the search.

        Raises:
            OSError: If the program is not installed, or fails.
            ValueError: If there are no keys.
        """
        with tempfile.TemporaryDirectory(prefix="bioscan-align-") as name:
            folder = Path(name)
            self._make_library(keys, folder)
            _write_fasta(folder / QUERIES, _numbered(queries))
            command = self.search(threads)
            self.check(command)
            printed, usage = run_measured(command, folder)
        hits = np.full(len(queries), -1, np.int64)
        for query, key in self.parse(printed).items():
            hits[query] = key
        return Search(hits, usage)

    def _make_library(self, keys: Sequence[str], folder: Path) -> None:
        if not keys:
            raise ValueError(f"{self.name} needs keys to search in; there are none.")
        # The first of equal barcodes, so that the lowest index wins.
        first: dict[str, int] = {}
        for index, barcode in enumerate(keys):
            first.setdefault(barcode, index)
        _write_fasta(folder / KEYS, [(str(index), barcode) for barcode, index in first.items()])
        self.run(self.library, folder)


def _numbered(barcodes: Sequence[str], start: int = 0) -> list[tuple[str, str]]:
    """Records of a FASTA file, whose names are numbers."""
    return [(str(number), barcode) for number, barcode in enumerate(barcodes, start)]


def _write_fasta(path: Path, records: Sequence[tuple[str, str]]) -> None:
    path.write_text("".join(f">{name}\n{barcode}\n" for name, barcode in records), encoding="ascii")
