"""The same as `peer.py measure` with `bioscan_hf.load_dataset`: a process of `dataset.py`.

    python benchmarks/ours.py ROOT CACHE SPLIT

ROOT holds `bioscan5m/`; CACHE is the folder of the cache: a new one for the first time, the same again for a later one.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

from measuring import answer, measured
from peer import digest, versions

BATCH = 256
COLUMNS = ["processid", "dna_barcode", "species_index"]


def measure(root: str, cache: str, split: str, rows: int, reduce: bool) -> dict[str, Any]:
    """Load a split of barcodes, then read its rows: all in batches, and some one by one at random."""
    with measured() as importing:
        from bioscan_hf import load_dataset
    with measured() as loading:
        dataset: Any = load_dataset(
            root=root,
            split=split,
            modalities="dna",
            targets="species",
            reduce_repeated_barcodes=reduce,
            cache_dir=cache,
        )
    dataset = dataset.select_columns(COLUMNS)
    places = random.Random(0).choices(range(len(dataset)), k=rows)
    with measured() as iterating:
        for batch in dataset.iter(BATCH):
            [batch[name] for name in COLUMNS]
    with measured() as jumping:
        for place in places:
            dataset[place]
    return {
        "import": importing,
        "load": loading,
        "rows per CPU s, in order": len(dataset) / iterating["cpu"],
        "rows per CPU s, at random": rows / jumping["cpu"],
        "rows": len(dataset),
        "digest": digest(dataset["processid"][:], dataset["species_index"][:]),
        "versions": versions("bioscan-hf", "datasets", "pyarrow"),
    }


def main() -> None:
    """Parse the command line and answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("cache")
    parser.add_argument("split")
    parser.add_argument("--rows", type=int, default=20_000, help="how many are read at random (default: %(default)s)")
    parser.add_argument("--reduce", action="store_true", help="one specimen per barcode")
    options = parser.parse_args()
    answer(measure(options.root, options.cache, options.split, options.rows, options.reduce))


if __name__ == "__main__":
    main()
