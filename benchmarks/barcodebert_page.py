"""The page that `barcodebert.py` writes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerator
import barcodebert_ways as ways
import numpy as np
from barcodes import REPEATS, SHARES
from peer import versions

DATA = {"distinct": "distinct", "repeated": f"{REPEATS:.2f} specimens each"}


@dataclass(frozen=True)
class Job:
    """What one process measures: a way of a part, with k letters in a token (0 if it takes several)."""

    part: str
    way: str = ""
    k: int = 0


@dataclass(frozen=True)
class Measured:
    """All that was measured.

    Attributes:
        results: Of each job: the smallest costs of all rounds, and the facts of the first.
        rounds: How many.
        loads: Load averages when the processes started.
        barcodes: Those that were used.
        sizes: How much was measured.
    """

    results: dict[Job, ways.Result]
    rounds: int
    loads: list[float]
    barcodes: list[str]
    sizes: ways.Sizes

    def costs(self, part: str, k: int = 0) -> dict[str, dict[str, float]]:
        """Costs of each way of a part that was measured for k."""
        names = [name for name in ways.PARTS[part] if Job(part, name, k) in self.results]
        return {name: self.results[Job(part, name, k)]["costs"] for name in names}


def agreement(folder: Path, way: str) -> dict[str, float]:
    """How the vectors of a way differ from others.

    Args:
        folder: Where the ways wrote theirs.
        way: Of embedding.

    Returns:
        Largest difference of a number from the reference's, smallest cosine similarity to our float32 vector of the
        same barcode, and the mean one of our float32 vectors of different barcodes.
    """
    own, theirs, exact = (np.load(folder / f"{name}.npy").astype(np.float64) for name in (way, "reference", "float32"))
    own_directions, directions = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (own, exact))
    different = ~np.eye(len(exact), dtype=bool)
    return {
        "difference": float(np.abs(own - theirs).max()),
        "cosine": float((own_directions * directions).sum(axis=1).min()),
        "between": float((directions @ directions.T)[different].mean()),
    }


def page(run: Measured, command: str, *, peak: float | None) -> str:
    """The page in Markdown.

    Args:
        run: What was measured.
        command: How.
        peak: TFLOP/s of the GPU in bfloat16; looked up if not given.
    """
    lengths = [len(barcode) for barcode in run.barcodes]
    shares = ", ".join(f"{100 * share:.0f} % of {low} to {high}" for (low, high), share in SHARES.items())
    between = run.results[Job("embedding", "float32", 8)]["facts"]["between"]
    model = ", ".join(f"{name} {value}" for name, value in run.sizes.config.items())
    found = versions("torch", "transformers", "tokenizers", "numpy", "bioscan_hf")
    devices = {job.way: result["facts"] for job, result in run.results.items() if job.part == "device"}
    return f"""# BarcodeBERT beside the way of the reference's code

    {command}

Models of {model or "4 layers, 4 heads and hidden size 768, with k = 8 as in the paper and with k = 4"}.
Their weights are random, and the same for all ways.

## Tokenizing: barcodes per CPU second

{_tokenizing(run)}

- {_same_tokens(run)} One thread, {run.sizes.tokenized:,} barcodes at once.
- The reference's way pads each barcode, slices it and looks up its k-mers in a dictionary. The numpy pass joins the
  barcodes, looks up their letters and computes codes; it makes no masks and takes other letters than A, C, G and T for
  A. Ratios are the worst over all k.

## Embedding: barcodes per second

{_embedding(run)}

- With repeats these are specimens per second: BIOSCAN-5M has {REPEATS:.2f} specimens per distinct barcode (5,150,850
  and 2,486,492). The reference's way computes every specimen, at the same rate; `embed` each distinct barcode once.
- "Faster" compares CPU time with one thread, and wall time with all. A bar is met if both reach it.
- "Difference" is the largest of any number from the reference's vectors, "cosine" the smallest to our float32 vector of
  the same barcode. Vectors of different barcodes have {between:.4f} in the mean, as the weights are random.
- The reference takes the classifier off before it embeds (`knn_probing.py`); the Hub's model card does not.

## Pretraining: steps of {run.sizes.batch} barcodes

{_training(run)}

- From barcodes to updated weights, with all threads; the best step after the first. A bar is met if wall time and CPU
  time reach it.
- The objective differs: the loss of the reference is over all k-mers, masked and visible; ours is over the masked ones,
  as in BERT, so that the head is computed at half of the positions. One line has the reference's objective in our loop.
- Our loop also clips gradients. The reference also computes accuracies; they are left out here.

## On a GPU

{accelerator.section(devices, run.sizes.device_batch, peak) if devices else "There was none."}

## How it was measured

Every way in a fresh process, its start, imports and the loading of the model not counted, in random order. The best of
{run.rounds} rounds; ways on which no bar depends, once. CPU seconds are those of the user and the system. Cores:
{ways.thread_counts()[-1]}, {_processor()}, {platform.system()}. The load average was {min(run.loads):.1f} to
{max(run.loads):.1f} when the processes started. Versions:
{", ".join(f"{name} {version}" for name, version in found.items())}.

{len(run.barcodes):,} distinct barcodes of {min(lengths)} to {max(lengths)} letters, {np.mean(lengths):.0f} in the mean.
Without `--data` their letters are random, and their lengths an assumption:
{shares}.
"""


def _tokenizing(run: Measured) -> str:
    costs = run.costs("tokenizing")
    ks = run.sizes.ks
    lines = _head(["way", "barcodes"], [*(f"k = {k}" for k in ks), "faster", "of the numpy pass"])
    for name, own in costs.items():
        for kind in ways.KINDS:
            faster, of_bound = (
                min(costs[base][f"{kind} {k}"] / own[f"{kind} {k}"] for k in ks) for base in ("reference", "bound")
            )
            bars = {"at least 10x the reference's way": faster >= 10, "at least 0.5x the numpy pass": of_bound >= 0.5}
            rates = [f"{1 / own[f'{kind} {k}']:,.0f}" for k in ks]
            cells = [ways.TOKENIZING[name].title, kind, *rates, f"{faster:.1f}x", f"{of_bound:.2f}x"]
            lines.append(_row(*cells, _verdicts(bars if name == "ours" else {})))
    return "\n".join(lines)


def _same_tokens(run: Measured) -> str:
    facts = [result["facts"] for job, result in run.results.items() if job.part == "tokenizing"]
    same = all(len({found[key] for found in facts} - {None}) == 1 for key in facts[0])
    return f"All tokenizers give {'the same ids and masks' if same else '**different ids or masks**'}."


def _embedding(run: Measured) -> str:
    counts = ways.thread_counts()
    units = [f"{count} {unit}" for count in counts for unit in ("cpu", "wall")]
    rates = [f"{count} thread{'s' * (count > 1)}, {unit}" for count in counts for unit in ("CPU", "wall")]
    lines = _head(["k", "way", "barcodes"], [*rates, "faster, CPU", "faster, wall", "difference", "cosine"])
    for k in (8, 4):
        costs = run.costs("embedding", k)
        for name, own in costs.items():
            facts = run.results[Job("embedding", name, k)]["facts"]
            for data in DATA if len(own) > len(units) else ["distinct"]:
                ratio = {unit: costs["reference"][f"distinct {unit}"] / own[f"{data} {unit}"] for unit in units}
                faster = ratio[units[0]], ratio[units[-1]]
                cells = [f"{1 / own[f'{data} {unit}']:,.1f}" for unit in units]
                cells += [f"{value:.2f}x" for value in faster]
                cells += [f"{facts['difference']:.1g}", f"{facts['cosine']:.6f}"] if data == "distinct" else ["", ""]
                verdicts = _verdicts(_embedding_bars(name, data, min(faster), facts))
                lines.append(_row(str(k), ways.EMBEDDING[name].title, DATA[data], *cells, verdicts))
    return "\n".join(lines)


def _embedding_bars(way: str, data: str, faster: float, facts: dict[str, float]) -> dict[str, bool]:
    if way == "float32" and data == "distinct":
        return {"difference at most 1e-5": facts["difference"] <= 1e-5}
    if way == "bfloat16" and data == "distinct":
        return {"at least 1.8x": faster >= 1.8, "cosine at least 0.9999": facts["cosine"] >= 0.9999}
    return {"at least 3.5x": faster >= 3.5} if way == "bfloat16" else {}


def _training(run: Measured) -> str:
    header = ["s per step", "CPU s per step", "barcodes per s", "faster, wall", "faster, CPU", "peak memory, GB"]
    lines = _head(["k", "way"], header)
    for k, factor in ((8, 2.0), (4, 1.8)):
        costs = run.costs("training", k)
        for name, own in costs.items():
            faster = [costs["reference"][unit] / own[unit] for unit in ("wall", "cpu")]
            cells = [f"{own['wall']:.3g}", f"{own['cpu']:.3g}", f"{run.sizes.batch / own['wall']:,.1f}"]
            cells += [*(f"{ratio:.2f}x" for ratio in faster), f"{own['peak']:.1f}"]
            bars = {f"at least {factor:g}x": min(faster) >= factor} if name == "bfloat16" else {}
            lines.append(_row(str(k), ways.TRAINING[name].title, *cells, _verdicts(bars)))
    return "\n".join(lines)


def _head(texts: list[str], numbers: list[str]) -> list[str]:
    return [_row(*texts, *numbers, "bar"), _row(*["---"] * len(texts), *["---:"] * len(numbers), "---")]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _verdicts(bars: dict[str, bool]) -> str:
    return "; ".join(f"{text}: {'met' if met else '**not met**'}" for text, met in bars.items())


def _processor() -> str:
    """Name of the processor, and what it has for matrices in few bits."""
    info = Path("/proc/cpuinfo")
    fields: dict[str, Any] = {}
    if info.exists():
        pairs = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
        fields = {name.strip(): value.strip() for name, _, value in pairs}
    known = ("avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    features = [feature for feature in known if feature in fields.get("flags", "").split()]
    name = fields.get("model name", platform.machine())
    return f"{name} ({', '.join(features) or 'none of ' + ', '.join(known)})"
