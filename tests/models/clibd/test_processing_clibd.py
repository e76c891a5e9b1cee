"""Inputs are those of the reference, whatever form images, barcodes and texts come in."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from bioscan_hf import ClibdProcessor, build_tokenizer
from bioscan_hf.data.pixels import decode_image
from bioscan_hf.models.clibd.processing_clibd import to_rgb
from tests.models.clibd.made_specimens import BARCODES, TEXTS
from tests.tiny import WORDS, tiny_clibd, tiny_clibd_processor, tiny_text_tokenizer

PARITY = Path(__file__).parent / "parity"
IMAGE_TRANSFORM = Path(__file__).parents[2] / "data" / "parity" / "image_transform.safetensors"
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PROCESSOR = tiny_clibd_processor()


def published_processor() -> ClibdProcessor:
    """As converted checkpoints have it."""
    images = ViTImageProcessorPil(
        size={"shortest_edge": 256}, resample=2, do_center_crop=True, crop_size={"height": 224, "width": 224},
        do_normalize=False,
    )  # fmt: skip
    return ClibdProcessor(images, tiny_text_tokenizer(), build_tokenizer(5, vocabulary="acgt_2023", cls_token_id=0))


def file_of(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_all_modalities_at_once() -> None:
    inputs = PROCESSOR(images=[Image.fromarray(PIXELS)] * 6, text=TEXTS, dna=BARCODES)
    assert set(inputs) == set(PROCESSOR.model_input_names)
    assert inputs["pixel_values"].shape == (6, 3, 8, 8) and inputs["pixel_values"].dtype == torch.float32
    assert inputs["pixel_values"].min() >= 0 and inputs["pixel_values"].max() <= 1
    assert inputs["dna_input_ids"].shape == inputs["dna_attention_mask"].shape == (6, 9)
    assert inputs["dna_attention_mask"].sum(dim=1).tolist() == [9, 5, 7, 3, 5, 4]
    assert inputs["input_ids"][4].tolist() == [2, WORDS.index("Aptera"), WORDS.index("Cus"), 3, 0]
    assert tiny_clibd()(**inputs).loss > 0
    alone = PROCESSOR(dna=BARCODES[1], text=TEXTS[4], images=PIXELS, return_tensors="np")
    assert {name: value.shape for name, value in alone.items()} == {
        "pixel_values": (1, 3, 8, 8),
        "dna_input_ids": (1, 5),
        "dna_attention_mask": (1, 5),
        "input_ids": (1, 4),
        "attention_mask": (1, 4),
    }


def test_longer_ones_are_cut() -> None:
    inputs = PROCESSOR(dna="ACG" * 100, text=" ".join(["Aptera"] * 100))
    assert inputs["dna_input_ids"].shape == (1, 9) and inputs["input_ids"].shape == (1, 24)
    filled = PROCESSOR(dna="ACG", text="Aptera", padding="max_length")
    assert filled["input_ids"].shape == (1, 24)


def test_saved_and_loaded_with_all_parts(tmp_path: Path) -> None:
    tiny_clibd().save_pretrained(tmp_path)
    PROCESSOR.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is ClibdProcessor
    given: dict[str, Any] = {"images": [Image.fromarray(PIXELS)] * 6, "text": TEXTS, "dna": BARCODES}
    expected = PROCESSOR(**given)
    for name, value in again(**given).items():
        assert torch.equal(value, expected[name]), name


def test_kmers_are_those_of_the_reference() -> None:
    vectors = json.loads((PARITY / "dna_tokens_k5.json").read_text())
    letters = vectors["sequences"]
    processor = published_processor()
    inputs = processor.dna_tokenizer(letters, padding=True, truncation=True, return_tensors="pt")
    # A specimen without barcode is none for the processor.
    own = processor(dna=[barcode for barcode in letters if barcode])["dna_input_ids"]
    assert torch.equal(own, inputs["input_ids"][[i for i, barcode in enumerate(letters) if barcode]])
    model = tiny_clibd(dna_config={"kmer_size": 5, "max_nucleotides": 660, "max_position_embeddings": 133})
    seen: list[torch.Tensor] = []
    model.dna_model.forward = lambda input_ids, **_: seen.append(input_ids)
    with pytest.raises(AttributeError, match="last_hidden_state"):  # there is no output
        model.get_dna_features(inputs["input_ids"], inputs["attention_mask"])
    assert len(letters) == 16 and seen[0].tolist() == vectors["input_ids"]


def test_images_are_those_of_the_reference() -> None:
    vectors, processor = load_file(IMAGE_TRANSFORM), published_processor()
    for number in range(2):
        pixels = vectors[f"img{number}.uint8_hwc"].numpy()
        found = processor(images=[pixels])["pixel_values"][0]
        expected = vectors[f"img{number}.resize256_crop224"].float()
        # Scaled images are rounded to bytes; the vectors are of half precision.
        torch.testing.assert_close(found, expected, rtol=0, atol=1 / 255 + 5e-4)
        if min(pixels.shape[:2]) == 256:
            torch.testing.assert_close(found, expected, rtol=0, atol=5e-4)


IMAGES = {
    "RGB": Image.fromarray(PIXELS),
    "L": Image.fromarray(PIXELS).convert("L"),
    "LA": Image.fromarray(PIXELS).convert("LA"),
    "RGBA": Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]])),
    "P": Image.fromarray(PIXELS).quantize(16),
    "1": Image.fromarray(PIXELS).convert("1"),
}


@pytest.mark.parametrize("mode", IMAGES)
def test_images_of_any_mode_are_decoded_as_the_dataset_decodes_them(mode: str) -> None:
    file = file_of(IMAGES[mode], "PNG")
    with Image.open(io.BytesIO(file)) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), decode_image(file))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_are_decoded_as_the_dataset_decodes_them(mode: str) -> None:
    file = file_of(Image.fromarray(PIXELS).convert(mode), "JPEG", quality=90)
    with Image.open(io.BytesIO(file)) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), decode_image(file))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = file_of(Image.fromarray(PIXELS), "PNG", exif=exif)
    with Image.open(io.BytesIO(file)) as image:
        found = np.asarray(to_rgb(image))
    np.testing.assert_array_equal(found, decode_image(file))
    np.testing.assert_array_equal(found, np.rot90(PIXELS, {3: 2, 6: 3, 8: 1}[orientation]))


def test_of_16_bits_the_highest_8_are_kept() -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32)), values):
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), expected)
    with Image.open(io.BytesIO(file_of(Image.fromarray(values), "PNG"))) as image:
        assert image.mode.startswith("I")
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), expected)
    colours = np.dstack([values] * 3)
    np.testing.assert_array_equal(np.asarray(to_rgb(colours)), expected)


def test_arrays_are_taken_as_images() -> None:
    for array in (PIXELS, PIXELS[..., 0], np.dstack([PIXELS, PIXELS[..., 0]])):
        expected = Image.fromarray(array).convert("RGB")
        np.testing.assert_array_equal(np.asarray(to_rgb(array)), np.asarray(expected))
    listed = PROCESSOR(images=[PIXELS, PIXELS])["pixel_values"]
    stacked = PROCESSOR(images=np.stack([PIXELS, PIXELS]))["pixel_values"]
    assert torch.equal(listed, stacked) and len(stacked) == 2


def test_columns_of_a_dataset_are_taken() -> None:
    rows = Dataset.from_dict({"image": [IMAGES["RGB"], IMAGES["L"]], "text": TEXTS[:2], "dna": BARCODES[:2]})
    found = PROCESSOR(images=rows["image"], text=rows["text"], dna=rows["dna"])
    expected = PROCESSOR(images=[IMAGES["RGB"], IMAGES["L"]], text=TEXTS[:2], dna=BARCODES[:2])
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Expected `images`, `text` or `dna`; got nothing"),
        ({"images": []}, "at least one image; got an empty list"),
        ({"images": [IMAGES["RGB"], None]}, "Image 1 must be a PIL image or an array; got NoneType"),
        ({"images": "photo.jpg"}, "Image 0 must be a PIL image or an array; got str"),
        ({"images": [PIXELS / 255]}, r"Image 0 .* got float64 \(20, 30, 3\)"),
        ({"images": [PIXELS.transpose(2, 0, 1)]}, r"got uint8 \(3, 20, 30\)"),
        ({"images": [PIXELS[:, :0]]}, r"got uint8 \(20, 0, 3\)"),
        ({"images": [Image.fromarray(PIXELS).convert("F")]}, "Image 0 has values in floating point"),
        ({"text": []}, r"`text` must be one or more texts that are not empty; got \[\]"),
        ({"text": ["Aptera", ""]}, r"`text` must be .* got \['Aptera', ''\]. Leave out specimens that have none"),
        ({"text": ["Aptera", None]}, "`text` must be .* None"),
        ({"dna": " "}, "`dna` must be"),
        ({"dna": [b"ACGT"]}, "`dna` must be"),
        ({"dna": 5}, r"`dna` must be one or more texts that are not empty; got \[5\]"),
    ],
)
def test_wrong_inputs_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PROCESSOR(**given)
