"""CLIBD's loss beside the reference's form, its processor beside plain Pillow, and its towers in several precisions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerator
import clibd_device
import clibd_loss
import clibd_towers
import torch
from comparison import Bar, Comparison, Options, Row, beside
from measuring import fresh
from peer import versions

Result = dict[str, Any]
LARGEST_DIFFERENCE = 1e-5
"""Of a gradient, as a share of the largest."""
PACKAGES = ("torch", "transformers", "numpy", "pillow", "bioscan-hf")
PROCESSES = (
    "Every way in a fresh process, after one pass that does not count; the best of all passes counts. One thread."
)


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        loss_batches: Specimens of a loss.
        width: Dimensions of their embeddings.
        images: That the processor gets at once.
        tower_batch: Specimens in a forward pass of a tower.
        repeats: Passes in a process at least, of which the fastest counts.
        seconds: So long a loss is computed again and again.
        device_batches: Specimens in a training step on the device, and its `chunk_size`.
        device_steps: Steps that are measured.
        fields: Of `ClibdConfig`, instead of the default.
    """

    loss_batches: tuple[int, ...] = (500, 2000)
    width: int = 768
    images: int = 64
    tower_batch: int = 8
    repeats: int = 2
    seconds: float = 4.0
    device_batches: tuple[tuple[int, int | None], ...] = ((500, None), (4000, 500))
    device_steps: int = 5
    fields: dict[str, Any] = field(default_factory=dict)


_TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
FULL = Sizes()
QUICK = Sizes(
    loss_batches=(24, 48),
    width=16,
    images=2,
    tower_batch=2,
    repeats=1,
    seconds=0.0,
    device_batches=((4, None), (8, 2)),
    device_steps=1,
    fields={
        "vision_config": {"model_type": "vit", "image_size": 32, "patch_size": 16, **_TINY},
        "dna_config": _TINY,
        "text_config": {"model_type": "bert", **_TINY},
    },
)


def _sizes(options: Options) -> Sizes:
    return QUICK if options.quick else FULL


def _fastest(
    options: Options, ways: Iterable[str], measure: Callable[..., Result], *arguments: Any
) -> dict[str, Result]:
    """The first result of each way, with the smallest times of some rounds, in which the ways take turns."""
    best: dict[str, Result] = {}
    for _ in range(1 if options.quick else options.rounds):
        for way in ways:
            found = fresh(options.quick, measure, way, *arguments)
            first = best.setdefault(way, found)
            best[way] = first | {unit: min(first[unit], found[unit]) for unit in ("cpu", "wall")}
    return best


def _of(results: dict[str, Result], key: str) -> dict[str, float]:
    return {way: result[key] for way, result in results.items()}


def compare_loss(options: Options) -> Comparison:
    """Contrastive losses of three modalities, forward and backward."""
    sizes, rows = _sizes(options), []
    titles = {name: way.title for name, way in clibd_loss.WAYS.items()}
    for batch in sizes.loss_batches:
        with tempfile.TemporaryDirectory() as name:
            measured = (sizes.width, sizes.repeats, sizes.seconds, name)
            results = _fastest(options, clibd_loss.WAYS, clibd_loss.run, batch, *measured)
            differences = {way: clibd_loss.agreement(way, batch, Path(name)) for way in results}
        size = f"{batch:,} specimens of 3 modalities"
        pairs = [(name, clibd_loss.peer_of(name)) for name in clibd_loss.OURS]
        bars = {("whole", "reference"): Bar(clibd_loss.FASTER[batch])} if batch in clibd_loss.FASTER else {}
        rows += beside("loss and gradient", size, "CPU s", _of(results, "cpu"), pairs, titles=titles, bars=bars)
        rows += beside(
            "loss", size, "CPU s", _of(results, "cpu"), [("whole", "clip"), ("tiled", "clip")], titles=titles
        )
        bars = {("tiled", "reference"): Bar(4)} if batch == max(sizes.loss_batches) else {}
        memory = {way: 1000 * value for way, value in _of(results, "memory").items()}
        rows += beside("loss and gradient", size, "MB held more", memory, pairs, titles=titles, bars=bars)
        rows += [
            Row(
                "gradient",
                size,
                "largest difference",
                titles[way],
                found,
                bar=Bar(LARGEST_DIFFERENCE, "ours", least=False),
            )
            for way, found in differences.items()
            if found is not None and way in clibd_loss.OURS
        ]
    return Comparison(
        "contrastive loss of CLIBD, forward and backward",
        rows,
        versions(*PACKAGES),
        notes=[
            "From the unit vectors that the model gives, in the reference, too, whose loss normalises them anew for "
            f"each term; {sizes.width} dimensions, float32.",
            "The reference's form (bioscan-ml/clibd 7d73f80, `ContrastiveLoss`, written anew) computes each of the 6 "
            "cross-entropies twice, and passes whole matrices of targets. Memory is what the process holds at the most "
            "beyond vectors, libraries and what was there before the first pass.",
            "Differences are the largest of any gradient from that of the form with the same value, as a share of the "
            "largest. The values of `mean`, `mask` and SigLIP's loss are others; their tests compare them with whole "
            "matrices.",
            PROCESSES,
        ],
    )


def compare_processor(options: Options) -> Comparison:
    """Image files to `pixel_values`."""
    sizes = _sizes(options)
    results = _fastest(options, clibd_towers.PROCESSORS, clibd_towers.prepare, sizes.images, sizes.repeats)
    rates = {way: sizes.images / cost for way, cost in _of(results, "cpu").items()}
    plain, ours = (results[way]["sum"] for way in ("plain", "processor"))
    return Comparison(
        "CLIBD's processor: image files to pixels",
        beside(
            "JPEG to (3, 224, 224)",
            f"{sizes.images} images at once",
            "images per CPU s",
            rates,
            [("processor", "plain")],
            titles=clibd_towers.PROCESSORS,
            higher=True,
        ),
        versions(*PACKAGES),
        {"Both ways give the same pixels": abs(ours - plain) <= 1e-6 * plain},
        [f"Made photographs, 256 pixels at the shorter side, decoded by Pillow in both ways. {PROCESSES}"],
    )


def compare_towers(options: Options) -> Comparison:
    """Forward passes of the towers, and on a GPU training steps of the whole model."""
    sizes, rows = _sizes(options), []
    ways = [way for way in clibd_towers.WAYS if not (options.quick and way == "compiled")]
    size = f"{sizes.tower_batch} specimens at once"
    for tower, title in clibd_towers.TOWERS.items():
        fields = sizes.fields.get("vision_config" if tower == "image" else "dna_config", {})
        results = _fastest(options, ways, clibd_towers.embed, tower, fields, sizes.tower_batch, sizes.repeats)
        pairs = [(way, "eager") for way in ways if way != "eager"]
        rates = {way: sizes.tower_batch / cost for way, cost in _of(results, "cpu").items()}
        rows += beside(title, size, "specimens per CPU s", rates, pairs, titles=clibd_towers.WAYS, higher=True)
        rows += [
            Row(title, size, "smallest cosine to float32", clibd_towers.WAYS[way], results[way]["cosine"], higher=True)
            for way, _ in pairs
        ]
    return Comparison(
        "CLIBD's towers and their training",
        [*rows, *_on_device(options, sizes)],
        versions(*PACKAGES),
        notes=[
            "Forward passes with random weights. The cosine is the smallest to float32's state of the first token of "
            f"the same specimen. {PROCESSES}",
            "On a GPU: ViT-B/16, BERT-base over 133 k-mers, BERT-small over 20 tokens; bfloat16 autocast, AdamW. "
            "Operations are those that a step needs, three times those of a forward pass; with chunks, the forward "
            "pass is computed twice, which does not count. "
            + ("" if torch.cuda.is_available() else "Here there was none."),
        ],
    )


def _on_device(options: Options, sizes: Sizes) -> list[Row]:
    """Rows of the GPU, if there is one; a quick run has the CPU in its place."""
    if not (torch.cuda.is_available() or options.quick):
        return []
    device, rows = "cpu" if options.quick else "cuda", []
    for batch, chunk_size in sizes.device_batches:
        found = fresh(options.quick, clibd_device.train, sizes.fields, batch, chunk_size, sizes.device_steps, device)
        way = f"training step{'' if chunk_size is None else f', `chunk_size` {chunk_size:,}'}"
        rows += accelerator.rows(way, found, f"{batch:,} specimens", unit="specimens")
    return rows
