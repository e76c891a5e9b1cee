import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from torch import nn

from bioscan_hf import BarcodeBertConfig, BarcodeBertModel
from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
from bioscan_hf.evaluation.encoders.precision import Int8Linear, in_precision


def random_model() -> BarcodeBertModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 256,
    }
    model = BarcodeBertModel(BarcodeBertConfig(kmer_size=4, **sizes)).eval()
    # Of the size of trained weights; with the initial ones all barcodes have about the same embedding.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.1)
    return model


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.fixture(scope="module")
def barcodes() -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("ACGT"), size)) for size in rng.integers(300, 660, 64)]


@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.9999), ("int8", 0.999)])
def test_cosine_to_float32(precision: Any, least: float, barcodes: list[str]) -> None:
    model = random_model()
    exact = BarcodeBertEncoder(model).encode(barcodes)
    encoder = BarcodeBertEncoder(model, precision=precision)
    vectors = encoder.encode(barcodes)
    assert vectors.dtype == np.float32
    assert least < cosines(exact, vectors).min() < 1 - 1e-8, "not the same numbers, but nearly"
    assert cosines(exact[:-1], exact[1:]).max() < 0.995, "barcodes differ by more than that"
    np.testing.assert_array_equal(BarcodeBertEncoder(model).encode(barcodes), exact)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}, "the model stays as it is"


def test_int8_replaces_every_linear_layer_and_vectors_do_not_depend_on_the_batch(barcodes: list[str]) -> None:
    encoder = BarcodeBertEncoder(random_model(), precision="int8")
    kinds = [type(module) for module in encoder.model.modules()]
    assert kinds.count(Int8Linear) == 4 * 6 and nn.Linear not in kinds
    same_length = [barcode[:300] for barcode in barcodes[:8]]
    together = encoder.encode(same_length)
    np.testing.assert_allclose(together[3], encoder.encode(same_length[3:4])[0], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 5), st.booleans(), st.floats(0.01, 100))
def test_int8_product_is_that_of_the_rounded_numbers(
    inputs: int, outputs: int, rows: int, bias: bool, size: float
) -> None:
    torch.manual_seed(inputs)
    linear = nn.Linear(inputs, outputs, bias=bias)
    x = size * torch.randn(2, rows, inputs)
    x[0, 0] = 0
    with torch.no_grad():
        result = Int8Linear(linear)(x)
        exact = linear(x)
    # Half a step of each rounded factor, times the other one, added up.
    step_x = x.abs().amax(-1, keepdim=True) / 127
    step_w = linear.weight.abs().amax(-1) / 63
    bound = step_x * linear.weight.abs().sum(-1) + step_w * (x.abs().sum(-1, keepdim=True) + inputs * step_x / 2)
    assert ((result - exact).abs() <= 1.001 * bound / 2 + 1e-5 * (1 + size)).all()


def test_extreme_weights_do_not_overflow() -> None:
    linear = nn.Linear(512, 3, bias=False)
    nn.init.constant_(linear.weight, -1.0)
    result = Int8Linear(linear)(torch.full((1, 512), 5.0))
    np.testing.assert_allclose(result.numpy(), -2560.0, rtol=1e-4)


def test_copies_only_what_changes() -> None:
    model = random_model()
    assert in_precision(model, "float32") is model and in_precision(model, "float32", "cpu") is model
    half = in_precision(model, "bfloat16")
    assert half is not model and half.dtype == torch.bfloat16
    assert in_precision(half, "float32").dtype == torch.float32 and half.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"one of .*got 'float16'"):
        in_precision(model, "float16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a CPU"):
        in_precision(model, "int8", "meta")


def recipe(name: str, shape: torch.Size, tag: str) -> torch.Tensor:
    """Weights of the stored vectors, by name (README of ../shared/parity/barcodebert)."""
    seed = zlib.crc32(f"{tag}|bert.{name}".encode()) & 0x7FFFFFFF
    drawn = np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)
    if name.endswith("LayerNorm.weight"):
        return torch.from_numpy(1 + np.float32(0.1) * drawn)
    drawn *= np.float32(0.1 if name.endswith("bias") or "embeddings" in name else 0.05)
    if name.endswith("word_embeddings.weight"):
        drawn[0] = 0
    return torch.from_numpy(drawn)


@pytest.mark.slow
def test_cosine_to_the_reference_at_full_size(shared: Path) -> None:
    parity = shared / "parity" / "barcodebert"
    stored = load_file(parity / "full_outputs.safetensors")
    tag = json.loads((parity / "meta.json").read_text())["full"]["k4_h4_l4"]["weight_tag"]
    barcodes = [json.loads((parity / "inputs.json").read_text())[row]["seq"] for row in stored["rows"]]
    model = BarcodeBertModel(BarcodeBertConfig(kmer_size=4))
    model.load_state_dict({name: recipe(name, old.shape, tag) for name, old in model.state_dict().items()})
    precisions: dict[Any, float] = {"float32": 1 - 1e-6, "bfloat16": 0.9999, "int8": 0.998}
    for precision, least in precisions.items():
        vectors = BarcodeBertEncoder(model, precision=precision).encode(barcodes)
        assert cosines(stored["k4_h4_l4/pooled_masked_mean"], vectors).min() > least, precision
