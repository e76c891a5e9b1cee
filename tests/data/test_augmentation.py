import colorsys
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from scipy.stats import ks_2samp, kstest

from bioscan_hf.data.augmentation import ImageAugmentation, evaluation_view

PARITY = Path(__file__).parent / "parity" / "image_transform.safetensors"
BILINEAR, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
STILL: dict[str, Any] = {"horizontal_flip": 0.0, "vertical_flip": 0.0, "rotation": 0.0}
WHOLE: dict[str, Any] = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
# Numbers that are drawn before the flips if the first part that is tried fits: area, ratio, and two places.
BEFORE_FLIPS = 4


def picture(height: int, width: int) -> np.ndarray:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def torchvision_part(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width as `RandomResizedCrop` of torchvision draws them, where it need not fall back."""
    while True:
        area = height * width * torch.empty(1).uniform_(0.08, 1.0).item()
        ratio = math.exp(torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3)).item())
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if w <= width and h <= height:
            return int(torch.randint(height - h + 1, ())), int(torch.randint(width - w + 1, ())), h, w


@pytest.mark.parametrize("name", ["img0", "img1"])
def test_evaluation_view_is_that_of_clibd_but_for_the_rounding(name: str) -> None:
    stored = load_file(PARITY)
    view = evaluation_view(stored[f"{name}.uint8_hwc"])
    assert view.dtype == np.uint8 and view.shape == (224, 224, 3)
    reference = stored[f"{name}.resize256_crop224"].astype(np.float64).transpose(1, 2, 0)
    # Half a unit of float16 below 1 comes to the rounding to bytes.
    np.testing.assert_allclose(view / 255, reference, rtol=0, atol=1 / 255 + 2**-12)


def test_parts_are_distributed_as_those_of_torchvision() -> None:
    height, width = 150, 200
    place = np.zeros((height, width, 3), np.uint8)
    place[..., 0], place[..., 1] = np.arange(width), np.arange(height)[:, None]
    augment = ImageAugmentation(32, height, **STILL)
    inner, found = (np.arange(4, 28) + 0.5) / 32, []
    for seed in range(600):
        view = augment(place, seed).astype(float)[4:28, 4:28]
        # A linear image stays linear: slope and start are the size and the place of the part.
        (w, left), (h, top) = (np.polyfit(inner, view[..., c].mean(c), 1) for c in (0, 1))
        found.append((top + 0.5, left + 0.5, h, w))
    torch.manual_seed(0)
    expected = [torchvision_part(height, width) for _ in range(3000)]
    (top, left, h, w), (top0, left0, h0, w0) = np.transpose(found), np.transpose(expected)
    for ours, theirs in [
        (h * w, h0 * w0),
        (w / h, w0 / h0),
        (left / (width - w + 1), left0 / (width - w0 + 1)),
        (top / (height - h + 1), top0 / (height - h0 + 1)),
    ]:
        # Ours are measured to a part of a pixel, so theirs are blurred as little: ties of whole pixels do not count.
        noise = np.random.default_rng(0).normal(0, 1e-3, len(theirs)) * np.std(theirs)
        assert ks_2samp(ours, theirs + noise).pvalue > 0.01
    assert min(h * w) / (height * width) < 0.1 and max(h * w) / (height * width) > 0.9


def test_parts_reach_the_last_row_and_column() -> None:
    image = np.arange(9, dtype=np.uint8)[:, None].repeat(3, 1).reshape(3, 3, 3)
    augment = ImageAugmentation(2, 3, scale=(4 / 9, 4 / 9), ratio=(1.0, 1.0), **STILL)
    assert {int(augment(image, seed)[0, 0, 0]) for seed in range(60)} == {0, 1, 3, 4}


@pytest.mark.parametrize(("height", "width"), [(256, 341), (300, 400), (60, 41)])
def test_a_part_is_cropped_and_scaled_by_pillow(height: int, width: int) -> None:
    image = picture(height, width)
    for seed in range(5):
        augment = ImageAugmentation(**STILL)
        box = augment._box(height, width, random.Random(seed).random)
        naive = Image.fromarray(image).resize((224, 224), BILINEAR, box=box)
        np.testing.assert_array_equal(augment(image, seed), naive)
        if min(height, width) == 256:
            assert all(side == int(side) for side in box)
            cropped = np.asarray(Image.fromarray(image).crop(box).resize((224, 224), BILINEAR))
            # But for the edge, where the filter looks beyond the part.
            difference = augment(image, seed).astype(int) - cropped
            assert abs(difference[3:-3, 3:-3]).max() <= 1


@pytest.mark.parametrize("transposed", [False, True])
def test_the_centre_of_an_elongated_image_is_taken(transposed: bool) -> None:
    image = picture(20, 2000)
    # 256 x 25,600 when scaled, of which 341 pixels after the first 12,629 are a square and a third.
    box = (12_629 * 20 / 256, 0.0, (12_629 + 341) * 20 / 256, 20.0)
    expected = Image.fromarray(image).resize((224, 224), BILINEAR, box=box)
    if transposed:
        image, expected = image.transpose(1, 0, 2).copy(), expected.transpose(Image.Transpose.TRANSPOSE)
    for seed in range(3):
        difference = ImageAugmentation(**STILL)(image, seed).astype(int) - np.asarray(expected)
        assert abs(difference).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (7, 5), (31, 17), (256, 256), (257, 255)])
def test_images_of_all_shapes_give_views(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    for seed in range(40):
        view = ImageAugmentation(24, jitter=0.2, rotation=0.0)(image, seed)
        assert view.shape == (24, 24, 3) and view.dtype == np.uint8
        assert view.min() == view.max() > 100, "no pixel comes from outside the image"


@pytest.mark.parametrize(("horizontal", "vertical"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_flips_mirror(horizontal: float, vertical: float) -> None:
    image = picture(256, 256)
    plain = ImageAugmentation(**STILL)
    flipped = ImageAugmentation(horizontal_flip=horizontal, vertical_flip=vertical, rotation=0.0)
    for seed in range(3):
        expected = plain(image, seed)[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        np.testing.assert_array_equal(flipped(image, seed), expected)


def test_flips_have_their_chance_and_do_not_depend_on_each_other() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :, 0], image[:, :4, 1] = 255, 255
    augment = ImageAugmentation(8, 8, **WHOLE, horizontal_flip=0.25, vertical_flip=0.75, rotation=0.0)
    corners = [tuple(augment(image, seed)[0, 0, :2] == 0) for seed in range(1500)]
    for corner, chance in {(0, 0): 3 / 16, (0, 1): 1 / 16, (1, 0): 9 / 16, (1, 1): 3 / 16}.items():
        assert abs(corners.count(corner) / 1500 - chance) < 0.03


def test_rotations_are_those_of_pillow() -> None:
    image = picture(64, 64)
    augment = ImageAugmentation(64, 64, **WHOLE, horizontal_flip=0.0, vertical_flip=0.0)
    angles = []
    for seed in range(200):
        draw = random.Random(seed).random
        *_, angle = (draw() for _ in range(BEFORE_FLIPS + 3))
        angles.append(90 * angle - 45)
        rotated = Image.fromarray(image).rotate(angles[-1], NEAREST, fillcolor=(0, 0, 0))
        np.testing.assert_array_equal(augment(image, seed), rotated)
    assert kstest(angles, "uniform", (-45, 90)).pvalue > 0.01


def test_jitter_changes_brightness_evenly() -> None:
    # Contrast, saturation and hue leave an even grey as it is.
    grey = np.full((8, 8, 3), 100, np.uint8)
    augment = ImageAugmentation(8, 8, jitter=0.5, **STILL)
    levels = [augment(grey, seed) for seed in range(400)]
    assert all(level.min() == level.max() for level in levels)
    factors = np.array([level[0, 0, 0] for level in levels]) / 100
    assert kstest(factors + np.random.default_rng(0).random(400) / 100, "uniform", (0.5, 1.01)).pvalue > 0.01


def test_jitter_turns_the_hue_all_around_and_changes_contrast_and_saturation() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4], image[4:] = (150, 60, 60), (110, 60, 60)
    views = np.array([ImageAugmentation(8, 8, jitter=0.5, **WHOLE, **STILL)(image, seed) for seed in range(300)]) / 255
    tops = [colorsys.rgb_to_hsv(*view[1, 1]) for view in views]
    # The hue is kept in a byte, and read back from colours of bytes.
    assert kstest([(hue + 0.5) % 1 for hue, _, _ in tops], "uniform").pvalue > 0.01
    assert np.ptp([saturation for _, saturation, _ in tops]) > 0.4
    contrast = [view[1, 1].max() - view[6, 6].max() for view in views]
    assert min(contrast) < 0.06 and max(contrast) > 0.25 and min(contrast) >= 0


def test_a_little_jitter_changes_little() -> None:
    image = picture(64, 64)
    plain, changed = (ImageAugmentation(64, 64, jitter=jitter, **STILL)(image, 5) for jitter in (0.0, 0.02))
    assert 0 < abs(plain.astype(int) - changed).max() < 30


def test_the_seed_decides_the_view_and_the_image_is_not_touched() -> None:
    image, augment = picture(256, 300), ImageAugmentation(jitter=0.4)
    before = image.copy()
    image.flags.writeable = False
    random.seed(1)
    views = [augment(image, seed) for seed in (3, 2**63 - 1, 4)]
    random.seed(2)
    np.testing.assert_array_equal(augment(image, 3), views[0])
    np.testing.assert_array_equal(image, before)
    assert all((views[a] != views[b]).mean() > 0.5 for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("wrong", [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8)])
def test_what_is_no_image_of_bytes_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(height, width, 3\); got"):
        ImageAugmentation()(wrong, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "`size` and `shorter_side` must be at least 1; got 0 and 256"),
        ({"shorter_side": 0}, "at least 1"),
        ({"scale": (0.0, 1.0)}, r"`scale` must .*; got \(0.0, 1.0\)"),
        ({"scale": (0.5, 0.4)}, "`scale`"),
        ({"scale": (0.5, 1.1)}, "`scale`"),
        ({"ratio": (2.0, 1.0)}, "`ratio`"),
        ({"horizontal_flip": 1.5}, "chances, 0 to 1; got 1.5 and 0.5"),
        ({"vertical_flip": -0.5}, "chances"),
        ({"rotation": 200.0}, "`rotation` must be 0 to 180 degrees; got 200.0"),
        ({"jitter": 0.6}, "`jitter` must be 0 to 0.5; got 0.6"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageAugmentation(**fields)
