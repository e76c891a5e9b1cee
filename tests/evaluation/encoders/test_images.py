import json
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertModel, ViTConfig, ViTMAEConfig, ViTMAEModel, ViTModel

from bioscan_hf import ImageEncoder
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.image_inputs import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from tests.evaluation.encoders.made_vision_models import (
    LAYERS,
    SIZE,
    VISION,
    made_images,
    model_inputs,
    png,
    specimens,
    specimens_with,
    vision_model,
)

IMAGES = made_images()
SPECIMENS = specimens()
SMALL = Preprocessing(size=SIZE)
PIXELS = model_inputs(IMAGES, SIZE, IMAGENET_MEAN, IMAGENET_STD)


def unmasked(model: Any) -> ViTModel:
    """A ViT with the weights of a masked autoencoder."""
    vit = ViTModel(ViTConfig(**VISION), add_pooling_layer=False).eval()
    vit.load_state_dict(model.vit.state_dict())
    return vit


NAIVE: dict[tuple[str, str], tuple[str, Callable[[Any], torch.Tensor]]] = {
    ("vit", "auto"): ("cls", lambda m: m(PIXELS).last_hidden_state[:, 0]),
    ("vit", "mean"): ("mean", lambda m: m(PIXELS).last_hidden_state[:, 1:].mean(1)),
    ("dinov2", "auto"): ("cls", lambda m: m(PIXELS).last_hidden_state[:, 0]),
    ("registers", "cls"): ("cls", lambda m: m(PIXELS).last_hidden_state[:, 0]),
    ("registers", "mean"): ("mean", lambda m: m(PIXELS).last_hidden_state[:, 4:].mean(1)),
    ("clip", "auto"): ("projection", lambda m: m.visual_projection(m.vision_model(PIXELS).pooler_output)),
    ("clip", "cls"): ("cls", lambda m: m.vision_model(PIXELS).pooler_output),
    ("clip", "mean"): (
        "mean",
        lambda m: m.vision_model.post_layernorm(m.vision_model(PIXELS).last_hidden_state[:, 1:]).mean(1),
    ),
    ("clip-vision", "auto"): ("cls", lambda m: m(PIXELS).pooler_output),
    ("clip-projection", "auto"): ("projection", lambda m: m(PIXELS).image_embeds),
    ("siglip", "auto"): ("projection", lambda m: m.vision_model(PIXELS).pooler_output),
    ("siglip", "mean"): ("mean", lambda m: m.vision_model(PIXELS).last_hidden_state.mean(1)),
    ("siglip-vision", "auto"): ("pooler", lambda m: m(PIXELS).pooler_output),
    ("swin", "auto"): ("pooler", lambda m: m(PIXELS).last_hidden_state.mean(1)),
    ("beit", "auto"): ("pooler", lambda m: m.pooler.layernorm(m(PIXELS).last_hidden_state[:, 1:].mean(1))),
    ("beit", "mean"): ("pooler", lambda m: m.pooler.layernorm(m(PIXELS).last_hidden_state[:, 1:].mean(1))),
    ("beit", "cls"): ("cls", lambda m: m(PIXELS).last_hidden_state[:, 0]),
    ("resnet", "auto"): ("pooler", lambda m: m(PIXELS).last_hidden_state.mean((2, 3))),
    ("resnet", "mean"): ("pooler", lambda m: m(PIXELS).last_hidden_state.mean((2, 3))),
    ("convnext", "auto"): ("pooler", lambda m: m.layernorm(m(PIXELS).last_hidden_state.mean((2, 3)))),
}


@pytest.mark.parametrize(("kind", "pooling"), NAIVE)
@torch.no_grad()
def test_equals_the_model_on_images_prepared_naively(kind: str, pooling: Any) -> None:
    model = vision_model(kind)
    chosen, naive = NAIVE[kind, pooling]
    encoder = ImageEncoder(model, SMALL, pooling=pooling, batch_size=2)
    vectors, expected = encoder.embed(SPECIMENS), naive(model).numpy()
    assert encoder.pooling == chosen and encoder.dimension == expected.shape[1] and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.linalg.norm(vectors - vectors[0], axis=1)[1:].min() > 1e-2, "different images have different vectors"


@pytest.mark.parametrize("pooling", ["auto", "cls", "mean"])
@torch.no_grad()
def test_masked_autoencoder_sees_the_whole_image_and_equals_a_vit(pooling: Any) -> None:
    model: Any = vision_model("mae")
    encoder = ImageEncoder(model.vit, SMALL, pooling=pooling)
    assert model.vit.config.mask_ratio == 0.75, "the given model still masks"
    hidden = unmasked(model)(PIXELS).last_hidden_state
    expected = hidden[:, 0] if pooling == "cls" else hidden[:, 1:].mean(1)
    vectors = encoder.embed(SPECIMENS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_array_equal(encoder.embed(SPECIMENS), vectors)
    no_mask = ImageEncoder(ViTMAEModel(ViTMAEConfig(**VISION, mask_ratio=0.0)), SMALL)
    np.testing.assert_array_equal(no_mask.embed(SPECIMENS), no_mask.embed(SPECIMENS))


def test_batches_and_order_do_not_matter() -> None:
    model = vision_model("vit")
    together = ImageEncoder(model, SMALL, batch_size=5).embed(SPECIMENS)
    for batch_size in (1, 2, 3, 64):
        vectors = ImageEncoder(model, SMALL, batch_size=batch_size).embed(SPECIMENS)
        np.testing.assert_allclose(vectors, together, atol=1e-5)
    order = [3, 0, 4, 2, 0]
    np.testing.assert_allclose(ImageEncoder(model, SMALL).embed(SPECIMENS.select(order)), together[order], atol=1e-5)
    # The caller's function makes them of length 1.
    normalised = embed(ImageEncoder(model, SMALL), SPECIMENS)
    assert normalised.processids == [f"P{i}" for i in range(5)]
    np.testing.assert_allclose(np.linalg.norm(normalised.vectors, axis=1), 1, atol=1e-6)


def test_progress_and_the_mode_of_the_model() -> None:
    done: list[tuple[int, int]] = []
    model = vision_model("vit").train()
    encoder = ImageEncoder(model, SMALL, batch_size=2)
    first = encoder.embed(SPECIMENS, report=lambda *counts: done.append(counts))
    assert done == [(2, 5), (4, 5), (5, 5)] and model.training
    np.testing.assert_array_equal(encoder.embed(SPECIMENS), first)
    assert encoder.embed(SPECIMENS.select([])).shape == (0, 16)


def test_half_precision_is_close() -> None:
    model = vision_model("vit")
    encoder = ImageEncoder(model, SMALL, precision="bfloat16")
    exact, vectors = ImageEncoder(model, SMALL).embed(SPECIMENS), encoder.embed(SPECIMENS)
    assert vectors.dtype == np.float32 and encoder.model.dtype == torch.bfloat16 and model.dtype == torch.float32
    cosines = (exact * vectors).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > 0.999 and abs(exact - vectors).max() > 1e-5


@pytest.mark.parametrize("kind", ["vit", "clip", "resnet"])
def test_a_missing_or_broken_image_is_named(kind: str) -> None:
    encoder = ImageEncoder(vision_model(kind), SMALL, batch_size=2)
    good = [png(image) for image in IMAGES]
    for bad, reason in ((None, "there is no image"), (b"no image", "cannot be decoded"), (good[1][:90], "cannot be")):
        with pytest.raises(ValueError, match=rf"process id P3\): .*{reason}.*leave the specimen out") as error:
            encoder.embed(specimens_with([*good[:3], bad]))
        assert "on_error" not in str(error.value)


def test_a_vector_that_is_not_finite_is_named() -> None:
    model: Any = vision_model("vit")
    encoder = ImageEncoder(model, Preprocessing(SIZE, (0, 0, 0), (1, 1, 1)), batch_size=2)
    light, dark = (png(PIL.Image.new("RGB", (SIZE, SIZE), colour)) for colour in ("white", "black"))
    with torch.no_grad():
        model.embeddings.patch_embeddings.projection.weight[0, 0, 0, 0] = 3e38  # overflows where there is red
    with pytest.raises(ValueError, match="vector of 'P3' is not finite"):
        encoder.embed(specimens_with([dark, dark, dark, light]))


@pytest.mark.parametrize("column", ["processid", "image"])
def test_missing_columns_are_refused(column: str) -> None:
    with pytest.raises(ValueError, match=rf"no columns \['{column}'\]"):
        ImageEncoder(vision_model("vit"), SMALL).embed(SPECIMENS.remove_columns(column))
    with pytest.raises(ValueError, match=r"must be a `datasets\.Image`"):
        ImageEncoder(vision_model("vit"), SMALL).embed(Dataset.from_dict({"processid": ["a"], "image": ["b"]}))


def test_description_tells_all_that_vectors_depend_on() -> None:
    def described(model: Any, preprocessing: Preprocessing = SMALL, **options: Any) -> str:
        return json.dumps(ImageEncoder(model, preprocessing, **options).description, sort_keys=True)

    model = vision_model("vit")
    plain = described(model)
    assert plain == described(model, batch_size=7) == described(vision_model("vit"), pooling="cls")
    others = [described(model, pooling="mean"), described(model, precision="bfloat16")]
    others += [described(model, Preprocessing(SIZE, mean=(0.5, 0.5, 0.5))), described(vision_model("dinov2"))]
    with torch.no_grad():
        model.layernorm.bias[3] += 1e-3
    assert len({plain, *others, described(model)}) == 6
    assert json.loads(described(model, revision="abc", name="ours"))["revision"] == "abc"


@pytest.mark.parametrize("kind", ["resnet", "convnext", "swin", "siglip-vision", "siglip"])
def test_models_without_cls_token_say_so(kind: str) -> None:
    with pytest.raises(ValueError, match="it has no CLS token; take the pooling 'auto' or 'mean'"):
        ImageEncoder(vision_model(kind), SMALL, pooling="cls")


def test_arguments_out_of_range_are_refused() -> None:
    model = vision_model("vit")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0"),
        ({"precision": "int8"}, "must be 'float32' or 'bfloat16'; got 'int8'"),
        ({"pooling": "max"}, r"`pooling` must be one of \['auto', 'cls', 'mean'\]; got 'max'"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            ImageEncoder(model, SMALL, **options)
    with pytest.raises(ValueError, match=r"no embedding of images of 48 x 48 pixels: .*48"):
        ImageEncoder(model, Preprocessing(size=48))
    for kind in ("vit-classifier", "mae"):
        with pytest.raises(ValueError, match="no hidden states; take the model without its head"):
            ImageEncoder(vision_model(kind), SMALL)
    bert = BertModel(BertConfig(**LAYERS, intermediate_size=32, vocab_size=9))
    with pytest.raises(ValueError, match="Expected a model for images; got a model of the type 'bert'"):
        ImageEncoder(bert, SMALL)
