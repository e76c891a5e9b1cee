"""The page of `clibd.py`: tables of what was measured, and whether the bars are met."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clibd_loss
import clibd_towers
from peer import versions

Result = dict[str, Any]
LARGEST_DIFFERENCE = 1e-5
"""Of a gradient, as a share of the largest."""
MEMORY_SHARE = 1 / 4
"""Of the reference's memory that tiles may take, of the larger batches."""


@dataclass(frozen=True)
class Job:
    """One measurement, in a process of its own.

    Attributes:
        part: `loss`, `processor`, a tower, or `device`.
        way: One of the part's.
        batch: Specimens at once.
    """

    part: str
    way: str
    batch: int


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
        device_batches: Specimens in a training step on the device, and its `chunk_size`, by way.
        device_steps: Steps that are measured.
        fields: Of `ClibdConfig`, instead of the default.
    """

    loss_batches: tuple[int, ...] = (500, 2000)
    width: int = 768
    images: int = 64
    tower_batch: int = 8
    repeats: int = 2
    seconds: float = 4.0
    device_batches: dict[str, tuple[int, int | None]] = field(
        default_factory=lambda: {"whole": (500, None), "chunks": (4000, 500)}
    )
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
    device_batches={"whole": (4, None), "chunks": (8, 2)},
    device_steps=1,
    fields={
        "vision_config": {"model_type": "vit", "image_size": 32, "patch_size": 16, **_TINY},
        "dna_config": _TINY,
        "text_config": {"model_type": "bert", **_TINY},
    },
)


@dataclass(frozen=True)
class Measured:
    """Results, and what a reader needs to judge them.

    Attributes:
        results: Of each job, the best of all rounds.
        rounds: How many.
        loads: Load averages when processes started.
        sizes: How much was measured.
    """

    results: dict[Job, Result]
    rounds: int
    loads: list[float]
    sizes: Sizes

    def of(self, part: str, batch: int | None = None) -> dict[str, Result]:
        """Results of a part by way."""
        return {
            job.way: result for job, result in self.results.items() if job.part == part and batch in (None, job.batch)
        }


def page(run: Measured, command: str) -> str:
    """Write the page.

    Args:
        run: What was measured.
        command: That measured it.

    Returns:
        Markdown.
    """
    found = versions("torch", "transformers", "numpy", "PIL", "bioscan_hf")
    loads = min(run.loads), max(run.loads)
    others = "; other work ran beside them, so compare CPU seconds" if loads[1] > 2 else ""
    losses = "\n\n".join(_losses(run, batch) for batch in run.sizes.loss_batches)
    return f"""# CLIBD beside the reference's forms

    {command}

## Loss

Forward and backward from the unit vectors that the model gives, in the reference, too, whose loss normalises them anew
for each term. Three modalities of {run.sizes.width} dimensions, float32.

{losses}

- The reference's form (bioscan-ml/clibd 7d73f80, `ContrastiveLoss`, written anew) computes each of the 6
  cross-entropies twice, and passes whole matrices of targets. "Faster" compares CPU time. Memory is what the process
  holds at the most beyond vectors, libraries and what was there before the first pass.
- "Difference" is the largest of any gradient from that of the form with the same value, as a share of the largest.
- The values of `mean`, `mask` and SigLIP's loss are others; their tests compare them with whole matrices.

## Processor

{_processor(run)}

JPEG files of made photographs, 256 pixels at the shorter side, to `pixel_values` (3, 224, 224); decoded by Pillow in
both ways, {run.sizes.images} at once.

## Towers

{_towers(run)}

Forward passes of {run.sizes.tower_batch} specimens with random weights. "Cosine" is the smallest to float32's state of
the first token of the same specimen.

## On a GPU

{_device(run)}

## How it was measured

Every way in a fresh process, one at a time, its start and imports not counted, after one pass that does not count; the
best of all passes, {run.sizes.repeats} or more, in {"one round" if run.rounds == 1 else f"{run.rounds} rounds"}. CPU
seconds are those of the user and the system. {_chip()}, {platform.system()}; torch with
{os.environ.get("OMP_NUM_THREADS", "all")} of {os.cpu_count()} cores. The load average
was {loads[0]:.1f} to {loads[1]:.1f} when the processes started{others}.
Versions: {", ".join(f"{name} {version}" for name, version in found.items())}.
"""


def _losses(run: Measured, batch: int) -> str:
    results = run.of("loss", batch)
    lines = _head(
        f"{batch:,} specimens", ["CPU s", "wall s", "faster", "memory, MB", "of its memory", "loss", "difference"]
    )
    for name, own in results.items():
        way = clibd_loss.WAYS[name]
        base = results["reference, species" if way.shared else "reference"]
        faster = base["cpu"] / own["cpu"]
        # With tiny sizes, nothing more may be held than before.
        share = own["memory"] / base["memory"] if base["memory"] else 1.0
        bars = {f"at least {least:g}x": faster >= least for size, least in way.bars if size == batch}
        if name == "tiled" and batch == max(run.sizes.loss_batches):
            bars[f"at most {MEMORY_SHARE:g} of the memory"] = share <= MEMORY_SHARE
        difference = own["difference"]
        if difference is not None:
            bars |= {f"difference at most {LARGEST_DIFFERENCE:g}": difference <= LARGEST_DIFFERENCE}
        cells = [f"{own['cpu']:.3g}", f"{own['wall']:.3g}", f"{faster:.2f}x", f"{own['memory'] * 1000:,.0f}"]
        cells += [f"{share:.2f}", f"{own['loss']:.6g}", "" if difference is None else f"{difference:.1g}"]
        lines.append(_row(way.title, *cells, _verdicts(bars)))
    return "\n".join(lines)


def _processor(run: Measured) -> str:
    results = run.of("processor")
    lines = _head("way", ["images per CPU s", "images per s", "of the plain way"])
    for name, own in results.items():
        rates = [f"{run.sizes.images / own[unit]:,.0f}" for unit in ("cpu", "wall")]
        share = results["plain"]["cpu"] / own["cpu"]
        same = abs(own["sum"] - results["plain"]["sum"]) <= 1e-6 * results["plain"]["sum"]
        verdicts = _verdicts({"the same pixels": same} if name != "plain" else {})
        lines.append(_row(clibd_towers.PROCESSORS[name], *rates, f"{share:.2f}x", verdicts))
    return "\n".join(lines)


def _towers(run: Measured) -> str:
    lines = _head("tower, way", ["per CPU s", "per s", "faster, CPU", "faster, wall", "cosine"])
    for tower, title in clibd_towers.TOWERS.items():
        results = run.of(tower)
        for name, own in results.items():
            rates = [f"{run.sizes.tower_batch / own[unit]:,.2f}" for unit in ("cpu", "wall")]
            faster = [f"{results['eager'][unit] / own[unit]:.2f}x" for unit in ("cpu", "wall")]
            cells = [*rates, *faster, f"{own['cosine']:.6f}"]
            lines.append(_row(f"{title}: {clibd_towers.WAYS[name]}", *cells, ""))
    return "\n".join(lines)


def _device(run: Measured) -> str:
    results = run.of("device")
    if not results:
        return "Not measured: there was none. `--device cuda` does so on a machine that has one."
    first = next(iter(results.values()))
    peak = first["peak"]
    lines = _head("training step", ["specimens per s", "TFLOP/s", "of the peak", "memory, GB"])
    for name, own in results.items():
        batch, chunk_size = run.sizes.device_batches[name]
        title = f"{batch:,} specimens{'' if chunk_size is None else f', `chunk_size` {chunk_size:,}'}"
        share = f"{100 * own['tflops'] / peak:.0f} %" if peak else "unknown"
        cells = [f"{own['rate']:,.1f}", f"{own['tflops']:.3g}", share, f"{own['memory']:.1f}"]
        lines.append(_row(title, *cells, ""))
    text = "\n".join(lines)
    return f"""Device: {first["device"]}; ViT-B/16, BERT-base over 133 k-mers, BERT-small over 20 tokens; bfloat16
autocast, AdamW.

{text}

Operations are those that a step needs, three times those of a forward pass; with chunks, the forward pass is computed
twice, which does not count."""


def _chip() -> str:
    """Name of the processor, and whether it computes in bfloat16."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found: list[tuple[str, str]] = re.findall(r"^(model name|flags)\s*: (.*)$", info, re.MULTILINE)
    fields = dict(found)
    known = [name for name in ("avx512_bf16", "amx_bf16") if name in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(known) or 'no instructions for bfloat16'})"


def _head(text: str, numbers: list[str]) -> list[str]:
    return [_row(text, *numbers, "bar"), _row("---", *["---:"] * len(numbers), "---")]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _verdicts(bars: dict[str, bool]) -> str:
    return "; ".join(f"{text}: {'met' if met else '**not met**'}" for text, met in bars.items())
