"""The benchmark of CLIBD runs, and what stands for the reference's form has the reference's values."""

import dataclasses
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny import tiny_clibd

ROOT = Path(__file__).parents[2]
PARITY = ROOT / "tests" / "models" / "clibd" / "parity"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield


@pytest.fixture(scope="module")
def measured() -> Any:
    """What the benchmark measures with tiny sizes, in this process."""
    program, pages = import_module("clibd"), import_module("clibd_page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "in_fresh_process", program.run)
        return program.measure(pages.QUICK, 1, compiled=False, device="cpu")


@pytest.mark.parametrize("labels", ["unique", "dup", "allsame"])
def test_form_of_the_reference_has_its_value_and_gradients(labels: str) -> None:
    vectors = load_file(PARITY / "loss_single.safetensors")
    losses, case = import_module("clibd_loss"), f"contrastive.{labels}.idt"
    raw = {name: vectors[f"{name}_features"].clone().requires_grad_() for name in losses.MODALITIES}
    loss = losses.reference_loss(raw, vectors[f"labels_{labels}"], vectors["logit_scale"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), vectors[f"{case}.loss"].reshape(()), rtol=1e-5, atol=0)
    for name, own in raw.items():
        expected = vectors[f"{case}.grad_{name}"]
        assert own.grad is not None
        torch.testing.assert_close(own.grad, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_all_forms_of_a_loss_agree(measured: Any) -> None:
    for batch in measured.sizes.loss_batches:
        results = measured.of("loss", batch)
        compared = [way for way, own in results.items() if own["difference"] is not None]
        assert compared == ["clip", "whole", "tiled", "sum"]
        assert all(results[way]["difference"] < 1e-5 for way in compared)
        assert results["mask"]["loss"] < results["reference"]["loss"] < results["sum"]["loss"]


def test_tiles_hold_less_memory(tmp_path: Path) -> None:
    losses = import_module("clibd_loss")
    # Matrices of 36 MB: smaller ones may lie where the process has freed memory.
    specimens = 3000
    memory = {way: losses.run(way, specimens, 16, 1, 0.0, tmp_path)["memory"] for way in ("tiled", "reference")}
    assert memory["reference"] > 4 * specimens**2 / 1e9
    assert memory["tiled"] < memory["reference"] / 2


def test_both_ways_give_the_same_pixels(measured: Any) -> None:
    results = measured.of("processor")
    assert results["processor"]["sum"] == pytest.approx(results["plain"]["sum"], rel=1e-6)


def test_towers_are_computed_as_they_are_called(measured: Any) -> None:
    for tower in ("image", "dna"):
        cosines = {way: own["cosine"] for way, own in measured.of(tower).items()}
        assert cosines["eager"] == pytest.approx(1, abs=1e-6) and cosines["sdpa"] == pytest.approx(1, abs=1e-6)
        # Other arithmetic is another result; a way that did not use it would be exact.
        assert 1e-6 < 1 - cosines["bfloat16"] < 1e-3


def test_operations_are_those_of_the_layers() -> None:
    model = tiny_clibd(vision_config={"num_hidden_layers": 2}, dna_config={"num_hidden_layers": 3})
    model.set_attn_implementation("eager")
    config: Any = model.config
    batch = {
        "pixel_values": torch.rand(1, 3, 8, 8),
        "dna_input_ids": torch.full((1, config.dna_config.max_tokens), 5),
        "input_ids": torch.full((1, 20), 5),
    }
    projections = 2 * 3 * 16 * 16
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.get_image_features(batch["pixel_values"])
        model.get_dna_features(batch["dna_input_ids"])
        model.get_text_features(batch["input_ids"])
    assert counter.get_total_flops() - projections == import_module("clibd_device").forward_flops(config)


def test_page_shows_every_way_and_judges_the_bars(measured: Any) -> None:
    pages, losses, towers = (import_module(name) for name in ("clibd_page", "clibd_loss", "clibd_towers"))
    fast = {"cpu": 1.0, "wall": 1.0, "memory": 1.0, "loss": 1.0, "difference": None}
    results = {job: dict(result) for job, result in measured.results.items()}
    small, large = measured.sizes.loss_batches
    for way, cpu, memory in (("reference", 4.1, 1.0), ("whole", 1.0, 0.5), ("tiled", 1.0, 0.2)):
        for batch in (small, large):
            own = fast | {"cpu": cpu, "memory": memory, "difference": None if way == "reference" else 1e-6}
            results[pages.Job("loss", way, batch)] = own
    with pytest.MonkeyPatch.context() as patch:
        way = dataclasses.replace(losses.WAYS["whole"], bars=((small, 4.0), (large, 5.0)))
        patch.setitem(losses.WAYS, "whole", way)
        text = pages.page(dataclasses.replace(measured, results=results), "COMMAND")
    titles = [way.title for way in losses.WAYS.values()] + list(towers.PROCESSORS.values())
    assert all(title in text for title in titles) and text.count("SDPA, bfloat16") == 2
    assert "at least 4x: met" in text and "at least 5x: **not met**" in text
    assert "at most 0.25 of the memory: met" in text and "the same pixels: met" in text
    assert "Device: the CPU" in text and "`chunk_size` 2" in text
    without = {job: result for job, result in results.items() if job.part != "device"}
    assert "Not measured: there was none" in pages.page(dataclasses.replace(measured, results=without), "COMMAND")


@pytest.mark.slow
def test_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    program, pages = import_module("clibd"), import_module("clibd_page")
    job = pages.Job("loss", "whole", 24)
    found = program.in_fresh_process(job, tmp_path, pages.QUICK, "cpu")
    own = program.run(job, tmp_path, pages.QUICK, "cpu")
    assert json.loads(json.dumps(found))["loss"] == pytest.approx(own["loss"])
