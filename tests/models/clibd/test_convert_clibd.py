import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from bioscan_hf import ClibdModel
from bioscan_hf.models.clibd.convert_clibd import convert_clibd
from bioscan_hf.models.clibd.convert_names import merge, rename
from tests.made_clibd import DNA, HEADS, IMAGE, TEXT, Reference, Tensors, former_names, reference, save_clibd, without

FULL, LORA = reference("full").state, reference("lora").state
QKV = "image_encoder.base_image_encoder.blocks.1.attn.qkv."
QUERY = "dna_encoder.base_dna_encoder.bert.encoder.layer.0.attention.self.query."


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=0)


@torch.no_grad()
def same_outputs(model: ClibdModel, expected: Reference, dna: str = "dna_raw_logits_softmax_mean") -> None:
    inputs, outputs = expected.inputs, expected.outputs
    text = model.get_text_features(inputs["text_input_ids"], inputs["text_attention_mask"]).pooler_output
    image = model.get_image_features(inputs["pixel_values"]).pooler_output
    close(image[:, :18], outputs["image_raw"])
    close(text[:, :18], outputs["text_raw"])
    close(model.get_dna_features(inputs["dna_input_ids"]).pooler_output, outputs[dna])
    close(model.logit_scale(), outputs["logit_scale_exp"])


def converted(path: Path, state: Tensors, **given: Any) -> ClibdModel:
    return convert_clibd(save_clibd(path / "c.pth", state), {**HEADS, **given}).model


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        *(("full", "plain"), ("full", "module."), ("lora", "plain"), ("lora", "model"), ("lora", "state_dict")),
        *(("lora", "safetensors"), ("lora", "former names")),
    ],
)
def test_outputs_are_those_of_the_reference(name: str, layout: str, tmp_path: Path) -> None:
    state: Any = reference(name).state
    path = tmp_path / "best.pth"
    if layout == "safetensors":
        path = tmp_path / "best.safetensors"
        save_file(state, path)
    elif layout in ("model", "state_dict"):
        torch.save({layout: state, "epoch": 3}, path)
    elif layout == "module.":
        save_clibd(path, {f"module.{key}": own for key, own in state.items()})
    else:
        save_clibd(path, former_names(state) if layout == "former names" else state)
    conversion = convert_clibd(path, HEADS)
    same_outputs(conversion.model, reference(name))
    assert not conversion.model.training and conversion.adapter is None
    place = "its towers (image, dna, text)" if name == "lora" else "the tower for images alone"
    assert conversion.layout.startswith(f"with LoRA in {place}")


def test_what_old_versions_of_transformers_add_need_not_be_there(tmp_path: Path) -> None:
    state = {name: own for name, own in FULL.items() if "position_ids" not in name and "pooler" not in name}
    conversion = convert_clibd(save_clibd(tmp_path / "c.pth", state), HEADS)
    same_outputs(conversion.model, reference("full"))
    assert conversion.left_out == ["the bias of the k-mer predictions, which CLIBD does not use"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["full", "lora"])
def test_embeddings_of_a_batch_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    expected = reference(name)
    names = {"text_input_ids": "input_ids", "text_attention_mask": "attention_mask"}
    inputs = {names.get(key, key): own for key, own in expected.inputs.items() if "token_type" not in key}
    outputs: Any = converted(tmp_path, expected.state)(**inputs)
    for modality in ("image", "dna", "text"):
        close(outputs[f"{modality}_embeds"], expected.outputs[f"{modality}_normalized"])


@torch.no_grad()
def test_inputs_need_no_padding(tmp_path: Path) -> None:
    expected = reference("lora")
    model, inputs = converted(tmp_path, expected.state), expected.inputs
    for row in range(5):
        ids = inputs["text_input_ids"][row : row + 1, : int(inputs["text_attention_mask"][row].sum())]
        close(model.get_text_features(ids).pooler_output[0], expected.outputs["text_raw"][row])
        kmers = inputs["dna_input_ids"][row]
        barcode = kmers[: int((kmers != 2).nonzero().max()) + 1]
        dna = model.get_dna_features(barcode[None]).pooler_output[0]
        close(dna, expected.outputs["dna_raw_logits_softmax_mean"][row])


@pytest.mark.parametrize("name", ["full", "lora"])
@pytest.mark.parametrize(
    ("pooling", "theirs"),
    [
        ("head_softmax_mean", "logits_softmax_mean"),
        ("head_mean", "logits_mean"),
        ("mean", "hidden_state_mean"),
        ("cls", "cls_token"),
    ],
)
def test_each_pooling_of_the_reference(name: str, pooling: str, theirs: str, tmp_path: Path) -> None:
    state = dict(reference(name).state)
    if pooling in ("mean", "cls"):
        # Hidden states are 20 wide here: such a model has other heads for images and text, too.
        for head in ("image_encoder.base_image_encoder.head", "language_encoder.proj"):
            state[f"{head}.weight"] = F.pad(state[f"{head}.weight"], (0, 0, 0, 2))
            state[f"{head}.bias"] = F.pad(state[f"{head}.bias"], (0, 2))
    conversion = convert_clibd(save_clibd(tmp_path / "c.pth", state), {**HEADS, "dna_pooling": pooling})
    same_outputs(conversion.model, reference(name), f"dna_raw_{theirs}")
    assert conversion.model.config.dna_pooling == pooling
    head_is_left_out = any(line.startswith("the head for DNA") for line in conversion.left_out)
    assert head_is_left_out == (pooling in ("mean", "cls"))
    assert not any("dna_pooling" in line for line in conversion.found.assumed)


@pytest.mark.parametrize("name", ["full", "lora"])
def test_sizes_are_read_from_the_shapes(name: str, tmp_path: Path) -> None:
    conversion = convert_clibd(save_clibd(tmp_path / "c.pth", reference(name).state), HEADS)
    config: Any = conversion.model.config
    sizes = reference(name).sizes
    for tower, own in {"image": config.vision_config, "dna": config.dna_config, "text": config.text_config}.items():
        told = {key: value for key, value in sizes[tower].items() if key != "mlp_ratio"}
        assert {key: getattr(own, key) for key in told} == told
    assert config.projection_dim == sizes["output_dim"] and config.dna_config.kmer_size == 5
    assert config.vision_config.intermediate_size == 4 * 24 and config.dna_config.max_tokens == 133
    assert conversion.found.sources["text_config.vocab_size"] == "tensors"
    assert [line.split(":")[0] for line in conversion.found.assumed] == [
        "`dna_config.max_nucleotides` is 660",
        "`dna_pooling` is head_softmax_mean",
        "activation, layer norm and dropout are those of timm's ViT and of BERT",
        "`text_tokens` is 20",
    ]
    assert [line.split(",")[0] for line in conversion.left_out] == [
        "position_ids",
        "the bias of the k-mer predictions",
        "BERT's pooler",
    ]


def test_heads_of_published_widths_are_assumed(tmp_path: Path) -> None:
    sizes = {24: 192, 72: 576, 96: 768, 20: 128, 40: 256, 16: 64, 32: 128}
    shapes = {
        key: own.shape if "position" in key and own.ndim == 3 else [sizes.get(size, size) for size in own.shape]
        for key, own in without(FULL, "logit_scale").items()
    }
    state = {key: torch.zeros(list(shape)) for key, shape in shapes.items()}
    conversion = convert_clibd(save_clibd(tmp_path / "c.pth", {**state, "logit_scale": torch.tensor(1.0)}))
    config: Any = conversion.model.config
    towers = (config.vision_config, config.dna_config, config.text_config)
    assert [tower.num_attention_heads for tower in towers] == [3, 2, 1]
    assert sum("heads of all published towers are 64 wide" in line for line in conversion.found.assumed) == 3


@pytest.mark.parametrize(
    ("left_out", "modalities"),
    [((TEXT,), ["image", "dna"]), ((DNA,), ["image", "text"]), ((IMAGE,), ["dna", "text"])],
)
@torch.no_grad()
def test_two_towers(left_out: tuple[str, ...], modalities: list[str], tmp_path: Path) -> None:
    configs = {"image": "vision_config", "dna": "dna_config", "text": "text_config"}
    given = {configs[name]: HEADS[configs[name]] for name in modalities}
    conversion = convert_clibd(save_clibd(tmp_path / "c.pth", without(LORA, *left_out)), given)
    model, expected = conversion.model, reference("lora")
    assert list(model.config.modalities) == modalities
    if "dna" in modalities:
        features = model.get_dna_features(expected.inputs["dna_input_ids"]).pooler_output
        close(features, expected.outputs["dna_raw_logits_softmax_mean"])
    else:
        features = model.get_image_features(expected.inputs["pixel_values"]).pooler_output
        close(features, expected.outputs["image_raw"])


def test_lora_is_added_to_query_and_value() -> None:
    weights, lora, _ = rename(LORA)
    merged = merge(weights, lora)
    changed = {name for name, own in merged.items() if not torch.equal(own, weights[name])}
    assert changed == {f"{layer}.weight" for layer in lora} and len(lora) == 12
    qkv = LORA[f"{QKV}qkv.weight"]
    value = qkv[48:] + LORA[f"{QKV}linear_b_v.weight"] @ LORA[f"{QKV}linear_a_v.weight"]
    close(merged["vision_model.layers.1.attention.v_proj.weight"], value)
    assert torch.equal(merged["vision_model.layers.1.attention.k_proj.weight"], qkv[24:48])
    query = LORA[f"{QUERY}w.weight"] + LORA[f"{QUERY}w_b.weight"] @ LORA[f"{QUERY}w_a.weight"]
    close(merged["dna_model.encoder.layer.0.attention.self.query.weight"], query)


def test_adapter_stays_apart(tmp_path: Path) -> None:
    path = save_clibd(tmp_path / "c.pth", LORA)
    apart, merged = convert_clibd(path, HEADS, adapter=True), convert_clibd(path, HEADS)
    assert apart.adapter and not merged.adapter
    layer = "text_model.encoder.layer.1.attention.self.value"
    difference = merged.model.get_parameter(f"{layer}.weight") - apart.model.get_parameter(f"{layer}.weight")
    down, up = apart.adapter[layer]
    assert difference.abs().max() > 1e-3
    close(difference, up @ down)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    model = converted(tmp_path, {name: own.half() if own.is_floating_point() else own for name, own in LORA.items()})
    assert {own.dtype for own in model.parameters()} == {torch.float32}


def test_a_scale_beyond_the_usual_bound_is_kept(tmp_path: Path) -> None:
    assert converted(tmp_path, FULL).config.logit_scale_max == 100
    model = converted(tmp_path, {**FULL, "logit_scale": torch.tensor(5.0)})
    assert model.logit_scale().item() == pytest.approx(math.exp(5.0))
