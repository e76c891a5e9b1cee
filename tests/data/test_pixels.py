import contextlib
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioscan_hf.data import pixels
from bioscan_hf.data.pixels import MAX_PIXELS, crop, decode_image, normalise, scale


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(width: int = 60, height: int = 41, mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def expected(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(params=["simplejpeg", "Pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Pillow":
        monkeypatch.setattr(pixels, "simplejpeg", None)
    return str(request.param)


FILES: dict[str, Callable[[], bytes]] = {
    "colour": lambda: encoded(picture()),
    "colour, full": lambda: encoded(picture(), subsampling=0),
    "progressive": lambda: encoded(picture(), progressive=True),
    "grey": lambda: encoded(picture(mode="L")),
    "CMYK": lambda: encoded(picture(mode="CMYK")),
    "PNG": lambda: encoded(picture(), "PNG"),
    "PNG with transparency": lambda: encoded(picture(mode="RGBA"), "PNG"),
    "PNG with palette": lambda: encoded(picture(mode="P"), "PNG"),
    "TIFF": lambda: encoded(picture(), "TIFF"),
    "TIFF, compressed": lambda: encoded(picture(), "TIFF", compression="tiff_lzw"),
    "WebP": lambda: encoded(picture(), "WEBP"),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_is_decoded_as_pillow_does(kind: str, decoder: str) -> None:
    data = FILES[kind]()
    image = decode_image(data)
    assert image.dtype == np.uint8 and image.flags.writeable
    np.testing.assert_array_equal(image, expected(data))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("spare", [-1, 0, 1000])
def test_memory_is_used_if_it_is_enough(kind: str, spare: int, decoder: str) -> None:
    data = FILES[kind]()
    memory = np.full(60 * 41 * 3 + spare, 77, np.uint8)
    image = decode_image(data, memory)
    np.testing.assert_array_equal(image, expected(data))
    plain = decoder == "simplejpeg" and kind in ("colour", "colour, full", "progressive", "grey")
    assert np.shares_memory(image, memory) == (plain and spare >= 0)


def test_plain_jpeg_does_not_reach_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES["colour"]()
    monkeypatch.setattr(pixels, "_decode_with_pillow", lambda data: pytest.fail("decoded by Pillow"))
    assert decode_image(data).shape == (41, 60, 3)


def test_orientation_is_applied(decoder: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    assert decode_image(encoded(picture(60, 41), exif=exif)).shape == (60, 41, 3)


@pytest.mark.parametrize("kind", ["colour", "progressive", "PNG"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_file_cut_off_is_refused(kind: str, share: float, decoder: str) -> None:
    data = FILES[kind]()
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(data[: int(share * len(data))])


def test_damaged_code_is_noticed() -> None:
    data = bytearray(encoded(picture(200, 200), quality=95))
    middle = len(data) // 2
    data[middle : middle + 4] = b"\xff\xd9\xff\xd9"
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(bytes(data))


@given(kind=st.sampled_from(sorted(FILES)), place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damage_gives_pixels_or_a_value_error(kind: str, place: float, value: int) -> None:
    data = bytearray(FILES[kind]())
    data[int(place * len(data))] = value
    with contextlib.suppress(ValueError):
        assert decode_image(bytes(data)).shape[2] == 3


@pytest.mark.parametrize(
    "data", [b"GIF89a", encoded(picture(), "BMP"), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(data)


def test_more_than_8_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="8 bits"):
        decode_image(encoded(Image.new("I;16", (9, 9), 40_000), "PNG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bombs_are_refused_by_their_header(kind: str, decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(60, 41), kind)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 60 * 41)
    assert decode_image(data).shape == (41, 60, 3)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 60 * 41 - 1)
    # Of the pixels, nothing is there to be decoded.
    header = data[: data.index(b"\xff\xda") + 20] if kind == "JPEG" else data[: data.index(b"IDAT") + 4]
    for content in (data, header):
        with pytest.raises(ValueError, match=r"at most 2,459 pixels; got 60 x 41"):
            decode_image(content)


@pytest.mark.parametrize(("width", "height"), [(60, 41), (41, 60), (30, 30), (200, 31), (64, 90)])
def test_scaling_is_that_of_torchvision(width: int, height: int) -> None:
    # `torchvision.transforms.functional.resize` (0.28) on an image of Pillow, with the shorter side given.
    short, long = sorted((width, height))
    size = (64, int(64 * long / short)) if width <= height else (int(64 * long / short), 64)
    resized = picture(width, height).resize(size, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(scale(np.asarray(picture(width, height)), 64), np.asarray(resized))


def test_image_of_the_right_size_is_not_touched() -> None:
    image = np.asarray(picture(60, 41))
    assert scale(image, 41) is image


def test_scaling_a_line_to_a_bomb_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        scale(np.zeros((1, MAX_PIXELS // 256 + 1, 3), np.uint8), 256)


@given(height=st.integers(8, 40), width=st.integers(8, 40), at=st.none() | st.tuples(*[st.floats(0, 1 - 2**-53)] * 2))
def test_crop_lies_within(height: int, width: int, at: tuple[float, float] | None) -> None:
    image = np.arange(height * width * 3).reshape(height, width, 3)
    square = crop(image, 8, at)
    assert square.shape == (8, 8, 3) and square.base is not None
    top, left = divmod(int(square[0, 0, 0]) // 3, width)
    if at is None:
        assert abs(top - (height - 8) / 2) <= 0.5 and abs(left - (width - 8) / 2) <= 0.5
    np.testing.assert_array_equal(square, image[top : top + 8, left : left + 8])


def test_crops_reach_all_places() -> None:
    image = np.arange(10 * 9)[:, None].repeat(3, 1).reshape(10, 9, 3)
    places = np.random.default_rng(0).random((400, 2))
    corners = {int(crop(image, 8, at)[0, 0, 0]) for at in places}
    assert corners == {9 * top + left for top in range(3) for left in range(2)}


def test_normalise_is_to_tensor_and_normalize() -> None:
    values = torch.randint(0, 256, (3, 5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    naive = np.stack(
        [(values[..., c].numpy() / 255 - pixels.BIOSCAN_MEAN[c]) / pixels.BIOSCAN_STD[c] for c in range(3)]
    )
    given = values.clone()
    result = normalise(given)
    assert result.shape == (3, 3, 5, 7) and result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), naive.swapaxes(0, 1), atol=1e-5)
    assert torch.equal(given, values)
    torch.testing.assert_close(normalise(given, dtype=torch.bfloat16), result.bfloat16())
    torch.testing.assert_close(normalise(given.transpose(1, 2)), result.transpose(2, 3))


def test_flips_follow_the_generator() -> None:
    values = torch.randint(0, 256, (200, 2, 3, 3), dtype=torch.uint8)
    plain, mirrored = normalise(values), normalise(values.flip(2))
    once, again = (normalise(values, flip=0.3, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(once, again)
    flipped = (once == mirrored).flatten(1).all(1)
    assert torch.equal(torch.where(flipped[:, None, None, None], mirrored, plain), once)
    assert 30 < int(flipped.sum()) < 90
    assert torch.equal(normalise(values, flip=1.0), mirrored)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 4, 4, 3), torch.zeros(4, 4, 3, dtype=torch.uint8)])
def test_normalise_wants_batches_of_pixels(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="must be uint8"):
        normalise(wrong)
