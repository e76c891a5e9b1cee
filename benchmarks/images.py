"""`ImageBatches` beside what users of bioscan-dataset 1.3.0 and of `datasets` do: images to batches of 224 pixels.

    python benchmarks/images.py --peer PYTHON [--images 3000] [--rounds 5] [--output benchmarks/results]

PYTHON is that of the peer's environment, with `datasets` beside. Every figure is of a fresh process, its start and
imports not counted; the ways are run in random order, and the best of some rounds counts. The page `images.md` is
written to the output folder; a round takes about two minutes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from measuring import answer, ask, measured
from peer import import_peer, versions
from pictures import jpegs

HERE = Path(__file__).resolve().parent
IMAGES = Path("bioscan5m/images/cropped_256/val")
CSV = Path("bioscan5m/metadata/csv/BIOSCAN_5M_Insect_Dataset_metadata.csv")
SIZE, BATCH = 224, 64
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


def _ours_with_pillow(folder: Path, workers: int) -> Any:
    from bioscan_hf.data import pixels

    pixels.simplejpeg = None
    return _ours(folder, workers)


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
        self.files = [path.read_bytes() for path in sorted((folder / IMAGES).iterdir())]

    def __iter__(self) -> Iterator[Any]:
        import simplejpeg

        for file in self.files:
            yield simplejpeg.decode_jpeg(file)


WAYS: dict[str, Way] = {
    "peer": Way("bioscan-dataset, torchvision, `DataLoader`", _bioscan_dataset, True),
    "peer2": Way("the same, 2 workers", _bioscan_dataset, True, 2),
    "datasets": Way("`datasets.Image`, torchvision, `DataLoader`", _datasets, True),
    "datasets2": Way("the same, 2 workers", _datasets, True, 2),
    "ours": Way("**`ImageBatches`**", _ours),
    "ours2": Way("the same, 2 threads", _ours, workers=2),
    "pillow": Way("`ImageBatches` without simplejpeg", _ours_with_pillow),
    "normalised": Way("`ImageBatches`, and `normalise` on the CPU", _Normalised),
    "decoded": Way("simplejpeg alone, files in memory, no batches", _DecodedOnly),
}


def make_files(folder: Path, count: int, seed: int) -> int:
    """Write the images as the peer and as `datasets` want them; the mean size of a file in bytes."""
    from datasets import Dataset

    from bioscan_hf.data.features import COLUMN_NAMES, bioscan_features

    (folder / IMAGES).mkdir(parents=True)
    (folder / CSV).parent.mkdir(parents=True)
    rows = []
    for number, data in enumerate(jpegs(count, seed)):
        processid, species = f"MADE{number:05}-26", f"Musca no{number % 100}"
        (folder / IMAGES / f"{processid}.jpg").write_bytes(data)
        row: dict[str, Any] = dict.fromkeys(COLUMN_NAMES)
        row |= {"processid": processid, "species": species, "dna_barcode": "ACGT", "split": "val"}
        rows.append({"image": {"bytes": data, "path": f"{processid}.jpg"}, **row})
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMN_NAMES, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    Dataset.from_list(rows, features=bioscan_features()).save_to_disk(folder / "dataset")
    return sum(len(row["image"]["bytes"]) for row in rows) // count


def run(way: str, folder: Path) -> Result:
    """Read all images in one way."""
    import torch

    torch.set_num_threads(1)
    # One after another, so that nothing is left to start or to import when the time runs.
    first = next(iter(WAYS[way].open(folder, 0)))
    batches = WAYS[way].open(folder, WAYS[way].workers)
    with measured() as cost:
        for _ in batches:
            pass
    modules = ("torch", "torchvision", "bioscan_dataset") if WAYS[way].of_peer else ("torch", "datasets", "simplejpeg")
    return {**cost, "digest": _digest(first), "versions": versions(*modules, "PIL")}


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


def measure(peer: str, images: int, rounds: int, seed: int) -> tuple[int, dict[str, list[Result]]]:
    """Make the images, and read them in every way, in rounds of random order.

    Returns:
        Mean size of a file in bytes, and the results of each way.
    """
    order = random.Random(seed)
    results: dict[str, list[Result]] = {way: [] for way in WAYS}
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        size = make_files(Path(name), images, seed)
        for _ in range(rounds):
            for way in order.sample(list(WAYS), len(WAYS)):
                load = os.getloadavg()[0]
                python = peer if WAYS[way].of_peer else sys.executable
                result = ask(python, Path(__file__), "--way", way, "--folder", name, env=env)
                results[way].append({**result, "load average": load})
                sys.stderr.write(f"{way}: {result}\n")
    return size, results


def page(size: int, results: dict[str, list[Result]], images: int, command: str) -> str:
    """The page in Markdown."""
    cpu = {way: min(result["cpu"] for result in runs) / images * 1e6 for way, runs in results.items()}
    wall = {way: min(result["wall"] for result in runs) / images * 1e6 for way, runs in results.items()}
    bars = {
        "ours": [
            ("at least 4x bioscan-dataset", cpu["peer"] >= 4 * cpu["ours"]),
            ("at most 1.2x decoding alone", cpu["ours"] <= 1.2 * cpu["decoded"]),
        ],
        "ours2": [("at least 4x bioscan-dataset with 2 workers", cpu["peer2"] >= 4 * cpu["ours2"])],
    }
    lines = []
    for way, what in WAYS.items():
        base = "peer2" if what.workers else "peer"
        bar = "; ".join(f"{text}: {'met' if met else '**not met**'}" for text, met in bars.get(way, []))
        ratios = f"{cpu[base] / cpu[way]:.2f}x | {cpu[way] / cpu['decoded']:.2f}x"
        lines.append(
            f"| {what.title} | {cpu[way]:,.0f} | {1e6 / cpu[way]:,.0f} | {ratios} | {wall[way]:,.0f} | {bar} |"
        )
    every = [result for runs in results.values() for result in runs]
    digests = {result["digest"] for result in every} - {None}
    found = {name: version for result in every for name, version in result["versions"].items()}
    loads = [result["load average"] for result in every]
    return f"""# Images to batches, beside bioscan-dataset 1.3.0

    {command}

All ways give {"the same pixels" if len(digests) == 1 else "**different pixels**"} (first batch of {BATCH}).

| way | CPU us per image | images per CPU s | faster than the peer | of decoding alone | wall us | bar |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
{os.linesep.join(lines)}

Best of {len(results["ours"])} rounds in random order, each figure of a fresh process, its start and imports not
counted; CPU seconds of the user and the system, those of worker processes included. Ways with 2 workers or threads are
compared with the peer's 2 workers. {os.cpu_count()} cores of {platform.machine()}, {platform.system()}. Other programs
used the cores, too: the load average was {min(loads):.1f} to {max(loads):.1f}, so compare CPU seconds rather than wall
seconds. Versions: {", ".join(f"{name} {version}" for name, version in found.items())}.

- {images:,} made photographs, shorter side 256 pixels, JPEG of {size:,} bytes in the mean, in the order of the files;
  one thread of torch. The peer reads loose files, `datasets` and we read its memory-mapped Arrow file.
- The peer's pipeline is torchvision's `Resize(256)`, `CenterCrop({SIZE})`, `ToTensor` and `Normalize`, image by image:
  floats of (3, {SIZE}, {SIZE}). `ImageBatches` gives uint8 of ({SIZE}, {SIZE}, 3), which `normalise` makes the same
  floats, on the device; the line with `normalise` on the CPU is for those who have no other.
- The `DataLoader` starts its workers in the measured time.
"""


def main() -> None:
    """Parse the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of the peer's environment")
    parser.add_argument("--images", type=int, default=3000, help="how many are made (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="the best of them counts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="fixes images and order (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the page")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # a process of its own for each
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        answer(run(options.way, options.folder))
        return
    if not options.peer:
        parser.error("--peer is needed: the Python of the peer's environment")
    size, results = measure(options.peer, options.images, options.rounds, options.seed)
    command = f"python benchmarks/images.py --peer PYTHON --images {options.images} --rounds {options.rounds}"
    options.output.mkdir(parents=True, exist_ok=True)
    text = page(size, results, options.images, f"{command} --seed {options.seed}")
    (options.output / "images.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
