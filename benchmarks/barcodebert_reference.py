"""What the code of BarcodeBERT does (bioscan-ml/BarcodeBERT, main): tokens, embeddings and a step of pretraining.

Written anew from its behaviour, with today's torch and transformers; the tests compare it with `bioscan_hf`. A `dict`
stands for torchtext's vocabulary, which no longer installs beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

MAX_LETTERS = 660
MASK_ID, UNKNOWN_ID, FIRST_KMER_ID = 0, 1, 2


class Tokenizer:
    """K-mers of one barcode at a time, which is padded with N."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.ids = {"".join(kmer): i for i, kmer in enumerate(product("ACGT", repeat=k), FIRST_KMER_ID)}

    def __call__(self, barcode: str, offset: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask of a barcode without its first `offset` letters, (tokens,) each."""
        letters = barcode[offset : offset + MAX_LETTERS]
        tokens, whole = MAX_LETTERS // self.k, len(letters) // self.k
        padded = letters + "N" * (MAX_LETTERS - len(letters))
        kmers = [padded[start : start + self.k] for start in range(0, MAX_LETTERS - self.k + 1, self.k)]
        ids = torch.tensor([self.ids.get(kmer, UNKNOWN_ID) for kmer in kmers], dtype=torch.int64)
        return ids, torch.tensor([1] * whole + [0] * (tokens - whole), dtype=torch.int32)


def load_model(folder: Path, k: int) -> Any:
    """Stock `BertForTokenClassification` with the weights of a saved `BarcodeBertForMaskedLM`."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertForTokenClassification

    ours = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = ("vocab_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
    config = BertConfig(**{name: ours[name] for name in sizes}, output_hidden_states=True)
    config.num_labels = 4**k
    model = BertForTokenClassification(config)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def embedder(folder: Path, k: int, *, classifier: bool) -> Callable[[list[str]], NDArray[Any]]:
    """A function that embeds barcodes one by one.

    Args:
        folder: Of the model.
        k: Letters in a token.
        classifier: Whether logits are computed, too. `knn_probing.py` takes the classifier off, users of the Hub's
            model with `BertForTokenClassification`, as on its card, do not.
    """
    model, tokenizer = load_model(folder, k).eval(), Tokenizer(k)
    if not classifier:
        model.classifier = nn.Identity()

    def one(barcode: str) -> torch.Tensor:
        ids, mask = (tensor.unsqueeze(0) for tensor in tokenizer(barcode))
        with torch.no_grad():
            hidden = model(ids, mask).hidden_states[-1]
            return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)

    return lambda barcodes: torch.cat([one(barcode) for barcode in barcodes]).numpy()


def pretrain(folder: Path, k: int, batches: list[list[str]], report: Callable[[int, float], None]) -> None:
    """Pretrain with float32: half of the k-mers are masked, and all are predicted, masked and visible.

    The reference's accuracies, which it computes at each step, are left out.

    Args:
        folder: Of the model.
        k: Letters in a token.
        batches: Barcodes of each step.
        report: Called after each step with the number of steps done and the loss.
    """
    model, tokenizer = load_model(folder, k).train(), Tokenizer(k)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-4, total_steps=len(batches) + 1)
    criterion = nn.CrossEntropyLoss()
    for step, batch in enumerate(batches, 1):
        pairs = [tokenizer(barcode, offset=int(torch.randint(k, (1,)))) for barcode in batch]
        ids, mask = torch.stack([ids for ids, _ in pairs]), torch.stack([mask for _, mask in pairs])
        known = ids >= FIRST_KMER_ID
        masked = known & (torch.rand(ids.shape) < 0.5)
        logits = model(ids.masked_fill(masked, MASK_ID), attention_mask=mask).logits
        loss = criterion(logits[known], ids[known] - FIRST_KMER_ID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        report(step, loss.item())
