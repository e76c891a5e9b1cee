"""A tiny encoder of barcodes, which can fail, and a program that embeds with it, which can be killed."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Report


class LetterCounts(BarcodeEncoder):
    """Counts A, C, G, T and all letters.

    Args:
        fails_at: Number of the call of `encode` that fails, from 0.
        pause: Seconds that each call takes.
    """

    name = "letter counts"
    revision = None
    dimension = 5
    min_letters = 3

    def __init__(self, fails_at: int | None = None, pause: float = 0.0) -> None:
        self.fails_at = fails_at
        self.pause = pause
        self.calls: list[list[str]] = []
        self.description = {"model": "letter counts", "revision": None}

    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        if len(self.calls) == self.fails_at:
            raise RuntimeError("power cut")
        self.calls.append(list(barcodes))
        time.sleep(self.pause)
        if report:
            report(len(barcodes), len(barcodes))
        return np.array([[*map(barcode.count, "ACGT"), len(barcode)] for barcode in barcodes], np.float32)


if __name__ == "__main__":
    from bioscan_hf import load_specimens
    from bioscan_hf.evaluation.bulk.run import embed_to_parquet, processes

    table, output, pause, failing_rank = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    state = processes()
    encoder = LetterCounts(fails_at=1 if state.process_index == failing_rank else None, pause=pause)
    specimens = load_specimens(table) if state.is_main_process else None
    sys.stdout.write(f"{embed_to_parquet(encoder, specimens, output, chunk_size=4)}\n")
