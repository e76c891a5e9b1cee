"""CLIBD's contrastive loss in the reference's form, in CLIP's, and in ours; each run in a process of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import measured
from torch.nn.functional import cross_entropy, normalize

from bioscan_hf.models.clibd.loss_clibd import alignment_loss

MODALITIES = ("image", "dna", "text")
PAIRS = list(itertools.combinations(MODALITIES, 2))
SCALE = 1 / 0.07
TILE = 256
Vectors = dict[str, torch.Tensor]
Result = dict[str, Any]


def reference_loss(vectors: Vectors, species: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """What bioscan-ml/clibd computes (commit 7d73f80, `ContrastiveLoss`), written anew.

    Both orders of each pair are visited; each normalises both modalities, makes the matrix of targets, and adds a
    cross-entropy with class probabilities in both directions: each term twice.

    Args:
        vectors: Embeddings by modality, (N, D), of any length.
        species: Specimens with the same number are each other's positives, (N,).
        scale: Factor of cosines.
    """
    losses = []
    for a, b in itertools.permutations(vectors.values(), 2):
        one, other = normalize(a, dim=-1), normalize(b, dim=-1)
        targets = (species[:, None] == species).float()
        losses.append(cross_entropy(scale * one @ other.T, targets))
        losses.append(cross_entropy(scale * other @ one.T, targets))
    return torch.stack(losses).mean()


def clip_loss(vectors: Vectors, species: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """CLIP's own form for three modalities: one matrix for each pair of unit vectors, cross-entropies with indices."""
    places = torch.arange(len(species))
    losses = []
    for one, other in itertools.combinations(vectors.values(), 2):
        matrix = scale * one @ other.T
        losses += [cross_entropy(matrix, places), cross_entropy(matrix.T, places)]
    return torch.stack(losses).mean()


def _ours(**options: Any) -> Callable[[Vectors, torch.Tensor, torch.Tensor], torch.Tensor]:
    def loss(vectors: Vectors, species: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        there = torch.ones(len(species), dtype=torch.bool)
        return alignment_loss(
            vectors,
            dict.fromkeys(vectors, there),
            scale,
            pairs=PAIRS,
            group_ids=species,
            **options,
        )

    return loss


@dataclass(frozen=True)
class Way:
    """One form of the loss.

    Attributes:
        title: What it is, for the page.
        loss: Of unit vectors, species and scale.
        shared: Whether specimens of one species are each other's positives; else each is its own only.
        same_as: The way with the same value and gradients, if there is one.
    """

    title: str
    loss: Callable[[Vectors, torch.Tensor, torch.Tensor], torch.Tensor]
    shared: bool = False
    same_as: str | None = None


WAYS: dict[str, Way] = {
    "reference": Way("the reference's form: 12 cross-entropies, whole targets", reference_loss),
    "clip": Way("CLIP's form: 3 matrices, 6 cross-entropies with indices", clip_loss, same_as="reference"),
    "whole": Way("**`alignment_loss`**", _ours(), same_as="reference"),
    "tiled": Way(f"**`alignment_loss(tile={TILE})`**", _ours(tile=TILE), same_as="reference"),
    "reference, species": Way("the reference's form, positives by species", reference_loss, shared=True),
    "sum": Way('`targets="sum"`', _ours(targets="sum"), shared=True, same_as="reference, species"),
    "mean": Way('`targets="mean"`', _ours(targets="mean"), shared=True),
    "mask": Way('`targets="mask"`', _ours(targets="mask"), shared=True),
    "sigmoid": Way("SigLIP's loss", _ours(bias=torch.tensor(-10.0))),
}
OURS = ("whole", "tiled", "sum", "mean", "mask", "sigmoid")
FASTER = {500: 4.0, 2000: 3.0}
"""How many times faster than the reference `alignment_loss` should be, by the number of specimens."""


def peer_of(way: str) -> str:
    """The reference's form with which one of ours is compared."""
    return "reference, species" if WAYS[way].shared else "reference"


def run(way: str, batch: int, width: int, repeats: int, seconds: float, folder: str) -> Result:
    """Measure one form, forward and backward, from the unit vectors that the model gives, in the reference, too.

    Args:
        way: One of `WAYS`.
        batch: Specimens.
        width: Dimensions of their embeddings.
        repeats: How often the time is taken at least, 0 for never; the first pass, of which the memory counts, goes
            before.
        seconds: For so long it is taken again and again.
        folder: Takes the gradient.

    Returns:
        `cpu` and `wall`, seconds of the fastest pass; `memory`, GB that the process held more than before, at the most;
        `loss`.
    """
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(batch)
    vectors = {name: torch.randn(batch, width, generator=draw) for name in MODALITIES}
    # Barcodes and texts have a cosine of 0.4 with their images, as early in training; a third as many species.
    for name in MODALITIES[1:]:
        vectors[name] += 0.45 * vectors["image"]
    vectors = {name: normalize(own, dim=-1) for name, own in vectors.items()}
    species = torch.randint(0, batch // 3, (batch,), generator=draw) if WAYS[way].shared else torch.arange(batch)
    leaves = {name: own.requires_grad_() for name, own in vectors.items()}
    scale = torch.tensor(SCALE, requires_grad=True)

    def step() -> float:
        for leaf in (*leaves.values(), scale):
            leaf.grad = None
        loss = WAYS[way].loss(leaves, species, scale)
        loss.backward()
        return loss.item()

    _small_step(way)
    before = _memory("VmRSS")
    # Linux starts the peak anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    value = step()
    result: Result = {"memory": _memory("VmHWM") - before, "loss": value}
    # What a vector's length would change has no part in the training: the model normalises.
    gradients = [_across(leaf.grad, leaf.detach()).numpy() for leaf in leaves.values() if leaf.grad is not None]
    np.save(Path(folder) / f"{way}-{batch}.npy", np.stack(gradients))
    costs: list[dict[str, float]] = []
    start = time.perf_counter()
    while len(costs) < repeats or time.perf_counter() < start + seconds:
        with measured() as cost:
            step()
        costs.append(dict(cost))
    return result | {unit: min(cost[unit] for cost in costs) for unit in ("cpu", "wall") if costs}


def _across(gradient: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """The part of a gradient that turns unit vectors."""
    return gradient - (gradient * units).sum(dim=1, keepdim=True) * units


def _small_step(way: str) -> None:
    """Let libraries load what they need."""
    few = {name: torch.randn(8, 8, requires_grad=True) for name in MODALITIES}
    WAYS[way].loss(few, torch.arange(8), torch.tensor(SCALE, requires_grad=True)).backward()


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) * 1024 / 1e9


def agreement(way: str, batch: int, folder: Path) -> float | None:
    """Largest difference of a gradient from that of the way it should equal, as a share of the largest gradient."""
    other = WAYS[way].same_as
    if other is None:
        return None
    found, expected = (np.load(folder / f"{name}-{batch}.npy") for name in (way, other))
    return float(np.abs(found - expected).max() / np.abs(expected).max())
