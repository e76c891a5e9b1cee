"""`ImageBatches` beside what users of bioscan-dataset 1.3.0 and of `datasets` do: images to batches of 224 pixels."""

from __future__ import annotations

import csv
import hashlib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from comparison import Bar, Comparison, Options, beside
from measuring import answer, ask, fresh, measured
from peer import import_peer, versions
from pictures import jpegs

FOLDER = Path("bioscan5m/images/cropped_256/val")
CSV = Path("bioscan5m/metadata/csv/BIOSCAN_5M_Insect_Dataset_metadata.csv")
IMAGES, QUICK_IMAGES = 1500, 6
SIZE, BATCH, SEED = 224, 64, 7
MEAN, STD = (0.76281859, 0.76503749, 0.76373138), (0.14205404, 0.15642502, 0.17309470)
Result = dict[str, Any]
_peer = cache(import_peer)  # which torch allows once


@dataclass(frozen=True)
class Way:
    """One way from image files to batches.

    Attributes:
        title: What it is, for the page.
        open: Makes of the folder of the files and a number of workers what gives the batches.
        of_peer: Whether it runs in the peer's environment.
        workers: Of the `DataLoader`, or threads.
    """

    title: str
    open: Callable[[Path, int], Any]
    of_peer: bool = False
    workers: int = 0


def _bioscan_dataset(folder: Path, workers: int) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(
        _peer()(folder, split="val", modality="image", transform=_transform()), BATCH, num_workers=workers
    )


def _datasets(folder: Path, workers: int) -> Any:
    _peer()
    from datasets import Dataset, load_from_disk
    from torch.utils.data import DataLoader

    transform = _transform()

    def apply(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"image": [transform(image) for image in rows["image"]], "species": rows["species"]}

    dataset = load_from_disk(folder / "dataset")
    assert isinstance(dataset, Dataset)
    return DataLoader(dataset.with_transform(apply), BATCH, num_workers=workers)


def _transform() -> Callable[[Any], Any]:
    from torchvision import transforms  # type: ignore[import-not-found,unused-ignore]

    steps = [
        transforms.Resize(256),
        transforms.CenterCrop(SIZE),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    composed: Callable[[Any], Any] = transforms.Compose(steps)
    return composed


def _ours(folder: Path, workers: int) -> Any:
    from datasets import Dataset, load_from_disk

    from bioscan_hf.data.images import ImageBatches

    dataset = load_from_disk(folder / "dataset")
    assert isinstance(dataset, Dataset)
    return ImageBatches(dataset, size=SIZE, batch_size=BATCH, columns=["species"], threads=workers)


class _WithPillow:
    """Our batches where simplejpeg is not installed."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.batches = _ours(folder, workers)

    def __iter__(self) -> Iterator[Any]:
        from bioscan_hf.data import pixels

        there, pixels.simplejpeg = pixels.simplejpeg, None
        yield from self.batches
        pixels.simplejpeg = there


class _Normalised:
    """Our batches as floats, made on the CPU, like those of the peer."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.batches = _ours(folder, workers)

    def __iter__(self) -> Iterator[Any]:
        from bioscan_hf.data.pixels import normalise

        for batch in self.batches:
            yield {"image": normalise(batch["pixel_values"])}


class _DecodedOnly:
    """Whole images from memory, one by one; not batches."""

    def __init__(self, folder: Path, workers: int) -> None:
        del workers
        self.files = [path.read_bytes() for path in sorted((folder / FOLDER).iterdir())]

    def __iter__(self) -> Iterator[Any]:
        import simplejpeg

        for file in self.files:
            yield simplejpeg.decode_jpeg(file)


WAYS: dict[str, Way] = {
    "peer": Way("bioscan-dataset, torchvision, `DataLoader`", _bioscan_dataset, True),
    "peer2": Way("bioscan-dataset, torchvision, `DataLoader`, 2 workers", _bioscan_dataset, True, 2),
    "datasets": Way("`datasets.Image`, torchvision, `DataLoader`", _datasets, True),
    "datasets2": Way("`datasets.Image`, torchvision, `DataLoader`, 2 workers", _datasets, True, 2),
    "ours": Way("**`ImageBatches`**", _ours),
    "ours2": Way("**`ImageBatches`**, 2 threads", _ours, workers=2),
    "pillow": Way("`ImageBatches` without simplejpeg", _WithPillow),
    "normalised": Way("`ImageBatches`, and `normalise` on the CPU", _Normalised),
    "decoded": Way("simplejpeg alone, files in memory, no batches", _DecodedOnly),
}
PAIRS = [
    *((way, "peer") for way in ("ours", "pillow", "normalised")),
    ("ours", "datasets"),
    ("ours", "decoded"),
    ("ours2", "peer2"),
    ("ours2", "datasets2"),
]
BARS = {("ours", "peer"): Bar(4), ("ours2", "peer2"): Bar(4), ("ours", "decoded"): Bar(1 / 1.2)}


def make_files(folder: Path, count: int, seed: int) -> int:
    """Write the images as the peer and as `datasets` want them; the mean size of a file in bytes."""
    from datasets import Dataset

    from bioscan_hf.data.features import COLUMN_NAMES, bioscan_features

    (folder / FOLDER).mkdir(parents=True)
    (folder / CSV).parent.mkdir(parents=True)
    rows = []
    for number, data in enumerate(jpegs(count, seed)):
        processid, species = f"MADE{number:05}-26", f"Musca no{number % 100}"
        (folder / FOLDER / f"{processid}.jpg").write_bytes(data)
        row: dict[str, Any] = dict.fromkeys(COLUMN_NAMES)
        row |= {"processid": processid, "species": species, "dna_barcode": "ACGT", "split": "val"}
        rows.append({"image": {"bytes": data, "path": f"{processid}.jpg"}, **row})
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMN_NAMES, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    Dataset.from_list(rows, features=bioscan_features()).save_to_disk(folder / "dataset")
    return sum(len(row["image"]["bytes"]) for row in rows) // count


def run(way: str, folder: str) -> Result:
    """Read all images in one way."""
    import torch

    torch.set_num_threads(1)
    # One after another, so that nothing is left to start or to import when the time runs.
    first = next(iter(WAYS[way].open(Path(folder), 0)))
    batches = WAYS[way].open(Path(folder), WAYS[way].workers)
    with measured() as cost:
        for _ in batches:
            pass
    packages = ("torch", "torchvision", "bioscan-dataset") if WAYS[way].of_peer else ("datasets", "simplejpeg")
    return {**cost, "digest": _digest(first), "versions": versions(*packages, "pillow")}


def _digest(batch: Any) -> str | None:
    """Checksum of the pixels of a batch, as (N, height, width, 3) uint8."""
    import torch

    if not isinstance(batch, (dict, list)):
        return None
    images = batch[0] if isinstance(batch, list) else batch["pixel_values" if "pixel_values" in batch else "image"]
    if images.dtype != torch.uint8:
        images = (images.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)) * 255
        images = images.round().to(torch.uint8)
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


def measure(folder: str, options: Options) -> dict[str, list[Result]]:
    """Read the images of a folder in every way, in rounds of random order; those of an absent peer are left out."""
    order = random.Random(SEED)
    ways = [way for way, what in WAYS.items() if options.peer or not what.of_peer]
    results: dict[str, list[Result]] = {way: [] for way in ways}
    for _ in range(1 if options.quick else options.rounds):
        for way in order.sample(ways, len(ways)):
            if WAYS[way].of_peer:
                result = ask(str(options.peer), Path(__file__), way, folder)
            else:
                result = fresh(options.quick, run, way, folder)
            results[way].append(result)
    return results


def compare(options: Options) -> Comparison:
    """JPEG files to batches of pixels."""
    images = QUICK_IMAGES if options.quick else IMAGES
    with tempfile.TemporaryDirectory() as folder:
        size = make_files(Path(folder), images, SEED)
        results = measure(folder, options)
    titles, rows = {way: what.title for way, what in WAYS.items()}, []
    for key, unit in (("cpu", "CPU us per image"), ("wall", "us per image")):
        costs = {way: min(result[key] for result in runs) / images * 1e6 for way, runs in results.items()}
        bars = BARS if key == "cpu" else {}
        rows += beside("JPEG to batches", f"{images:,} images", unit, costs, PAIRS, titles=titles, bars=bars)
    every = [result for runs in results.values() for result in runs]
    digests = {result["digest"] for result in every} - {None}
    return Comparison(
        "images to batches, beside bioscan-dataset",
        rows,
        {name: version for result in every for name, version in result["versions"].items()},
        {f"All ways give the same pixels (first batch of {BATCH})": len(digests) == 1},
        [
            f"Made photographs, shorter side 256 pixels, JPEG of {size:,} bytes in the mean, in the order of the "
            "files. The peer reads loose files, `datasets` and we read its memory-mapped Arrow file. One thread of "
            "torch; each figure is of a fresh process, its start and imports not counted, the ways in random order, "
            "and the best counts. CPU seconds include those of worker processes, which the `DataLoader` starts in the "
            "measured time.",
            f"The peer's pipeline is torchvision's `Resize(256)`, `CenterCrop({SIZE})`, `ToTensor` and `Normalize`, "
            f"image by image: floats of (3, {SIZE}, {SIZE}). `ImageBatches` gives uint8 of ({SIZE}, {SIZE}, 3), which "
            "`normalise` makes the same floats, on the device or, in one way, on the CPU.",
        ],
    )


if __name__ == "__main__":  # in the environment of the peer
    answer(run(*sys.argv[1:]))
