"""What cannot be converted, and what is said of it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bioscan_hf import ClibdModel
from bioscan_hf.models.clibd.convert_clibd import convert_clibd
from tests.made_checkpoints import save_bare, stock
from tests.made_clibd import DNA, HEADS, IMAGE, TEXT, Tensors, reference, save_clibd, without

FULL, LORA = reference("full").state, reference("lora").state
QKV = "image_encoder.base_image_encoder.blocks.1.attn.qkv."
QUERY = "dna_encoder.base_dna_encoder.bert.encoder.layer.0.attention.self.query."
WORDS = "dna_encoder.base_dna_encoder.bert.embeddings.word_embeddings.weight"
POSITIONS = "dna_encoder.base_dna_encoder.bert.embeddings.position_embeddings.weight"
NORM, HEAD = "image_encoder.base_image_encoder.norm.weight", "image_encoder.base_image_encoder.head.weight"
PROJECTION = "language_encoder.proj."


def converted(path: Path, state: Tensors, **given: Any) -> ClibdModel:
    return convert_clibd(save_clibd(path / "c.pth", state), {**HEADS, **given}).model


def changed(name: str, **change: torch.Tensor | None) -> Tensors:
    """A checkpoint with other tensors; None removes one."""
    state = {**reference(name).state, **{key: own for key, own in change.items() if own is not None}}
    return without(state, *(key for key, own in change.items() if own is None))


BARCODEBERT = stock()
SOME = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed("full", **{NORM: None}), "tensors are missing in it: vision_model.layernorm.weight"),
        (changed("full", logit_scale=None), "tensors are missing in it: logit_scale.log_scale"),
        (changed("full", **{PROJECTION: None}), "it has no 'text_projection.weight' of 2 dimensions"),
        (changed("full", **{WORDS: None}), "it has no 'dna_model.embeddings.word_embeddings.weight' of 2"),
        (
            changed("full", **{f"{QKV}qkv.": None}),
            "LoRA matrices for `vision_model.layers.1.attention.q_proj`, but not",
        ),
        (changed("full", logit_bias=SOME), "it has tensors that a CLIBD does not have: logit_bias"),
        (changed("full", **{f"a{i}": SOME for i in range(9)}), "a5 and 3 more"),
        (changed("full", **{"image_encoder.base_image_encoder.blocks.0.ls1.gamma": SOME}), "blocks.0.ls1.gamma"),
        (changed("full", **{NORM: SOME}), r"`vision_model.layernorm.weight` must have the shape \(24,\); got \(4, 4\)"),
        (changed("full", **{NORM: torch.ones(24).int()}), "must hold floating point numbers; got torch.int32"),
        (changed("full", **{f"{QKV}qkv.bias": torch.ones(71)}), r"one upon the other; got \(71,\)"),
        (changed("full", **{f"{QKV}qkv.bias": torch.tensor(1.0)}), r"one upon the other; got \(\)"),
        (changed("full", **{f"{QKV}weight": FULL[f"{QKV}qkv.weight"]}), "is there twice, once under another name"),
        (
            changed("full", **{NORM.replace("base_image_encoder", "lora_vit"): FULL[NORM]}),
            "`image_encoder.lora_vit.norm.weight` is there twice",
        ),
        (changed("full", **{f"{QKV}linear_b_q.weight": None}), "q_proj` has the LoRA matrix A, but not its partner B"),
        (changed("lora", **{f"{QUERY}w_a.weight": None}), "query` has the LoRA matrix B, but not its partner A"),
        (changed("lora", **{f"{QUERY}w_a.weight": SOME}), r"of shapes \(4, 4\) and \(20, 4\) do not fit its weight"),
        (changed("lora", **{f"{QUERY}w_b.weight": torch.ones(4)}), r"and \(4,\) do not fit its weight"),
        (
            changed("full", **{WORDS: torch.ones(258, 20)}),
            "its tower for DNA has 258 tokens; published ones have",
        ),
        (
            changed("full", **{POSITIONS: torch.ones(99, 20)}),
            "has 99 positions, too few for 133 tokens; give .*nucleotides",
        ),
        (changed("full", **{HEAD: torch.ones(12, 24)}), "is 12 by its tower for image, but 18 by tower for dna"),
        (
            changed("full", **{"image_encoder.base_image_encoder.pos_embed": torch.ones(1, 16, 24)}),
            "has 16 positions and patches of 8 x 8 pixels; only square",
        ),
        (without(FULL, IMAGE, DNA), "two or three of image, dna and text; it has 1"),
        ({"open_clip_model.visual.proj": SOME}, "its towers are OpenCLIP's"),
        ({"image_encoder.lora_vit.transformer.resblocks.0.ln_1.weight": SOME}, "its towers are OpenCLIP's"),
        (changed("full", **{"dna_projection.weight": SOME}), "its towers are OpenCLIP's"),
        ({"image_encoder.encoder.0.weight": SOME, "logit_scale": SOME}, "features that were computed before"),
        (BARCODEBERT.token_classifier.state_dict(), "seems to be a BarcodeBERT; `bioscan convert barcodebert`"),
        (BARCODEBERT.masked_lm.state_dict(), "seems to be a BarcodeBERT"),
        ({"a": SOME}, "it has tensors that a CLIBD does not have: a"),
        ({}, "holds no state dict"),
        ({"a": 1}, "'a' in .* must be a tensor; got int"),
    ],
)
def test_wrong_checkpoint_is_one_clear_line(state: Tensors, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        convert_clibd(save_clibd(tmp_path / "c.pth", state), HEADS)
    assert "\n" not in str(error.value)


def test_a_barcodebert_behind_data_parallel_training_is_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seems to be a BarcodeBERT"):
        convert_clibd(save_bare(tmp_path / "c.pth", BARCODEBERT.masked_lm, "module."))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"vision_config": {}},
            r'heads of the tower for image; give \{"vision_config": \{"num_attention_heads": ...\}\}',
        ),
        (
            {"vision_config": {"num_attention_heads": 5}},
            "`vision_config.num_attention_heads` must divide the hidden size, 24; got 5",
        ),
        ({"vision_config": {"num_attention_heads": 0}}, "must divide the hidden size, 24; got 0"),
        ({"vision_config": {"num_attention_heads": "3"}}, "expected int, got str"),
        ({"dna_config": {"num_attention_heads": 2, "max_nucleotides": "660"}}, "expected int, got str"),
        ({"text_config": {"num_attention_heads": 2, "hidden_size": 32}}, "is 16 by its tensors, but 32 by --config"),
        ({"dna_config": {"num_attention_heads": 2, "kmer_size": 4}}, "is 5 by its tensors, but 4 by --config"),
        (
            {"text_config": {"num_atention_heads": 2}},
            "no field of `text_config` .* did you mean `num_attention_heads`?",
        ),
        ({"text_config": None}, "`text_config` must be an object of fields"),
        ({"image_config": {}}, "no field of the configuration that can be given; did you mean"),
        ({"xyz": 1}, "`xyz` is no field of the configuration that can be given; known are, for instance"),
        ({"dna_pooling": "masked_mean"}, "`dna_pooling` must be what the reference has: 'head_softmax_mean'"),
        ({"dna_pooling": ["cls"]}, "`dna_pooling` must be what the reference has"),
        ({"dna_pooling": "mean"}, "the tower for DNA must be as wide as the embedding space, 18"),
    ],
)
def test_wrong_setting_is_one_clear_line(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        converted(tmp_path, FULL, **given)
    assert "\n" not in str(error.value)


def test_settings_of_a_tower_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`text_config` is given, but it has no tower for text"):
        converted(tmp_path, without(FULL, TEXT))
    with pytest.raises(ValueError, match="`dna_pooling` is given, but it has no tower for dna"):
        converted(tmp_path, without(FULL, DNA), dna_config={}, dna_pooling="head_mean")


def test_no_adapter_without_lora_of_one_rank(tmp_path: Path) -> None:
    uneven = {**LORA, f"{QUERY}w_a.weight": torch.ones(3, 20), f"{QUERY}w_b.weight": torch.ones(20, 3)}
    whole = {name.replace("qkv.qkv.", "qkv."): own for name, own in FULL.items() if ".linear_" not in name}
    for state, message in (
        (FULL, "its weights were trained beside the LoRA of its tower for images; leave out --adapter"),
        (whole, "it has no LoRA; leave out --adapter"),
        (uneven, r"several \(\[3, 4\]\); leave out --adapter"),
    ):
        with pytest.raises(ValueError, match=message):
            convert_clibd(save_clibd(tmp_path / "c.pth", state), HEADS, adapter=True)
    assert convert_clibd(save_clibd(tmp_path / "c.pth", whole), HEADS).layout == "without LoRA"


class Harmful:
    """What a pickle can make its reader call."""

    def __reduce__(self) -> Any:
        return print, ("called",)


def test_nothing_of_a_pickle_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**FULL, "logit_scale": Harmful()}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"it asks for builtins\.print, which the tensors of a model do not need"):
        convert_clibd(tmp_path / "c.pth", HEADS)
    assert not capsys.readouterr().out


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = save_clibd(tmp_path / "c.pth", FULL)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="is damaged, or was not downloaded to its end"):
        convert_clibd(path, HEADS)
