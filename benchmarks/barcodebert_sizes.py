"""How much of BarcodeBERT `barcodebert.py` measures, and what a way is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Result = dict[str, dict[str, Any]]
"""`costs`, of which the smallest of some rounds counts, and `facts`."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""That this process may use."""
COMPARED = 32
"""Embeddings that all ways compute, and that are compared."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        config: Fields of `BarcodeBertConfig`; those not given are the paper's: 4 layers, 4 heads, hidden size 768.
        ks: Letters in a token of the models.
        threads: Fewest and most threads of what does not have one only.
        tokenized: Barcodes tokenized at once.
        seconds: So long they are tokenized again and again.
        embedded: Distinct barcodes that the fast ways embed.
        batch: Barcodes in a training step.
        steps: Training steps of which the best counts; one more goes before.
        device_batch: Barcodes in a forward pass or training step on the device.
        device_batches: How many are measured.
    """

    config: dict[str, Any] = field(default_factory=dict)
    ks: tuple[int, ...] = (8, 4)
    threads: tuple[int, int] = (1, CORES)
    tokenized: int = 1024
    seconds: float = 0.3
    embedded: int = 128
    batch: int = 32
    steps: int = 2
    device_batch: int = 1024
    device_batches: int = 32

    @property
    def barcodes(self) -> int:
        """Distinct barcodes that all this needs."""
        return max(self.tokenized, self.embedded, self.batch * (self.steps + 1))


FULL = Sizes()
QUICK = Sizes(
    {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64},
    ks=(4,),
    threads=(1, 1),
    tokenized=64,
    seconds=0,
    embedded=COMPARED,
    batch=2,
    steps=1,
    device_batch=4,
    device_batches=1,
)


@dataclass(frozen=True)
class Way:
    """One way to do what a part measures.

    Attributes:
        title: What it is, for the page.
        open: Makes what is measured (see `tokenize`, `embed` and `train`).
        bar: Whether a bar depends on it; it is measured in every round then, else once.
        slow: Whether it embeds no more barcodes than are compared.
        of_reference: Whether it sees barcodes only, not specimens, and computes each as often as it comes.
    """

    title: str
    open: Callable[..., Any]
    bar: bool = True
    slow: bool = False
    of_reference: bool = False
