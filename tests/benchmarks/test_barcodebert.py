"""The benchmark of BarcodeBERT runs, and what stands for the reference's code does what ours does."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch.utils.flop_counter import FlopCounterMode

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, KmerEncoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setattr(import_module("barcodebert_ways"), "thread_counts", lambda: [1])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the benchmark measures, by tiny models and in this process."""
    program, pages = import_module("barcodebert"), import_module("barcodebert_page")
    sizes, folder = program.ways.QUICK, tmp_path_factory.mktemp("benchmark")
    barcodes = program.made_barcodes(sizes.barcodes, 1)
    (folder / program.BARCODES).write_text(json.dumps(barcodes), encoding="utf-8")
    models = [pages.Job("model", k=k) for k in (8, 4)]
    devices = [pages.Job("device", way, 4) for way in ("embedding", "training")]
    results = {}
    for job in [*models, *program.jobs(further=True), *devices]:
        # Accelerate allows one precision in a process.
        AcceleratorState._reset_state(reset_partial_state=True)
        results[job] = program.run(job, folder, sizes)
    for job, result in results.items():
        if job.part == "embedding":
            result["facts"] |= pages.agreement(folder / f"k{job.k}", job.way)
    AcceleratorState._reset_state(reset_partial_state=True)
    return pages.Measured(results, 1, [0.0], barcodes, sizes)


def facts(measured: Any, part: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for job, result in measured.results.items():
        if job.part == part:
            found.setdefault(job.way, []).append(result["facts"])
    return found


def test_tokenizers_give_the_same_ids_and_masks(measured: Any) -> None:
    found = facts(measured, "tokenizing")
    assert found["reference"] == found["json"] == found["ours"]
    assert set(found["bound"][0].values()) == {None}


def test_bound_gives_the_same_codes_where_all_letters_are_known() -> None:
    ways, barcodes = import_module("barcodebert_ways"), import_module("barcodes")
    made = barcodes.made_barcodes(5, 0, of_one_length=True)
    for k in (4, 8):
        np.testing.assert_array_equal(ways.TOKENIZING["bound"].open(k)(made)[:, : 658 // k], KmerEncoder(k)(made)[0])


def test_the_reference_computes_the_same_vectors(measured: Any) -> None:
    found = facts(measured, "embedding")
    assert all(fact["difference"] < 1e-5 for way in ("card", "float32") for fact in found[way])
    # Other arithmetic is another result; a way that did not use it would be exact.
    assert all(fact["difference"] > 1e-5 and fact["cosine"] > 0.999 for fact in found["bfloat16"] + found["int8"])


def test_page_shows_every_way_and_judges_the_bars(measured: Any) -> None:
    page = import_module("barcodebert_page").page(measured, "python benchmarks/barcodebert.py", peak=1.0)
    for ways in import_module("barcodebert_ways").PARTS.values():
        assert all(way.title in page for way in ways.values())
    assert "the same ids and masks" in page and "difference at most 1e-5: met" in page
    assert page.count("at least 1.8x") == 3 and page.count("at least 2x") == 1 and page.count("at least 3.5x") == 2
    assert "The peak in bfloat16 is 1 TFLOP/s" in page


def test_operations_are_those_of_the_layers() -> None:
    config = BarcodeBertConfig(
        kmer_size=3, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    config._attn_implementation = "eager"
    model, tokens = BarcodeBertForMaskedLM(config).eval(), 7
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.full((1, tokens), 5))
    assert counter.get_total_flops() == import_module("accelerator").forward_flops(config, tokens, tokens)


def test_barcodes_repeat_as_often_as_those_of_the_dataset() -> None:
    barcodes = import_module("barcodes")
    made = barcodes.made_barcodes(1000, 3)
    specimens = barcodes.repeated(made, 4)
    assert len(set(made)) == 1000 and set(specimens) == set(made) and len(specimens) == 2072
    assert {len(barcode) for barcode in barcodes.made_barcodes(9, 3, of_one_length=True)} == {658}


def test_barcodes_of_a_file_are_distinct(tmp_path: Path) -> None:
    barcodes = import_module("barcodes")
    path = tmp_path / "own.fasta"
    path.write_text(">A1\nACGTACGT\n>A2\nACGTACGTNN\n>A3\nTTGTACGT\n")
    assert sorted(barcodes.read_barcodes(path, 2, 0)) == ["ACGTACGT", "TTGTACGT"]
    with pytest.raises(ValueError, match="has 2 distinct barcodes; 3 are needed"):
        barcodes.read_barcodes(path, 3, 0)


@pytest.mark.parametrize(
    ("device", "peak"),
    [("NVIDIA H200", 989), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA H200 NVL", None), ("the CPU", None)],
)
def test_peak_is_that_of_the_very_chip(device: str, peak: float | None) -> None:
    assert import_module("accelerator").peak_of(device) == peak
