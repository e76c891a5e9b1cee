"""Pixels of images: files decoded to RGB, scaled and cropped on the processor, normalised on the device."""

from __future__ import annotations

import io
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch

from bioscan_hf.data.messages import reason_of

try:
    import simplejpeg
except ImportError:  # the extra `images`; Pillow decodes to the same pixels in about twice the time
    simplejpeg = None

BIOSCAN_MEAN: tuple[float, float, float] = (0.76281859, 0.76503749, 0.76373138)
"""Mean of red, green and blue, each 0 to 1, in the package cropped_256 (bioscan-dataset 1.3.0)."""
BIOSCAN_STD: tuple[float, float, float] = (0.14205404, 0.15642502, 0.17309470)
"""Standard deviation of red, green and blue, likewise."""

MAX_PIXELS = 1 << 26
"""Largest image that is decoded: 8192 x 8192 pixels, 85 times the largest of BIOSCAN-5M."""

LARGEST_FILE = 1 << 28
"""Bytes that an image file may have."""

# Of Pillow's other formats, some start programs (EPS).
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF


def decode_image(data: bytes, memory: np.ndarray | None = None) -> np.ndarray:
    """Decode an image file to RGB.

    JPEG files in colour (YCbCr) or grey are decoded by simplejpeg where it is installed, all others by Pillow; both
    give the same pixels. The orientation that an Exif block states is applied, as `datasets` does; transparency is
    dropped.

    Args:
        data: Content of a JPEG, PNG, TIFF or WebP file.
        memory: Bytes, (n) uint8, that the pixels may be written to if there are enough, which spares new
            memory for each image.

    Returns:
        Pixels, (height, width, 3) uint8.

    Raises:
        ValueError: If the file is damaged (Pillow alone notices that it is cut off, simplejpeg other damage, too), is
            of another format, has more than 8 bits per channel, or more than `MAX_PIXELS` pixels.
    """
    try:
        size = _plain_jpeg_bytes(data)
        if not size:
            return _decode_with_pillow(data)
        return simplejpeg.decode_jpeg(data, buffer=memory if memory is not None and memory.size >= size else None)
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged files
        raise ValueError(f"the image cannot be decoded ({reason_of(error)})") from error


def _plain_jpeg_bytes(data: bytes) -> int:
    """Number of bytes of the pixels of a JPEG that simplejpeg can decode; 0 of other files."""
    # A JPEG's Exif block, if it has one, is its first block or follows the JFIF block of 18 bytes.
    if simplejpeg is None or not data.startswith(b"\xff\xd8\xff") or b"Exif\0" in data[:64]:
        return 0
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return 0  # Pillow says what is wrong, or knows this kind
    _check_pixels(height, width)
    return height * width * 3 if colours in ("YCbCr", "Gray") else 0


def image_content(image: Mapping[str, Any]) -> bytes:
    """Content of an image file.

    Args:
        image: Undecoded, as `datasets.Image` stores it: the content as `bytes`, or else the `path` of the file.

    Raises:
        ValueError: If there is neither, or the path is that of a device or a pipe, or of more than `LARGEST_FILE`.
        OSError: If the file cannot be read.
    """
    if image["bytes"] is not None:
        return bytes(image["bytes"])
    if image["path"] is None:
        raise ValueError("there is no image")
    status = Path(image["path"]).stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
        raise ValueError(f"'{image['path']}' is no file, or has more than {LARGEST_FILE:,} bytes")
    return Path(image["path"]).read_bytes()


def open_image(file: Path | BinaryIO) -> PIL.Image.Image:
    """Open an image file, of which only the header is read now.

    Args:
        file: JPEG, PNG, TIFF or WebP file.

    Raises:
        ValueError: If it is of another format, or has more than `MAX_PIXELS` pixels. Pillow may raise errors of other
            kinds where a file is damaged.
    """
    try:
        image = PIL.Image.open(file, formats=_FORMATS)
    except PIL.UnidentifiedImageError as error:
        raise ValueError("it is no JPEG, PNG, TIFF or WebP file") from error
    try:
        _check_pixels(image.height, image.width)
        # Memory is taken for a whole tile, however small the image.
        tags = getattr(image, "tag_v2", {})
        _check_pixels(tags.get(_TILE_LENGTH, 0), tags.get(_TILE_WIDTH, 0))
    except BaseException:
        image.close()
        raise
    return image


def _decode_with_pillow(data: bytes) -> np.ndarray:
    with open_image(io.BytesIO(data)) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"expected 8 bits per channel; got Pillow's mode {image.mode}")
        PIL.ImageOps.exif_transpose(image, in_place=True)
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _check_pixels(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ValueError(f"expected at most {MAX_PIXELS:,} pixels; got {width:,} x {height:,}")


def scale(image: np.ndarray, shorter_side: int) -> np.ndarray:
    """Scale an image as torchvision's `Resize` scales one of Pillow (bilinear), unless it has that size.

    Args:
        image: (height, width, 3) uint8.
        shorter_side: Its shorter side in the result, in pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: If the result had more than `MAX_PIXELS` pixels.
    """
    height, width = image.shape[:2]
    if min(height, width) == shorter_side:
        return image
    # Cut to whole pixels, not rounded, as torchvision does.
    longer_side = int(shorter_side * max(height, width) / min(height, width))
    size = (shorter_side, longer_side) if width <= height else (longer_side, shorter_side)
    _check_pixels(*size)
    return np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BILINEAR))


def crop(image: np.ndarray, size: int, at: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
    """Cut a square out of an image.

    Args:
        image: (height, width, 3), no side shorter than `size`.
        size: Height and width of the square in pixels.
        at: Where, from (0, 0), top left, up to but not (1, 1), bottom right; by default the centre, rounded as
            torchvision's `CenterCrop` does.

    Returns:
        (size, size, 3), a view.
    """
    spare = [length - size for length in image.shape[:2]]
    top, left = (
        [round(s / 2) for s in spare] if at is None else [int(a * (s + 1)) for a, s in zip(at, spare, strict=True)]
    )
    return image[top : top + size, left : left + size]


def normalise(
    pixel_values: torch.Tensor,
    *,
    mean: Sequence[float] = BIOSCAN_MEAN,
    std: Sequence[float] = BIOSCAN_STD,
    dtype: torch.dtype = torch.float32,
    flip: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Make pixels the input of a model, on whatever device they are.

    Args:
        pixel_values: (N, height, width, 3) uint8.
        mean: Mean of each channel, of 0 to 1.
        std: Standard deviation of each channel, of 0 to 1.
        dtype: Type of the result; it is computed in float32.
        flip: Chance of each image to be mirrored, left to right.
        generator: Draws which are, on the device of the pixels; torch's default generator unless given.

    Returns:
        (x / 255 - mean) / std as (N, 3, height, width), its memory in the format `torch.channels_last`.

    Raises:
        ValueError: If the pixels have another type or shape.

    >>> normalise(torch.full((2, 8, 8, 3), 255, dtype=torch.uint8), mean=[0.5] * 3, std=[0.5] * 3).unique()
    tensor([1.])
    """
    if pixel_values.dtype != torch.uint8 or pixel_values.ndim != 4 or pixel_values.shape[-1] != 3:
        found = f"{pixel_values.dtype} {tuple(pixel_values.shape)}"
        raise ValueError(f"`pixel_values` must be uint8 (N, height, width, 3), as `ImageBatches` gives; got {found}.")
    device = pixel_values.device
    if flip:
        mirrored = torch.rand(len(pixel_values), generator=generator, device=device) < flip
        pixel_values = torch.where(mirrored[:, None, None, None], pixel_values.flip(2), pixel_values)
    # Rows of 3 x width values: on the CPU three times as fast as to broadcast over the three channels.
    width = pixel_values.shape[2]
    shift, divisor = (255 * torch.tensor(values, device=device).repeat(width) for values in (mean, std))
    values = pixel_values.flatten(2).float().sub_(shift).div_(divisor)
    return values.to(dtype).view(pixel_values.shape).permute(0, 3, 1, 2)
