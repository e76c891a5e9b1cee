"""Pretrained and new towers: what they are made of, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel, T5Config, T5Model

from bioscan_hf import BarcodeBertForMaskedLM, ClibdModel, build_tokenizer
from bioscan_hf.data.pixels import BIOSCAN_MEAN, BIOSCAN_STD
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.towers import Towers, load_towers, word_tokenizer
from tests.evaluation.encoders.made_vision_models import vision_model
from tests.tiny import tiny_clibd, tiny_clibd_processor, tiny_config
from tests.training.made_alignments import SIDE, captions, save_towers, tiny_towers

NEW: dict[str, Any] = {f"{name}_model": "new:tiny" for name in ("image", "dna", "text")}


def load(**changes: Any) -> Towers:
    return load_towers(AlignmentArguments(data="x", output=Path("o"), **{**NEW, **changes}), captions())


def saved(folder: Path, model: PreTrainedModel) -> str:
    model.save_pretrained(folder)
    return str(folder)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether all weights of the first are in the other."""
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_pretrained_towers_are_those_of_their_folders(tmp_path: Path) -> None:
    found, expected = load(**save_towers(tmp_path)), tiny_towers()
    assert set(found.models) == {"image", "dna", "text"} and found.vision_pooling == "cls"
    assert all(same(found.models[name], expected[name]) for name in found.models)
    images, texts, barcodes = found.processor.image_processor, found.processor.tokenizer, found.processor.dna_tokenizer
    assert images.crop_size["height"] == SIDE and images.size["shortest_edge"] == round(SIDE * 8 / 7)
    assert images.do_normalize and list(images.image_mean) == [0.5] * 3
    assert texts.model_max_length == 20 and len(texts("Aus " * 30, truncation=True)["input_ids"]) == 20
    assert barcodes("ACGTAC")["input_ids"] == build_tokenizer(3, max_nucleotides=60)("ACGTAC")["input_ids"]


def test_images_are_normalised_only_if_asked(tmp_path: Path) -> None:
    towers = save_towers(tmp_path)
    images = load(**towers, normalise_images=False).processor.image_processor
    assert not images.do_normalize and list(images.image_std) == [1.0] * 3
    images = load().processor.image_processor
    assert tuple(images.image_mean) == BIOSCAN_MEAN and tuple(images.image_std) == BIOSCAN_STD


def test_new_towers_have_their_sizes_and_a_tokenizer_of_the_captions() -> None:
    found = load()
    sizes = {name: model.config.hidden_size for name, model in found.models.items()}
    assert sizes == {"image": 96, "dna": 96, "text": 96}
    assert found.models["image"].config.image_size == 64 and found.processor.image_processor.crop_size["height"] == 64
    assert found.models["dna"].config.kmer_size == 5
    assert found.models["text"].config.vocab_size == len(found.processor.tokenizer)
    assert load(image_size=SIDE).models["image"].config.image_size == SIDE
    assert load(image_size=224).models["image"].config.patch_size == 16


def test_two_modalities_need_two_towers_and_the_processor_has_all_parts() -> None:
    for names in ("image,dna", "image,text", "dna,text"):
        found = load(modalities=names)
        assert list(found.models) == names.split(",")
        assert found.processor.image_processor and found.processor.tokenizer and found.processor.dna_tokenizer


def test_words_are_known_in_any_case_and_others_are_one_token(tmp_path: Path) -> None:
    word_tokenizer(["Aus bus", "Aus cus not_classified"], max_length=6).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    words = ["[CLS]", "aus", "cus", "[UNK]", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("AUS cus xus")["input_ids"]) == words
    assert len(tokenizer("Aus bus cus Aus bus cus", truncation=True)["input_ids"]) == 6
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "_", "aus", "bus", "classified", "cus", "not"]
    assert tokenizer.get_vocab() == {word: i for i, word in enumerate(words)}


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        *(("vit", "cls"), ("vit-classifier", "cls"), ("dinov2", "cls"), ("mae", "cls"), ("beit", "cls")),
        *(("clip", "pooler"), ("clip-vision", "pooler"), ("siglip", "pooler"), ("swin", "pooler")),
    ],
)
def test_vision_models_of_many_kinds_become_towers(kind: str, pooling: str, tmp_path: Path) -> None:
    """They learn, look at all of an image, and are the same when they are loaded again."""
    spec = saved(tmp_path / "tower", vision_model(kind))
    (tmp_path / "tower" / "preprocessor_config.json").write_text(json.dumps({"size": SIDE}))
    found = load(image_model=spec, modalities="image,dna")
    assert found.vision_pooling == pooling
    model = ClibdModel.from_towers(**found.models, projection_dim=8, vision_pooling=pooling)
    pixels = torch.rand(3, 3, SIDE, SIDE)
    loss = model(pixel_values=pixels, dna_input_ids=torch.arange(3, 27).reshape(3, 8)).loss
    loss.backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == (["vision_model.embeddings.mask_token"] if kind == "dinov2" else [])
    model.save_pretrained(tmp_path / "model")
    again = ClibdModel.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        expected = model(pixel_values=pixels).image_embeds
        torch.testing.assert_close(again(pixel_values=pixels).image_embeds, expected, atol=1e-5, rtol=1e-5)


def test_the_head_of_a_barcodebert_is_left_out(tmp_path: Path) -> None:
    model = BarcodeBertForMaskedLM(tiny_config())
    save_model(tmp_path, model, build_tokenizer(3))
    assert same(load(dna_model=str(tmp_path)).models["dna"], model.bert)


def test_eager_attention_is_used_if_asked(tmp_path: Path) -> None:
    for towers in (save_towers(tmp_path), {}):
        found = load(**towers, attn_implementation="eager").models
        assert {model.config._attn_implementation for model in found.values()} == {"eager"}
        assert {model.config._attn_implementation for model in load(**towers).models.values()} == {"sdpa"}


class TestRefused:
    """What cannot be a tower is told with what can."""

    @pytest.fixture
    def folders(self, tmp_path: Path) -> dict[str, str]:
        """Towers, and models of other kinds."""
        towers = save_towers(tmp_path)
        save_model(tmp_path / "clibd", tiny_clibd(), tiny_clibd_processor())
        t5: dict[str, Any] = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
        t5["decoder_start_token_id"] = 0
        return {
            **{name.removesuffix("_model"): folder for name, folder in towers.items()},
            "clibd": str(tmp_path / "clibd"),
            "resnet": saved(tmp_path / "resnet", vision_model("resnet")),
            "t5": saved(tmp_path / "t5", T5Model(T5Config(**t5))),
            "empty": str(tmp_path),
        }

    @pytest.mark.parametrize(
        ("tower", "kind", "message"),
        [
            ("image", "text", "text' cannot be the tower for images: it is a BertModel. Take a vision transformer"),
            ("image", "dna", "dna' cannot be the tower for images: it is a BarcodeBertModel"),
            ("image", "resnet", "cannot be the tower for images: it is a ResNetModel"),
            ("image", "clibd", "clibd' is a CLIBD, not one of its towers; go on with the whole by `model`"),
            ("text", "clibd", "clibd' is a CLIBD, not one of its towers"),
            ("dna", "clibd", "The tower for DNA must be a BarcodeBERT; .*clibd' is of the type 'clibd'"),
            ("dna", "image", "must be a BarcodeBERT; '.*image' is of the type 'vit'. .*`bioscan convert barcodebert`"),
            ("dna", "text", "must be a BarcodeBERT; '.*text' is of the type 'bert'"),
            ("text", "image", "cannot be the tower for text: it is a ViTModel. Take a text encoder"),
            ("text", "dna", "cannot be the tower for text: it is a BarcodeBertModel"),
            ("text", "t5", "cannot be the tower for text: it is a T5Model"),
            ("image", "empty", "has no config.json.* or new:tiny, new:small, new:base"),
        ],
    )
    def test_models_of_another_kind(self, tower: str, kind: str, message: str, folders: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=message):
            load(**{f"{tower}_model": folders[kind]})

    @pytest.mark.parametrize("tower", ["image", "dna", "text"])
    def test_sizes_that_are_none(self, tower: str) -> None:
        with pytest.raises(ValueError, match="'new:huge' is no new tower; there are new:tiny, new:small, new:base"):
            load(**{f"{tower}_model": "new:huge"})

    @pytest.mark.parametrize("spec", ["./no-such-model", "/no/such/model"])
    def test_folders_that_are_not_there(self, spec: str) -> None:
        with pytest.raises(FileNotFoundError, match=r"No such file or folder: .*or new:tiny"):
            load(dna_model=spec)

    def test_sizes_of_images_that_the_tower_does_not_take(self, folders: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="image' takes images of 32 pixels; got `image_size` 64"):
            load(image_model=folders["image"], image_size=64)
        with pytest.raises(ValueError, match="'new:tiny' takes images of a multiple of 8 pixels; got `image_size` 60"):
            load(image_size=60)

    def test_texts_that_are_too_long(self, folders: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="text' takes texts of at most 24 tokens; got `max_text_tokens` 25"):
            load(text_model=folders["text"], max_text_tokens=25)

    def test_a_new_tower_for_text_without_captions(self) -> None:
        arguments = AlignmentArguments(data="x", output=Path("o"), **NEW, streaming=True)
        with pytest.raises(ValueError, match=r"`text_model='new:tiny'` needs all captions .* not with `streaming`"):
            load_towers(arguments, None)
