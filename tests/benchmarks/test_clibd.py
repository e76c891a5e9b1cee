"""What stands for the reference's form of the loss has the reference's values; test_run.py runs the benchmark."""

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


def test_other_targets_have_other_values(tmp_path: Path) -> None:
    losses = import_module("clibd_loss")
    ways = ("mask", "reference", "sum", "reference, species")
    found = {way: losses.run(way, 24, 16, 1, 0.0, str(tmp_path))["loss"] for way in ways}
    assert found["mask"] < found["reference"] < found["sum"] == pytest.approx(found["reference, species"])


def test_tiles_hold_less_memory(tmp_path: Path) -> None:
    losses = import_module("clibd_loss")
    # Matrices of 36 MB: smaller ones may lie where the process has freed memory.
    specimens = 3000
    memory = {way: losses.run(way, specimens, 16, 0, 0.0, str(tmp_path))["memory"] for way in ("tiled", "reference")}
    assert memory["reference"] > 4 * specimens**2 / 1e9
    assert memory["tiled"] < memory["reference"] / 2


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
