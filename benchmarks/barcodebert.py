"""BarcodeBERT's tokens, embeddings and pretraining beside the way of the reference's code."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import accelerator
import barcodebert_ways as ways
import numpy as np
import torch
from barcodebert_sizes import COMPARED, FULL, QUICK, Result, Sizes
from barcodes import REPEATS, SHARES, made_barcodes
from comparison import Bar, Comparison, Options, Row, beside
from measuring import fresh
from peer import versions

SEED = 7
TOKENIZED = (8, 5, 4)
"""Letters in a token, when tokenizing."""
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "bioscan-hf")
DATA = {"distinct": "distinct barcodes", "repeated": f"{REPEATS:.2f} specimens per barcode"}
MODELS = "Models of 4 layers, 4 heads and hidden size 768; their weights are random, and the same for all ways."
TURNS = (
    "The ways take turns in random order, each in a fresh process, its start and imports not counted; the best counts."
)


@dataclass(frozen=True)
class Measured:
    """What was measured of a part.

    Attributes:
        results: Of each way and number of letters in a token: the smallest costs of all rounds, and the facts.
        sizes: How much was measured.
    """

    results: dict[tuple[str, int], Result]
    sizes: Sizes

    def costs(self, name: str, k: int) -> dict[str, float]:
        """One of the costs of each way that was measured for k."""
        found = {way: result["costs"] for (way, own), result in self.results.items() if own == k}
        return {way: costs[name] for way, costs in found.items() if name in costs}


def measure(part: str, options: Options, folder: Path) -> Measured:
    """Measure all ways of a part, in rounds; ways on which no bar depends in the first one only.

    Args:
        part: One of `ways.PARTS`.
        options: Of the run.
        folder: Takes models and vectors.
    """
    sizes = QUICK if options.quick else FULL
    barcodes, order = made_barcodes(sizes.barcodes, SEED), random.Random(SEED)
    of_part, function = ways.PARTS[part]
    if part != "tokenizing":
        for k in sizes.ks:
            fresh(options.quick, ways.save_model, folder / f"k{k}", k, sizes)
    results: dict[tuple[str, int], list[Result]] = {}
    ks = TOKENIZED if part == "tokenizing" else sizes.ks
    for number in range(1 if options.quick else options.rounds):
        jobs = [(name, k) for name, way in of_part.items() if way.bar or not number for k in ks]
        for way, k in order.sample(jobs, len(jobs)):
            found = fresh(options.quick, function, way, k, folder, barcodes, sizes)
            results.setdefault((way, k), []).append(found)
    best = {
        job: {
            "costs": {name: min(result["costs"][name] for result in of_job) for name in of_job[0]["costs"]},
            "facts": of_job[0]["facts"],
        }
        for job, of_job in results.items()
    }
    return Measured(best, sizes)


def compare_tokens(options: Options) -> Comparison:
    """Barcodes to ids and masks."""
    run = measure("tokenizing", options, Path())
    titles = {name: way.title for name, way in ways.TOKENIZING.items()}
    pairs = [("ours", "reference"), ("ours", "bound"), ("json", "reference")]
    bars = {("ours", "reference"): Bar(10), ("ours", "bound"): Bar(0.5)}
    size, rows = f"{run.sizes.tokenized:,} barcodes at once", []
    for k in TOKENIZED:
        rates = {way: 1 / cost for way, cost in run.costs("cpu", k).items()}
        rows += beside(
            f"tokens, k = {k}", size, "barcodes per CPU s", rates, pairs, titles=titles, bars=bars, higher=True
        )
    digests = {(k, result["facts"]["digest"]) for (_, k), result in run.results.items() if result["facts"]["digest"]}
    return Comparison(
        "barcodes to tokens",
        rows,
        versions(*PACKAGES),
        {"All tokenizers give the same ids and masks": len(digests) == len(TOKENIZED)},
        [
            "The reference's way pads each barcode, slices it and looks up its k-mers in a dictionary. The numpy pass "
            "joins the barcodes, looks up their letters and computes codes; it makes no masks and takes other letters "
            "than A, C, G and T for A.",
            f"One thread. {_lengths()} {TURNS}",
        ],
    )


def compare_embedding(options: Options) -> Comparison:
    """Barcodes to vectors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = measure("embedding", options, folder)
        agreements = {job: agreement(folder, *job) for job in run.results}
        devices = _on_device("embedding", options, folder)
    titles = {name: way.title for name, way in ways.EMBEDDING.items()}
    rows = []
    for k in run.sizes.ks:
        for data, factor in (("distinct", 1.8), ("repeated", 3.5)):
            pairs = [(way, "reference") for way in ("bfloat16", "float32", "int8")] + [("bfloat16", "card")]
            pairs = pairs if data == "distinct" else pairs[:2]
            bars = {("bfloat16", "reference"): Bar(factor)} if accelerator.cpu_has_bfloat16() else {}
            for threads, unit in zip(run.sizes.threads, ("CPU", "wall"), strict=True):
                # The reference's way computes every specimen, at the same rate.
                rates = {
                    way: 1 / cost
                    for of in ("distinct", data)
                    for way, cost in run.costs(f"{of} {threads} {unit.lower()}", k).items()
                }
                what = f"vectors, k = {k}, {DATA[data]}, {threads} thread{'s' * (threads > 1)}"
                per = "specimens per CPU s" if unit == "CPU" else "specimens per s"
                size = f"{run.sizes.embedded:,} barcodes"
                rows += beside(what, size, per, rates, pairs, titles=titles, bars=bars, higher=True)
        rows += _agreement_rows(k, agreements)
    return Comparison(
        "barcodes to vectors",
        [*rows, *devices],
        versions(*PACKAGES),
        notes=[
            f"{MODELS} Bars of bfloat16 hold for processors that multiply in it; here "
            f"{'this one does' if accelerator.cpu_has_bfloat16() else 'this one does not, so there are none'}.",
            f"BIOSCAN-5M has {REPEATS:.2f} specimens per distinct barcode. The reference's way computes every "
            f"specimen, `embed` each distinct barcode once. The reference and float32 embed {COMPARED} barcodes.",
            "The reference takes the classifier off before it embeds (`knn_probing.py`); the Hub's card does not.",
            f"{_lengths()} {TURNS}",
        ],
    )


def agreement(folder: Path, way: str, k: int) -> dict[str, float]:
    """How the vectors of a way differ from others.

    Args:
        folder: Where the ways wrote theirs.
        way: Of embedding.
        k: Letters in a token.

    Returns:
        Largest difference of a number from the reference's, and smallest cosine similarity to our float32 vector of the
        same barcode.
    """
    own, theirs, exact = (
        np.load(folder / f"{name} {k}.npy").astype(np.float64) for name in (way, "reference", "float32")
    )
    own_directions, directions = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (own, exact))
    return {
        "difference": float(np.abs(own - theirs).max()),
        "cosine": float((own_directions * directions).sum(axis=1).min()),
    }


def _agreement_rows(k: int, agreements: dict[tuple[str, int], dict[str, float]]) -> list[Row]:
    size = f"{COMPARED} barcodes"
    title = ways.EMBEDDING["float32"].title
    difference = agreements["float32", k]["difference"]
    rows = [Row(f"vectors, k = {k}", size, "largest difference from the reference", title, difference, bar=_AGREE)]
    for way, bar in (("bfloat16", Bar(0.9999, "ours")), ("int8", None)):
        unit, cosine = "smallest cosine to float32", agreements[way, k]["cosine"]
        rows.append(Row(f"vectors, k = {k}", size, unit, ways.EMBEDDING[way].title, cosine, higher=True, bar=bar))
    return rows


_AGREE = Bar(1e-5, "ours", least=False)


def compare_training(options: Options) -> Comparison:
    """Barcodes to updated weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = measure("training", options, folder)
        devices = _on_device("training", options, folder)
    titles = {name: way.title for name, way in ways.TRAINING.items()}
    pairs = [(way, "reference") for way in ways.TRAINING if way != "reference"]
    size, rows = f"{run.sizes.batch} barcodes", []
    for k in run.sizes.ks:
        what = f"step of pretraining, k = {k}"
        bars = {("bfloat16", "reference"): Bar(2.0 if k == 8 else 1.8)} if accelerator.cpu_has_bfloat16() else {}
        for cost, unit in (("cpu", "CPU s"), ("wall", "s")):
            rows += beside(what, size, unit, run.costs(cost, k), pairs, titles=titles, bars=bars)
        peaks = run.costs("peak", k)
        rows += beside(what, size, "GB at the most", peaks, [("bfloat16", "reference")], titles=titles)
    return Comparison(
        "a step of BarcodeBERT's pretraining",
        [*rows, *devices],
        versions(*PACKAGES),
        notes=[
            f"From barcodes to updated weights, with {run.sizes.threads[-1]} threads; the best step after the first. "
            f"{MODELS} Bars of bfloat16 hold for processors that multiply in it.",
            "The loss of the reference is over all k-mers, masked and visible; ours is over the masked ones, as in "
            "BERT, so that the head is computed at half of the positions. One way has the reference's objective in our "
            "loop.",
            "Our loop also clips gradients. The reference also computes accuracies; they are left out here.",
            TURNS,
        ],
    )


def _on_device(part: str, options: Options, folder: Path) -> list[Row]:
    """Rows of the GPU, if there is one; a quick run has the CPU in its place."""
    if not (torch.cuda.is_available() or options.quick):
        return []
    sizes, rows = QUICK if options.quick else FULL, []
    for way in accelerator.WAYS:
        if way.startswith(part) and not (options.quick and "compiled" in way):
            found = fresh(
                options.quick,
                accelerator.measure,
                way,
                folder / f"k{sizes.ks[0]}",
                sizes.device_batch,
                sizes.device_batches,
            )
            size = f"batches of {sizes.device_batch:,}, k = {sizes.ks[0]}"
            rows += accelerator.rows(accelerator.WAYS[way], found, size, "barcodes")
    return rows


def _lengths() -> str:
    shares = ", ".join(f"{100 * share:.0f} % of {low} to {high}" for (low, high), share in SHARES.items())
    return f"Barcodes of random letters; their lengths are an assumption: {shares}."
