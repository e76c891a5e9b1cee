"""What the measured rates come to on a cluster, on paper; every figure is computed from results, none is typed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from barcodes import REPEATS
from scale_parts import SPECIMENS

BARCODES = round(SPECIMENS / REPEATS)
EXAMPLES = 35 * 2_325_482
"""Epochs of the reference's code, and the published number of distinct barcodes in pretrain and other_heldout."""
QUERIES = 1_000_000
IMAGES_GB = 39.1
"""Of the package cropped_256: its archives on the Hub."""
RANKS = 64
TERAFLOPS = 100
HEADER = ("step", "how much", "measured rate", "source", "formula", "on paper")
NOT_MEASURED = "not measured here"
Record = dict[str, Any]
Row = list[str]


def projection(records: Sequence[Record], others: Path) -> list[Row]:
    """The rows of the projection, under `HEADER`.

    Args:
        records: Results of the rehearsals.
        others: Folder of the results of `run.py`.
    """
    parts = {record["part"]: record for record in records}
    return [*_data_rows(parts), *_model_rows(others), *_library_rows(parts)]


def marginal(record: Record) -> float:
    """CPU seconds of one more, without what every run costs: from the smallest to the largest size."""
    first, last = record["sizes"][0], record["sizes"][-1]
    return float((last["cpu"] - first["cpu"]) / (last["n"] - first["n"]))


def _data_rows(parts: dict[str, Record]) -> list[Row]:
    rows = []
    for part, what in (
        ("loading_first", "metadata, from the CSV to all splits"),
        ("tokens_k8", "all barcodes as 8-mers"),
    ):
        if part in parts:
            last = parts[part]["sizes"][-1]
            amount = f"{last['n']:,} {parts[part]['unit']}"
            rows.append([what, amount, "at this size", _part(part), "measured", f"{_time(last['cpu'])} of a core"])
    if "image_conversion" in parts:
        record = parts["image_conversion"]
        seconds, size = marginal(record), IMAGES_GB * 1e9 / SPECIMENS
        hours = SPECIMENS * seconds / 3600
        paper = (
            f"{hours:.2g} rank-hours; {RANKS} ranks: {_time(3600 * hours / RANKS)}, if the disk reads and writes "
            f"{RANKS * size / seconds / 1e9:.2g} GB/s each; {IMAGES_GB:g} GB are read and as much is written"
        )
        rate = f"{1e6 * seconds:,.0f} CPU µs per image"
        formula = f"images x rate; {size / seconds / 1e6:,.0f} MB/s each way per rank"
        rows.append(["cropped_256 to shards", f"{SPECIMENS:,} images", rate, _part("image_conversion"), formula, paper])
    return rows


def _model_rows(others: Path) -> list[Row]:
    embedding, training, towers = (_kept(others / f"{name}.json") for name in ("embedding", "training_step", "towers"))
    distinct, images = f"{BARCODES:,} distinct barcodes", f"{SPECIMENS:,} images"
    rows = []
    for k in (8, 4):
        found = _figures(embedding, f"k = {k}, distinct", "specimens per CPU s")
        what = f"embedding, BarcodeBERT of 4 layers, k = {k}"
        rows += _rated(what, distinct, BARCODES, max(found, default=None), "embedding", "core")
    rows += _on_devices("embedding, BarcodeBERT", distinct, BARCODES, embedding, "embedding")
    for tower, of, amount in (("ViT", images, SPECIMENS), ("BERT", distinct, BARCODES)):
        found = _figures(towers, tower, "specimens per CPU s")
        rows += _rated(f"embedding, CLIBD's {tower}", of, amount, max(found, default=None), "towers", "core")
    examples = f"{EXAMPLES:,} barcodes, 35 epochs"
    batches = [int(row["size"].split()[0].replace(",", "")) for row in training if "k = 8" in row["what"]]
    steps = _figures(training, "k = 8", "CPU s")
    rate = batches[0] / min(steps) if steps else None
    rows += _rated("pretraining, BarcodeBERT of 4 layers, k = 8", examples, EXAMPLES, rate, "training_step", "core")
    rows += _on_devices("pretraining, BarcodeBERT", examples, EXAMPLES, training, "training_step")
    flops = 3 * _forward_flops() * EXAMPLES
    at_one = f"{_rounded(flops / 1e12 / 3600)} hours at 1 TFLOP/s reached, a {TERAFLOPS}th of that at {TERAFLOPS}"
    formula = "barcodes x 3 x operations of a forward pass"
    return [*rows, ["the same as operations", examples, f"{flops:.2g} FLOP", "accelerator.py", formula, at_one]]


def _forward_flops() -> float:
    """Of a barcode in the paper's model with the head at half of the positions."""
    from accelerator import forward_flops

    from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig

    config = BarcodeBertConfig(num_hidden_layers=4, num_attention_heads=4, kmer_size=8)
    return forward_flops(config, config.max_nucleotides // 8, predicted=config.max_nucleotides // 8 / 2)


def _library_rows(parts: dict[str, Record]) -> list[Row]:
    rows = []
    if "library_build" in parts:
        seconds, keys = marginal(parts["library_build"]), parts["library_build"]["sizes"][-1]["n"]
        result = f"{_time(seconds * BARCODES)} of a core"
        rate, formula = f"{1e6 * seconds:,.0f} CPU µs per key up to {keys:,}", "keys x rate"
        rows.append(["library of all", f"{BARCODES:,} keys", rate, _part("library_build"), formula, result])
    if "identification" in parts:
        seconds = marginal(parts["identification"])
        result = f"{_time(seconds * QUERIES)} of a core"
        rate = f"{1e6 * seconds:,.0f} CPU µs per query"
        rows.append(["names", f"{QUERIES:,} queries", rate, _part("identification"), "queries x rate", result])
    return rows


def _rated(what: str, of: str, amount: int, rate: float | None, source: str, chip: str) -> list[Row]:
    """A step of which so many are done per second of a core or GPU."""
    if rate is None:
        return [[what, of, NOT_MEASURED, f"{source}.json", "", ""]]
    hours = f"{_rounded(amount / rate / 3600)} {chip}-hours"
    return [[what, of, f"{_rounded(rate)} per s of a {chip}", f"{source}.json", "amount / rate", hours]]


def _on_devices(what: str, of: str, amount: int, rows: Sequence[Record], source: str) -> list[Row]:
    """The same on a GPU, if there was one."""
    found = [row for row in rows if row["what"].startswith("on NVIDIA") and row["unit"] == "barcodes per s"]
    if not found:
        return [[f"{what}, on a GPU", of, NOT_MEASURED, f"{source}.json", "", ""]]
    best = max(found, key=lambda row: float(row["ours"]["value"]))
    return _rated(f"{what}, {best['what']}", of, amount, best["ours"]["value"], source, "GPU")


def _rounded(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _kept(path: Path) -> list[Record]:
    rows: list[Record] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return rows


def _figures(rows: Sequence[Record], what: str, unit: str) -> list[float]:
    return [float(row["ours"]["value"]) for row in rows if what in row["what"] and row["unit"] == unit]


def _part(name: str) -> str:
    return f"scale/{name}.json"


def _time(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.2g} {unit}"
    return f"{seconds:,.2g} s"
