"""How much of a chip's bfloat16 peak BarcodeBERT's embedding and pretraining reach, and how much memory they take."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from barcodebert_ways import pretrain
from barcodes import made_barcodes
from comparison import Row
from measuring import measured

from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeBertModel

PEAKS = {"NVIDIA B200": 2250, "NVIDIA H200": 989, "NVIDIA H100 80GB HBM3": 989, "NVIDIA A100": 312}
"""TFLOP/s in bfloat16 without sparsity, by torch's name of the chip, of which A100s have several with a hyphen.

A100: developer.nvidia.com/blog/nvidia-hopper-architecture-in-depth, table 3; H200, and the H100 with the same die:
itkb.uw.cz/2026/06/nvidia-h200-vs-b300-precisions-cores.html; B200: hmc-tech.com/gpu/nvidia-b200-vs-nvidia-l40. Other
chips, also the slower NVL and PCIe cards of these, are not known.
"""
WARM_UP = 3
"""Batches before the time runs: shapes that differ from those of the first let the model be compiled again."""
WAYS = {
    "embedding": "`BarcodeBertEncoder`, bfloat16",
    "embedding, compiled": "`BarcodeBertEncoder`, bfloat16, after `model.compile()`",
    "training": "`BarcodeBertForMaskedLM`, bfloat16, loss at masked k-mers",
    "training, compiled": "`BarcodeBertForMaskedLM`, bfloat16, after `model.compile()`",
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


def measure(way: str, folder: Path, batch: int, batches: int) -> dict[str, Any]:
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
    return {"rate": rate, "tflops": rate * flops / 1e12, "memory": memory, "device": device}


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


def rows(way: str, found: dict[str, Any], size: str, unit: str) -> list[Row]:
    """Rows of the page.

    Args:
        way: What ran.
        found: `rate` per second, `tflops`, `memory` in GB and `device`.
        size: On how much.
        unit: What the rate counts.
    """
    peak = peak_of(found["device"])
    figures = {f"{unit} per s": found["rate"], "TFLOP/s": found["tflops"], "GB of its memory": found["memory"]}
    if peak:
        figures["% of the bfloat16 peak"] = 100 * found["tflops"] / peak
    return [
        Row(f"on {found['device']}", size, name, way, value, higher="memory" not in name)
        for name, value in figures.items()
    ]


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8").split() if info.exists() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags
