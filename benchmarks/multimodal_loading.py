"""`SpecimenCollator` beside the same steps in plain Pillow and in torch: image files to batches of training views."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
import torch
from comparison import Comparison, Options, beside
from measuring import measured
from peer import versions
from pictures import jpegs
from PIL import Image
from torch.nn import functional

from bioscan_hf.data import pixels
from bioscan_hf.data.augmentation import ImageAugmentation
from bioscan_hf.data.multimodal import MODALITIES, Modality, SpecimenCollator
from bioscan_hf.tokenization.kmer import KmerEncoder

SIZE, SHORTER_SIDE, BATCH, SEED = 224, 256, 64, 7
RANKS = ("order", "family", "genus", "species")
Result = dict[str, Any]
Batches = Iterator[torch.Tensor]


class _Chance(NamedTuple):
    """What is random in a view."""

    box: tuple[float, float, float, float]
    mirrored: bool
    turned: bool
    angle: float


def _chance(seed: int, height: int, width: int) -> _Chance:
    """As `SpecimenCollator` draws it for an image of a specimen with this seed."""
    draw = random.Random(int(2**53 * random.Random(seed).random())).random
    box = ImageAugmentation()._box(height, width, draw)
    return _Chance(box, draw() < 0.5, draw() < 0.5, 90 * draw() - 45)


def _batches(view: Callable[[bytes, int], torch.Tensor], files: Sequence[bytes]) -> Batches:
    for start in range(0, len(files), BATCH):
        yield torch.stack([view(file, start + i) for i, file in enumerate(files[start : start + BATCH])])


def _with_pillow(file: bytes, seed: int) -> torch.Tensor:
    image = Image.open(io.BytesIO(file)).convert("RGB")
    chance = _chance(seed, image.height, image.width)
    image = image.crop(chance.box).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    if chance.mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if chance.turned:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    image = image.rotate(chance.angle)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


def _with_torch(file: bytes, seed: int) -> torch.Tensor:
    image = Image.open(io.BytesIO(file)).convert("RGB")
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    chance = _chance(seed, image.height, image.width)
    left, top, right, bottom = map(int, chance.box)
    values = functional.interpolate(
        values[None, :, top:bottom, left:right], (SIZE, SIZE), mode="bilinear", antialias=True
    )
    if chance.mirrored:
        values = values.flip(-1)
    if chance.turned:
        values = values.flip(-2)
    cosine, sine = math.cos(math.radians(chance.angle)), math.sin(math.radians(chance.angle))
    turn = torch.tensor([[[cosine, -sine, 0.0], [sine, cosine, 0.0]]])
    grid = functional.affine_grid(turn, [1, 3, SIZE, SIZE], align_corners=False)
    return functional.grid_sample(values, grid, mode="nearest", align_corners=False)[0]


def _specimens(files: Sequence[bytes]) -> dict[str, list[Any]]:
    """Columns of specimens with made barcodes and names."""
    names = {rank: [f"{rank} no{i % 50}" for i in range(len(files))] for rank in RANKS}
    letters = random.Random(1)
    return {
        "processid": [f"MADE{i:05}-26" for i in range(len(files))],
        "image": [{"bytes": file, "path": None} for file in files],
        "dna_barcode": ["".join(letters.choices("ACGT", k=658)) for _ in files],
        **names,
    }


def _tokenizer() -> Any:
    """A token for each word; it takes about as long as that of BERT, which is not at hand."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *RANKS, *[f"no{i}" for i in range(50)]]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def _ours(threads: int, modalities: Sequence[Modality] = ("image",), jitter: float = 0.0) -> SpecimenCollator:
    return SpecimenCollator(
        modalities,
        ImageAugmentation(SIZE, SHORTER_SIDE, jitter=jitter),
        encoder=KmerEncoder(5),
        random_offset=True,
        tokenizer=_tokenizer() if "text" in modalities else None,
        pad_text_to=20,
        threads=threads,
    )


def _collated(collate: SpecimenCollator, files: Sequence[bytes]) -> Batches:
    rows = _specimens(files)
    for start in range(0, len(files), BATCH):
        part = {name: column[start : start + BATCH] for name, column in rows.items()}
        yield collate(part, range(start, start + len(part["image"])))["pixel_values"]


@dataclass(frozen=True)
class Way:
    """One way from image files to batches.

    Attributes:
        title: What it is, for the page.
        open: Makes of the files in memory what gives the batches.
        simplejpeg: Whether it may be used.
        same_views: Whether the views are those of the other ways.
    """

    title: str
    open: Callable[[Sequence[bytes]], Batches]
    simplejpeg: bool = True
    same_views: bool = True


WAYS: dict[str, Way] = {
    "torch": Way("the reference's way: floats, `interpolate`, `grid_sample`", lambda f: _batches(_with_torch, f)),
    "pillow": Way("Pillow, step by step", lambda f: _batches(_with_pillow, f)),
    "ours": Way("**`SpecimenCollator`**, images", lambda f: _collated(_ours(0), f)),
    "ours1": Way("**`SpecimenCollator`**, images, 1 thread", lambda f: _collated(_ours(1), f)),
    "ours2": Way("**`SpecimenCollator`**, images, 2 threads", lambda f: _collated(_ours(2), f)),
    "plain": Way("`SpecimenCollator`, images, without simplejpeg", lambda f: _collated(_ours(0), f), simplejpeg=False),
    "all": Way("`SpecimenCollator`, images, barcodes and texts", lambda f: _collated(_ours(0, MODALITIES), f)),
    "jitter": Way(
        "`SpecimenCollator`, images with `jitter=0.5`", lambda f: _collated(_ours(0, jitter=0.5), f), True, False
    ),
}


def run(way: str, files: Sequence[bytes]) -> Result:
    """Prepare all images in one way; the brightness of the first views, and the costs."""
    torch.set_num_threads(1)
    there, pixels.simplejpeg = pixels.simplejpeg, simplejpeg if WAYS[way].simplejpeg else None
    # So that nothing is left to start when the time runs.
    first = next(WAYS[way].open(files))
    batches = WAYS[way].open(files)
    with measured() as cost:
        for _ in batches:
            pass
    pixels.simplejpeg = there
    return {**cost, "means": (255 * first).mean((1, 2, 3)).numpy()}


def compare(options: Options) -> Comparison:
    """Image files to batches of training views."""
    images, rounds = (4, 1) if options.quick else (256, 5 * options.rounds)
    files, order = list(jpegs(images, SEED)), random.Random(SEED)
    results: dict[str, list[Result]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in order.sample(list(WAYS), len(WAYS)):
            results[way].append(run(way, files))
    means = np.array([results[way][0]["means"] for way, what in WAYS.items() if what.same_views])
    same = bool(np.ptp(means, axis=0).max() < 0.5)
    titles, rows = {way: what.title for way, what in WAYS.items()}, []
    pairs = [(way, "torch") for way in WAYS if way not in ("torch", "pillow")] + [
        ("ours", "pillow"),
        ("ours2", "pillow"),
    ]
    for key, unit in (("cpu", "CPU us per image"), ("wall", "us per image")):
        costs = {way: min(result[key] for result in runs) / images * 1e6 for way, runs in results.items()}
        rows += beside("JPEG to training views", f"{images:,} images", unit, costs, pairs, titles=titles)
    return Comparison(
        "image files to batches of training views",
        rows,
        versions("torch", "pillow", "simplejpeg", "numpy", "bioscan-hf"),
        {"All ways but the one with jitter make the same views (mean brightness within 0.5 of 255)": same},
        [
            f"Made photographs, shorter side {SHORTER_SIDE} pixels, JPEG of {sum(map(len, files)) // images:,} bytes "
            f"in the mean, in memory; batches of {BATCH} as floats, 0 to 1, of ({SIZE}, {SIZE}) pixels. Best of "
            f"{rounds} rounds in random order, all in one process; one thread of torch.",
            f"The steps are those of CLIBD: a random part of the image scaled to {SIZE}, two flips, and a rotation. "
            "The reference's way decodes with Pillow and takes the steps that torchvision takes on tensors; "
            "torchvision itself is not used. Barcodes have 658 letters, texts four ranks of two words each.",
        ],
    )
