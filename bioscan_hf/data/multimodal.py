"""Batches of specimens with image, barcode and text of the taxonomy, for models that align the three.

All chance comes from one seed per specimen, so that a specimen is the same whatever else is in its batch, which
modalities are asked for, how many threads decode, and whichever process makes it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
import xxhash
from datasets import Dataset, Image, IterableDataset
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase

from bioscan_hf.data.augmentation import ImageAugmentation, evaluation_view
from bioscan_hf.data.pixels import decode_image, image_content
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.tokenization.taxonomy import RANKS_OF_FORM, Form, taxonomy_texts

Modality = Literal["image", "dna", "text"]
Rows = Mapping[str, Sequence[Any]]
Tensors = dict[str, torch.Tensor]
Colour = tuple[float, float, float]

MODALITIES: tuple[Modality, ...] = get_args(Modality)
RANKS_OF_IDS = RANKS_OF_FORM["clibd"]
"""Ranks of the columns of `rank_ids`, from the widest to the narrowest."""
NO_ID = -1

_Specimens = TypeVar("_Specimens", Dataset, IterableDataset)


@dataclass(frozen=True)
class SpecimenCollator:
    """Turn specimens into a batch for a model of images, barcodes and text.

    Attributes:
        modalities: Which of `image`, `dna` and `text` are in the batch.
        augment: Makes training views of the images; None for evaluation: scaled, and the centre cropped.
        size: Height and width of the images in pixels; that of `augment`, if there is one.
        shorter_side: Pixels of the shorter side before the centre is cropped.
        image_mean: Mean of red, green and blue, each 0 to 1, that is taken off; by default none is, as in CLIBD.
        image_std: Standard deviation of red, green and blue, likewise, that pixels are divided by.
        encoder: Tokenizes the barcodes.
        random_offset: Whether a barcode starts at a random letter, 0 to k - 1, as in the training of BarcodeBERT. At
            least one whole k-mer is left.
        tokenizer: Tokenizes the texts.
        text_form: How the text is written, see `taxonomy_text`.
        max_text_tokens: Texts are cut to this many tokens; CLIBD's number.
        pad_text_to: Tokens that every text is filled up to; None for the longest of the batch. CLIBD fills up to 20.
        caption_dropout: Chance that the text ends at a rank drawn from those that the specimen has, the last one
            included. BioCLIP likewise trains on texts of several kinds, so that short ones are understood, too.
        threads: Threads that read, decode and augment images; 0 does so in the caller's.
    """

    modalities: Sequence[Modality] = MODALITIES
    augment: ImageAugmentation | None = None
    size: int = 224
    shorter_side: int = 256
    image_mean: Colour = (0.0, 0.0, 0.0)
    image_std: Colour = (1.0, 1.0, 1.0)
    encoder: KmerEncoder | None = None
    random_offset: bool = False
    tokenizer: PreTrainedTokenizerBase | None = None
    text_form: Form = "clibd"
    max_text_tokens: int = 20
    pad_text_to: int | None = None
    caption_dropout: float = 0.0
    threads: int = 0

    def __post_init__(self) -> None:
        if not self.modalities or not set(self.modalities) <= set(MODALITIES):
            raise ValueError(f"`modalities` must be some of {list(MODALITIES)}; got {self.modalities!r}.")
        if "dna" in self.modalities and self.encoder is None:
            raise ValueError("Barcodes need an `encoder`: give one, or leave 'dna' out of `modalities`.")
        if "text" in self.modalities and self.tokenizer is None:
            raise ValueError("Texts need a `tokenizer`: give one, or leave 'text' out of `modalities`.")
        if not 1 <= self.size <= self.shorter_side:
            raise ValueError(f"`size` must be 1 to `shorter_side`; got {self.size} and {self.shorter_side}.")
        if self.augment is not None and self.augment.size != self.size:
            raise ValueError(f"`size` must be that of `augment`, {self.augment.size}; got {self.size}.")
        if self.text_form not in RANKS_OF_FORM:
            raise ValueError(f"`text_form` must be one of {list(RANKS_OF_FORM)}; got {self.text_form!r}.")
        if self.pad_text_to is not None and self.pad_text_to < self.max_text_tokens:
            raise ValueError(
                f"`pad_text_to` must be at least `max_text_tokens`, {self.max_text_tokens}; got {self.pad_text_to}."
            )
        if self.max_text_tokens < 1 or self.threads < 0 or not 0 <= self.caption_dropout <= 1:
            raise ValueError(
                "Expected `max_text_tokens` of at least 1, `threads` of at least 0, and `caption_dropout` of 0 to 1; "
                f"got {self.max_text_tokens}, {self.threads} and {self.caption_dropout}."
            )

    def __call__(self, rows: Rows, seeds: Sequence[int]) -> Tensors:
        """Make a batch of N specimens.

        A modality that a specimen lacks is False in `has_...`. In its place are zeros (image), an empty barcode, or a
        text without a name, as the encoder and the tokenizer write them.

        Args:
            rows: Columns. `image` has dictionaries of `bytes` and `path` (see `image_column_undecoded`), or None;
                `dna_barcode` and the ranks have strings, None or empty where there are none; `processid` serves clear
                errors.
            seeds: One for each specimen; all chance comes from them.

        Returns:
            - `pixel_values`: (N, 3, size, size) float32, its memory in the format `torch.channels_last`; `has_image`.
            - `dna_input_ids` and `dna_attention_mask`: (N, T) int64, T tokens of the longest barcode; `has_dna`, False
              also where the barcode has no k letters A, C, G, T in a row.
            - `input_ids` and `attention_mask`: (N, L) int64; `has_text`, False if no rank of the text has a name;
              `caption_ids`: (N,) int64, equal where the texts are.
            - `group_ids`: (N, 2) int64, equal where the barcodes (N at their end left out) and the species are.
            - `rank_ids`: (N, 4) int64: order, family, genus and species, each with all above it, for a name may stand
              in two places.

            `has_...` are (N,) bool. Ids are hashes, the same in every process, and -1 where there is nothing.

        Raises:
            ValueError: If a column is missing, an image is not undecoded or cannot be decoded; the message names the
                process id and the file.
        """
        needs = {"image": "image", "dna": "dna_barcode"}
        absent = [column for modality, column in needs.items() if modality in self.modalities and column not in rows]
        if absent:
            raise ValueError(f"The modalities {list(self.modalities)} need the columns {absent}; got {sorted(rows)}.")
        draws = [_draw(seed) for seed in seeds]
        batch: Tensors = {}
        if "image" in self.modalities:
            batch |= self._images(rows, draws)
        if "dna" in self.modalities:
            batch |= self._barcodes(rows["dna_barcode"], draws)
        if "text" in self.modalities:
            batch |= self._texts(rows, draws)
        return batch | _ids(rows, batch.get("has_dna"), len(draws))

    def _images(self, rows: Rows, draws: Sequence[_Draws]) -> Tensors:
        # Channels last: on the CPU three times as fast to normalise.
        values = np.zeros((len(draws), self.size, self.size, 3), np.float32)
        shift, divisor = (
            255 * np.tile(np.array(colour, np.float32), self.size) for colour in (self.image_mean, self.image_std)
        )
        found = [_has_file(image) for image in rows["image"]]
        workers = max(self.threads, 1)

        def fill(first: int) -> None:
            for i in range(first, len(draws), workers):
                if found[i]:
                    lines = values[i].reshape(self.size, -1)
                    name = f"Process id {rows['processid'][i]}" if "processid" in rows else f"Row {i}"
                    view = self._view(rows["image"][i], draws[i].image, name)
                    np.subtract(view.reshape(self.size, -1), shift, out=lines)
                    lines /= divisor

        if self.threads:
            # To start two takes 0.3 ms, less than one image; those that outlived the call would be lost in a fork.
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(fill, range(workers)))
        else:
            fill(0)
        return {"pixel_values": torch.from_numpy(values).permute(0, 3, 1, 2), "has_image": torch.tensor(found)}

    def _view(self, image: Mapping[str, Any], seed: int, name: str) -> np.ndarray:
        try:
            pixels = decode_image(image_content(image))
            if self.augment is not None:
                return self.augment(pixels, seed)
            return evaluation_view(pixels, size=self.size, shorter_side=self.shorter_side)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}, file {image['path']}: {error}.") from error

    def _barcodes(self, barcodes: Sequence[str | None], draws: Sequence[_Draws]) -> Tensors:
        assert self.encoder is not None
        k = self.encoder.k
        known = re.compile(f"[ACGT]{{{k}}}")
        found = [known.search((barcode or "")[: self.encoder.max_nucleotides]) is not None for barcode in barcodes]
        letters = [barcode if barcode and has else "" for barcode, has in zip(barcodes, found, strict=True)]
        starts = [
            min(int(draw.start * k), max(len(barcode) - k, 0)) if self.random_offset else 0
            for draw, barcode in zip(draws, letters, strict=True)
        ]
        ids, mask = map(torch.from_numpy, self.encoder(letters, starts))
        return {"dna_input_ids": ids, "dna_attention_mask": mask, "has_dna": torch.tensor(found)}

    def _texts(self, rows: Rows, draws: Sequence[_Draws]) -> Tensors:
        assert self.tokenizer is not None
        labels = {rank: list(rows[rank]) for rank in RANKS_OF_FORM[self.text_form] if rank in rows}
        found = []
        for i, draw in enumerate(draws):
            named = [rank for rank in labels if labels[rank][i]]
            found.append(bool(named))
            if draw.shorten < self.caption_dropout:
                for rank in named[1 + int(draw.last * len(named)) :]:
                    labels[rank][i] = None
        texts = taxonomy_texts(labels, form=self.text_form)
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_text_tokens, return_tensors="pt"
        )
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        if self.pad_text_to is not None:
            more = self.pad_text_to - ids.shape[1]
            sides = (more, 0) if self.tokenizer.padding_side == "left" else (0, more)
            ids, mask = pad(ids, sides, value=self.tokenizer.pad_token_id), pad(mask, sides)
        captions = [_id(text if has else None) for text, has in zip(texts, found, strict=True)]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "has_text": torch.tensor(found),
            "caption_ids": torch.tensor(captions),
        }


def image_column_undecoded(dataset: _Specimens) -> _Specimens:
    """Leave the images of a dataset as they are stored, so that its rows have what `SpecimenCollator` takes.

    Nothing is read or copied; only the type of the column changes.

    Args:
        dataset: Has the column `image` (`datasets.Image`); a `Dataset`, or a stream whose features are known.

    Raises:
        ValueError: If there is no such column, or nobody knows, as in a stream after `map`.
    """
    if dataset.features is None:
        raise ValueError(
            "The features of the stream are not known. Call `image_column_undecoded` before `map`, or `map` with "
            "`features=dataset.features`."
        )
    if "image" not in dataset.features:
        raise ValueError(f"The dataset has no column 'image'; it has {list(dataset.features)}.")
    return dataset.cast_column("image", Image(decode=False))


class _Draws(NamedTuple):
    """Chance of one specimen: the seed of its image, and numbers from 0 to 1 for the rest."""

    image: int
    start: float
    shorten: float
    last: float


def _draw(seed: int) -> _Draws:
    """All of them, whether needed or not, so that one modality does not depend on another."""
    # Of its methods, only `random` promises the same numbers in all versions.
    draw = random.Random(seed).random
    return _Draws(int(2**53 * draw()), draw(), draw(), draw())


def _has_file(image: object) -> bool:
    if image is None:
        return False
    if not isinstance(image, Mapping) or not {"bytes", "path"} <= image.keys():
        raise ValueError(
            "The column `image` must have dictionaries of `bytes` and `path`; "
            f"got {type(image).__name__}. Use `image_column_undecoded(dataset)`."
        )
    return image["bytes"] is not None or image["path"] is not None


def _ids(rows: Rows, has_dna: torch.Tensor | None, count: int) -> Tensors:
    gaps = [None] * count
    barcodes = torch.tensor([_id((barcode or "").rstrip("N")) for barcode in rows.get("dna_barcode", gaps)])
    if has_dna is not None:
        barcodes[~has_dna] = NO_ID
    species = torch.tensor([_id(name) for name in rows.get("species", gaps)])
    paths = zip(*(rows.get(rank, gaps) for rank in RANKS_OF_IDS), strict=True)
    ranks = [[_path_id(path[: end + 1]) for end in range(len(path))] for path in paths]
    return {"group_ids": torch.stack([barcodes, species], dim=1), "rank_ids": torch.tensor(ranks)}


def _id(text: str | None) -> int:
    """Hash of a text, 0 to 2**63 - 1; -1 if there is none."""
    return xxhash.xxh3_64_intdigest(text.encode()) >> 1 if text else NO_ID


def _path_id(names: Sequence[str | None]) -> int:
    return _id("\0".join(name or "" for name in names)) if names[-1] else NO_ID
