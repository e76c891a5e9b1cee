"""`SpecimenCollator` beside the same steps in plain Pillow and in torch: image files to batches of training views.

    python benchmarks/multimodal_loading.py [--images 256] [--rounds 10] [--output benchmarks/results]

The ways take turns in one process, in random order, and the best of some rounds counts. The page
`multimodal_loading.md` is written to the output folder; all takes about a minute and a half. simplejpeg is needed.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import platform
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
import torch
from measuring import measured
from peer import versions
from pictures import jpegs
from PIL import Image
from torch.nn import functional

from bioscan_hf.data import pixels
from bioscan_hf.data.augmentation import ImageAugmentation
from bioscan_hf.data.multimodal import MODALITIES, Modality, SpecimenCollator
from bioscan_hf.tokenization.kmer import KmerEncoder

HERE = Path(__file__).resolve().parent
SIZE, SHORTER_SIDE, BATCH = 224, 256, 64
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
    "torch": Way("as the reference: floats, `interpolate`, `grid_sample`", lambda f: _batches(_with_torch, f)),
    "pillow": Way("Pillow, step by step", lambda f: _batches(_with_pillow, f)),
    "ours": Way("**`SpecimenCollator`**, images", lambda f: _collated(_ours(0), f)),
    "ours1": Way("the same, 1 thread", lambda f: _collated(_ours(1), f)),
    "ours2": Way("the same, 2 threads", lambda f: _collated(_ours(2), f)),
    "plain": Way("the same without simplejpeg, no thread", lambda f: _collated(_ours(0), f), simplejpeg=False),
    "all": Way("images, barcodes and texts, no thread", lambda f: _collated(_ours(0, MODALITIES), f)),
    "jitter": Way("images with `jitter=0.5`, no thread", lambda f: _collated(_ours(0, jitter=0.5), f), True, False),
}


def measure(images: int, rounds: int, seed: int) -> tuple[int, dict[str, list[Result]]]:
    """Make the images, and prepare them in every way, in rounds of random order.

    Returns:
        Mean size of a file in bytes, and the results of each way.
    """
    torch.set_num_threads(1)
    order = random.Random(seed)
    files = list(jpegs(images, seed))
    results: dict[str, list[Result]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in order.sample(list(WAYS), len(WAYS)):
            load = os.getloadavg()[0]
            pixels.simplejpeg = simplejpeg if WAYS[way].simplejpeg else None
            # So that nothing is left to start when the time runs.
            first = next(WAYS[way].open(files))
            batches = WAYS[way].open(files)
            with measured() as cost:
                for _ in batches:
                    pass
            results[way].append({**cost, "load average": load, "means": (255 * first).mean((1, 2, 3)).tolist()})
            sys.stderr.write(f"{way}: cpu {cost['cpu']:.2f} s, wall {cost['wall']:.2f} s\n")
    return sum(map(len, files)) // images, results


def page(size: int, results: dict[str, list[Result]], images: int, command: str) -> str:
    """The page in Markdown."""
    cpu = {way: min(result["cpu"] for result in runs) / images * 1e6 for way, runs in results.items()}
    wall = {way: min(result["wall"] for result in runs) / images * 1e6 for way, runs in results.items()}
    lines = [
        f"| {what.title} | {1e6 / wall[way]:,.0f} | {wall['torch'] / wall[way]:.2f}x "
        f"| {wall['pillow'] / wall[way]:.2f}x | {cpu[way]:,.0f} | {cpu['torch'] / cpu[way]:.2f}x |"
        for way, what in WAYS.items()
    ]
    means = np.array([results[way][0]["means"] for way, what in WAYS.items() if what.same_views])
    loads = [result["load average"] for runs in results.values() for result in runs]
    found = versions("torch", "PIL", "simplejpeg", "numpy")
    return f"""# Image files to batches of training views

    {command}

All ways but the last crop, flip and rotate alike: their mean brightness of a view (first batch of {BATCH}) differs by
at most {np.ptp(means, axis=0).max():.2f} of 255.

| way | images per s | of the reference's way | of Pillow | CPU us per image | less than the reference's way |
| --- | ---: | ---: | ---: | ---: | ---: |
{os.linesep.join(lines)}

Best of {len(results["ours"])} rounds in random order, all in one process; CPU seconds of the user and the system.
{os.cpu_count()} cores of {platform.machine()}, {platform.system()}. Other programs used the cores, too: the load
average was {min(loads):.1f} to {max(loads):.1f}, so compare CPU seconds rather than images per second. Versions:
{", ".join(f"{name} {version}" for name, version in found.items())}.

- {images:,} made photographs, shorter side {SHORTER_SIDE} pixels, JPEG of {size:,} bytes in the mean, in memory; one
  thread of torch. Batches of {BATCH} as floats, 0 to 1, of ({SIZE}, {SIZE}) pixels.
- The steps are those of CLIBD: a random part of the image scaled to {SIZE}, two flips, and a rotation. The reference's
  way decodes with Pillow and takes the steps that torchvision takes on tensors; torchvision itself is not used.
- Barcodes have 658 letters, texts four ranks of two words each.
"""


def main() -> None:
    """Parse the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="how many are made (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="the best of them counts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="fixes images and order (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the page")
    options = parser.parse_args()
    size, results = measure(options.images, options.rounds, options.seed)
    command = f"python benchmarks/multimodal_loading.py --images {options.images} --rounds {options.rounds}"
    options.output.mkdir(parents=True, exist_ok=True)
    text = page(size, results, options.images, f"{command} --seed {options.seed}")
    (options.output / "multimodal_loading.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
