r"""Read BIOSCAN-5M specimen by specimen, of any split, with the modalities that you need, without downloading the rest.

On the embedded sample of simulated specimens, in some seconds after the imports:

    python examples/stream_bioscan5m.py --split all

On BIOSCAN-5M from the Hub; without `image` no images travel. A folder with the archives, or one that `bioscan data
convert` wrote, is read where it lies:

    python examples/stream_bioscan5m.py --data bioscan-ml/BIOSCAN-5M --split pretrain --modalities dna
    python examples/stream_bioscan5m.py --data bioscan-ml/BIOSCAN-5M --split val --modalities image dna --limit 1000
    python examples/stream_bioscan5m.py --data my-bioscan5m --split train+val --modalities image taxonomy

What the splits and configurations hold, the command line knows:

    bioscan data info
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from datasets import IterableDataset

from bioscan_hf import ImageBatches, load_dataset, normalise
from bioscan_hf.data.anywhere import is_own, load_anywhere
from bioscan_hf.data.loading import MODALITIES

BATCH = 64


def open_stream(data: str, split: str, modalities: list[str]) -> IterableDataset:
    """Specimens one after another, with the process id and the columns of the modalities."""
    if Path(data).suffix or is_own(data):  # a table of one's own, or the sample
        columns = [column for modality in modalities for column in MODALITIES[modality]]
        return load_anywhere(data, ["processid", *columns], split=split, streaming=True)
    stream = load_dataset(data, split=split, modalities=modalities, streaming=True)
    assert isinstance(stream, IterableDataset)
    return stream


def main() -> None:
    """Read, count, and say how fast it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="repository on the Hub, folder or file")
    parser.add_argument("--split", default="train", help="val, pretrain ..., or a sum such as train+val")
    known = [name for name in MODALITIES if name != "text"]
    parser.add_argument("--modalities", nargs="+", default=["dna", "taxonomy"], choices=known, metavar="MODALITY")
    parser.add_argument("--limit", type=int, help="stop after this many specimens")
    options = parser.parse_args()

    start = time.perf_counter()
    stream = open_stream(options.data, options.split, options.modalities)
    if options.limit:
        stream = stream.take(options.limit)

    # Batches of columns; or of uint8 pixels beside the others, decoded in threads.
    pictures = None
    if "image" in options.modalities:
        others = [column for column in stream.column_names or () if column != "image"]
        pictures = ImageBatches(stream, batch_size=BATCH, columns=others, threads=2, on_error="skip")
    orders: Counter[str] = Counter()
    count = head = 0
    first = 0.0
    for batch in stream.iter(BATCH) if pictures is None else pictures:
        if not count:
            head, first = len(batch["processid"]), time.perf_counter() - start
            for name, values in batch.items():
                print(f"  {name}: {values.shape if hasattr(values, 'shape') else str(values[0])[:60]}")
        if pictures is not None:
            normalise(batch["pixel_values"], flip=0.5)  # (B, 3, 224, 224) floats; after `.to("cuda")` on the GPU
        count += len(batch["processid"])
        orders.update(name or "no order" for name in batch.get("order", ()))
    rest = max(time.perf_counter() - start - first, 1e-6)
    print(f"{count:,} specimens: the first {head:,} after {first:.1f} s, the others in {rest:.1f} s", end=", ")
    print(f"{(count - head) / rest:,.0f} per second")
    if pictures is not None and pictures.skipped:
        print(f"{pictures.skipped:,} more have no image")
    if orders:
        print("; ".join(f"{name} {number:,}" for name, number in orders.most_common(5)))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".* specimens were left out")  # they are counted above
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"stream_bioscan5m.py: {str(error).partition(chr(10))[0]}")
