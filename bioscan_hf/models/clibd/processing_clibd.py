"""Inputs of CLIBD: images, barcodes and texts to tensors."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from transformers import BatchFeature, ProcessorMixin


class ClibdProcessor(ProcessorMixin):
    """Makes inputs of `ClibdModel` of images, DNA barcodes and texts.

    Images of any mode become RGB: the orientation in their Exif block is applied, transparency is dropped, and of more
    than 8 bits per channel the highest are kept (Pillow alone would cut such values off at 255).

    Attributes:
        image_processor: Of the tower for images.
        tokenizer: Of the tower for text.
        dna_tokenizer: Of the tower for DNA.
    """

    model_input_names = [  # noqa: RUF012 (the base class has it so)
        *("pixel_values", "dna_input_ids", "dna_attention_mask", "input_ids", "attention_mask"),
    ]
    dna_tokenizer: Any

    def __init__(self, image_processor: Any, tokenizer: Any, dna_tokenizer: Any, **kwargs: Any) -> None:
        """Put a processor together.

        Args:
            image_processor: Of the tower for images.
            tokenizer: Of the tower for text.
            dna_tokenizer: Of the tower for DNA, as `bioscan_hf.build_tokenizer` makes it.
            **kwargs: Further arguments of `ProcessorMixin`.
        """
        super().__init__(image_processor, tokenizer, dna_tokenizer, **kwargs)

    def __call__(
        self,
        images: Any = None,
        text: str | Iterable[str] | None = None,
        dna: str | Iterable[str] | None = None,
        *,
        return_tensors: str = "pt",
        padding: bool | str = True,
        **kwargs: Any,
    ) -> BatchFeature:
        """Make inputs.

        Args:
            images: A PIL image or an array (height, width, 3) uint8; or a list, column or array of such.
            text: A text, or a list or column.
            dna: A barcode, or a list or column; letters as they are.
            return_tensors: `pt` or `np`.
            padding: Of texts and barcodes, as tokenizers take it.
            **kwargs: Further arguments of the image processor.

        Returns:
            `pixel_values`; `dna_input_ids` and `dna_attention_mask`; `input_ids` and `attention_mask`.

        Raises:
            ValueError: If nothing is given, something is empty, or an image is none.
        """
        if images is None and text is None and dna is None:
            raise ValueError("Expected `images`, `text` or `dna`; got nothing.")
        found: dict[str, Any] = {}
        if images is not None:
            single = isinstance(images, np.ndarray) and images.ndim < 4
            listed = [images] if single else _listed(images)
            if not listed:
                raise ValueError("Expected at least one image; got an empty list.")
            pixels = [to_rgb(image, place) for place, image in enumerate(listed)]
            found |= self.image_processor(pixels, return_tensors=return_tensors, **kwargs)
        for name, tokenizer, given in (("", self.tokenizer, text), ("dna_", self.dna_tokenizer, dna)):
            if given is None:
                continue
            words = _listed(given)
            if not words or not all(isinstance(word, str) and word.strip() for word in words):
                raise ValueError(
                    f"`{'dna' if name else 'text'}` must be one or more texts that are not empty; got {words[:3]!r}. "
                    "Leave out specimens that have none."
                )
            tokens = tokenizer(words, return_tensors=return_tensors, padding=padding, truncation=True)
            found |= {f"{name}{key}": tokens[key] for key in ("input_ids", "attention_mask")}
        return BatchFeature(found)


def to_rgb(image: Any, place: int = 0) -> Image.Image:
    """Make an 8-bit RGB image of an image of any mode.

    Args:
        image: A PIL image, or an array (height, width) or (height, width, 3 or 4), uint8 or uint16.
        place: Its number, for the error.

    Raises:
        ValueError: If it is no image.
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint16:
            image = (image >> 8).astype(np.uint8)
        fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        if image.dtype != np.uint8 or not fits or not image.size:
            raise ValueError(
                f"Image {place} must be a PIL image, or an array (height, width, 3) uint8; got {image.dtype} "
                f"{image.shape}."
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise ValueError(f"Image {place} must be a PIL image or an array; got {type(image).__name__}.")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        image = Image.fromarray((values.clip(0, 65535) // 256).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError(f"Image {place} has values in floating point, whose range is not known; save it with 8 bits.")
    return image.convert("RGB")


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, str | bytes) or not isinstance(given, Iterable) else list(given)


ClibdProcessor.register_for_auto_class()

__all__ = ["ClibdProcessor", "to_rgb"]
