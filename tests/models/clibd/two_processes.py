"""What each of two processes computes of its half of a batch."""

from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from bioscan_hf.models.clibd.loss_clibd import alignment_loss
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd

MODALITIES = ("image", "dna", "text")
PAIRS = list(combinations(MODALITIES, 2))
PARITY = Path(__file__).parent / "parity"
COUNT = 10
"""Specimens of both together."""
CASES: dict[str, dict[str, Any]] = {
    f"{targets}{'+bias' if bias else ''}{f'+tile{tile}' if tile else ''}": {
        "targets": targets,
        "bias": bias,
        "tile": tile,
    }
    for targets in ("identity", "mask", "mean", "sum", "hierarchical")
    for bias in (False, True)
    for tile in (None, 2)
}


def specimens() -> dict[str, Any]:
    """Vectors, which modalities are there (no text in the second process, no barcode in the first but one), and ids."""
    draw = torch.Generator().manual_seed(4)
    there = torch.ones(3, COUNT, dtype=torch.bool)
    there[0, [1, 7]] = False
    there[1, [0, 1, 2, 4]] = False
    there[2, 5:] = False
    return {
        "vectors": torch.randn(3, COUNT, 6, generator=draw),
        "there": there,
        "group_ids": torch.randint(-1, 4, (COUNT, 2), generator=draw),
        "caption_ids": torch.randint(-1, 3, (COUNT,), generator=draw),
        "rank_ids": torch.randint(-1, 3, (COUNT, 2), generator=draw),
    }


def loss_of(rows: slice, *, targets: Any, bias: bool, tile: int | None) -> dict[str, torch.Tensor]:
    """Loss of some rows, and its gradients."""
    made = specimens()
    raw = made["vectors"][:, rows].clone().requires_grad_()
    scale, shift = (torch.tensor(value, requires_grad=True) for value in (3.0, -2.0))
    loss = alignment_loss(
        dict(zip(MODALITIES, normalize(raw, dim=-1), strict=True)),
        dict(zip(MODALITIES, made["there"][:, rows], strict=True)),
        scale,
        shift if bias else None,
        pairs=PAIRS,
        targets=targets,
        tile=tile,
        **{name: made[name][rows] for name in ("group_ids", "caption_ids", "rank_ids")},
    )
    (loss + 0 * shift).backward()
    assert raw.grad is not None and scale.grad is not None and shift.grad is not None
    return {"loss": loss.detach(), "raw": raw.grad, "scale": scale.grad, "bias": shift.grad}


def parity_loss_of(rows: slice, labels: str) -> dict[str, torch.Tensor]:
    """Of the reference's vectors."""
    vectors = load_file(PARITY / "loss_distributed.safetensors")
    raw = {name: vectors[f"{name}_features"][rows].clone().requires_grad_() for name in MODALITIES}
    scale = vectors["logit_scale"].clone().requires_grad_()
    present = torch.ones(len(next(iter(raw.values()))), dtype=torch.bool)
    loss = alignment_loss(
        {name: normalize(own, dim=-1) for name, own in raw.items()},
        dict.fromkeys(MODALITIES, present),
        scale,
        pairs=PAIRS,
        targets="identity" if labels == "unique" else "sum",
        group_ids=vectors[f"labels_{labels}"][rows],
    )
    loss.backward()
    grads = {name: own.grad for name, own in {**raw, "scale": scale}.items() if own.grad is not None}
    return {"loss": loss.detach(), **grads}


def batch_of(rows: slice) -> dict[str, torch.Tensor]:
    """Inputs of `tiny_clibd`, of which the second half has no text."""
    batch = made_batch(COUNT, has_text=torch.arange(COUNT) < COUNT // 2, has_dna=torch.arange(COUNT) % 3 > 0)
    return {name: value[rows] for name, value in batch.items()}


def model_gradients(model: Any, rows: slice) -> dict[str, torch.Tensor]:
    """Of `tiny_clibd`, maybe in DDP."""
    model.train()
    loss = model(**batch_of(rows)).loss
    loss.backward()
    own = getattr(model, "module", model)
    grads = {name: parameter.grad for name, parameter in own.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach(), **grads}


def compute(folder: Path) -> None:
    """Save what this process computes: `<rank>.safetensors`."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    half = slice(rank * COUNT // 2, (rank + 1) * COUNT // 2)
    found = {
        f"{case}/{key}": value for case, options in CASES.items() for key, value in loss_of(half, **options).items()
    }
    for labels in ("unique", "dup"):
        rows = slice(10 * rank, 10 * rank + 10)
        found |= {f"{labels}/{key}": value for key, value in parity_loss_of(rows, labels).items()}
    for chunk_size in (None, 2):
        model: Any = DistributedDataParallel(tiny_clibd())
        model.module.chunk_size = chunk_size
        found |= {f"ddp{chunk_size}/{key}": value for key, value in model_gradients(model, half).items()}
    save_file({key: value.contiguous().clone() for key, value in found.items()}, folder / f"{rank}.safetensors")
    distributed.destroy_process_group()
