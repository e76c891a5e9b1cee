"""What the benchmark of BarcodeBERT is made of; test_run.py runs it."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, KmerEncoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def test_bound_gives_the_same_codes_where_all_letters_are_known() -> None:
    ways, barcodes = import_module("barcodebert_ways"), import_module("barcodes")
    made = barcodes.made_barcodes(5, 0, of_one_length=True)
    for k in (4, 8):
        np.testing.assert_array_equal(ways.TOKENIZING["bound"].open(k)(made)[:, : 658 // k], KmerEncoder(k)(made)[0])


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


@pytest.mark.parametrize(
    ("device", "peak"),
    [("NVIDIA H200", 989), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA H200 NVL", None), ("the CPU", None)],
)
def test_peak_is_that_of_the_very_chip(device: str, peak: float | None) -> None:
    assert import_module("accelerator").peak_of(device) == peak
