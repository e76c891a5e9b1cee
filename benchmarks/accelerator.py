"""How much of a chip's bfloat16 peak BarcodeBERT's embedding and pretraining reach, and how much memory they take."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from barcodebert_ways import Result, pretrain
from barcodes import made_barcodes
from measuring import measured

from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeBertModel

PEAKS = {"NVIDIA B200": 2250, "NVIDIA H200": 989, "NVIDIA H100 80GB HBM3": 989, "NVIDIA A100": 312}
"""TFLOP/s in bfloat16 without sparsity, by torch's name of the chip, of which A100s have several with a hyphen.

A100: developer.nvidia.com/blog/nvidia-hopper-architecture-in-depth, table 3; H200, and the H100 with the same die:
itkb.uw.cz/2026/06/nvidia-h200-vs-b300-precisions-cores.html; B200: hmc-tech.com/gpu/nvidia-b200-vs-nvidia-l40. Other
chips, also the slower NVL and PCIe cards of these: `--peak-tflops`.
"""
WARM_UP = 3
"""Batches before the time runs: shapes that differ from those of the first let the model be compiled again."""
WAYS = {
    "embedding": "`BarcodeBertEncoder`, bfloat16",
    "embedding, compiled": "the same, after `model.compile()`",
    "training": "`BarcodeBertForMaskedLM`, bfloat16, loss at masked k-mers",
    "training, compiled": "the same, after `model.compile()`",
}


def forward_flops(config: BarcodeBertConfig, tokens: int, predicted: float = 0) -> float:
    """Floating-point operations of one barcode in a forward pass; matrix products only, two per multiplication.

    Args:
        config: Sizes: L layers, hidden size h, intermediate size i, k.
        tokens: T k-mers of the barcode; padding does not count.
        predicted: P positions at which the head is computed.

    Returns:
        L (8 T h² + 4 T h i + 4 T² h) + 2 P h 4^k: projections, feed-forward, attention, head. A training step takes
        three times as many, the backward pass being two forward ones.
    """
    h, i = config.hidden_size, config.intermediate_size
    layer = 8 * tokens * h**2 + 4 * tokens * h * i + 4 * tokens**2 * h
    return float(config.num_hidden_layers * layer + 2 * predicted * h * 4**config.kmer_size)


def measure(way: str, folder: Path, batch: int, batches: int) -> Result:
    """Run one way on the GPU, or on the CPU where there is none, to see that it runs.

    Args:
        way: One of `WAYS`.
        folder: Of the model.
        batch: Barcodes in a forward pass or training step.
        batches: How many are measured.

    Returns:
        Barcodes per second, TFLOP/s, the most memory held in GB (on a CPU, that of the process), and the device.
    """
    on_gpu = torch.cuda.is_available()
    torch.manual_seed(0)
    barcodes = made_barcodes(batch * (WARM_UP + batches), seed=0, of_one_length=True)
    with measured() as cost:
        what = _train if way.startswith("training") else _embed
        config, seconds = what(folder, barcodes, batch, compiled="compiled" in way)
    tokens = len(barcodes[0]) // config.kmer_size
    flops = forward_flops(config, tokens)
    if what is _train:
        # Half of the k-mers are masked.
        flops = 3 * forward_flops(config, tokens, predicted=tokens / 2)
    rate = batch * batches / seconds
    memory = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else cost["peak"]
    device = torch.cuda.get_device_name() if on_gpu else "the CPU"
    return {"costs": {}, "facts": {"rate": rate, "tflops": rate * flops / 1e12, "memory": memory, "device": device}}


def _embed(folder: Path, barcodes: list[str], batch: int, *, compiled: bool) -> tuple[BarcodeBertConfig, float]:
    from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder

    model = BarcodeBertModel.from_pretrained(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = BarcodeBertEncoder(model, precision="bfloat16", reading_frames=1, batch_size=batch, device=device)
    if compiled:
        encoder.model.compile()
    encoder.encode(barcodes[: WARM_UP * batch])
    start = time.perf_counter()
    encoder.encode(barcodes[WARM_UP * batch :])
    return model.config, time.perf_counter() - start


def _train(folder: Path, barcodes: list[str], batch: int, *, compiled: bool) -> tuple[BarcodeBertConfig, float]:
    model = BarcodeBertForMaskedLM.from_pretrained(folder)
    if compiled:
        model.compile()
    stamps: list[float] = []
    batches = [barcodes[start : start + batch] for start in range(0, len(barcodes), batch)]
    pretrain(
        model, batches, lambda step, loss: stamps.append(time.perf_counter()), precision="bf16", label_visible=False
    )
    return model.config, stamps[-1] - stamps[WARM_UP - 1]


def peak_of(device: str) -> float | None:
    """TFLOP/s of a chip in bfloat16, None if it is not known; a card such as "NVIDIA H200 NVL" is another, slower one.

    Args:
        device: As torch names it.
    """
    return next((PEAKS[name] for name in PEAKS if device == name or device.startswith(f"{name}-")), None)


def section(results: dict[str, dict[str, Any]], batch: int, peak: float | None) -> str:
    """Lines of the page.

    Args:
        results: Facts of each way.
        batch: Barcodes in a forward pass or training step.
        peak: TFLOP/s of the chip; looked up if not given.
    """
    device = next(iter(results.values()))["device"]
    peak = peak or peak_of(device)
    lines = []
    for way, result in results.items():
        share = f"{100 * result['tflops'] / peak:.0f} %" if peak else "unknown"
        cells = [WAYS[way], f"{result['rate']:,.0f}", f"{result['tflops']:,.3g}", share, f"{result['memory']:.1f}"]
        lines.append(f"| {' | '.join([way.split(',')[0], *cells])} |")
    rows = "\n".join(lines)
    return f"""Device: {device}; batches of {batch:,}, k = 8, 658 letters. The peak in bfloat16 is \
{f"{peak:,.0f} TFLOP/s, without sparsity" if peak else "not known"}.

| | way | barcodes per s | TFLOP/s | of the peak | memory, GB |
| --- | --- | ---: | ---: | ---: | ---: |
{rows}

Operations of a barcode with T tokens: L (8 T h² + 4 T h i + 4 T² h) for L layers of hidden size h and intermediate size
i, and 2 P h 4^k for the head at P positions; a training step takes three times as many, with P = T / 2. Tokenizing and
copying are in the time; the first batches, in which the model is compiled, are not."""
