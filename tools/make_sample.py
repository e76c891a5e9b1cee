"""Make the embedded sample: simulated specimens that look like BIOSCAN-5M.

    python tools/make_sample.py                                       # the shipped sample, in about a minute
    python tools/make_sample.py --specimens 300 --images 30 --output trial

Needs the package and msprime. The same arguments give the same specimens, and with the same versions of numpy, msprime,
Pillow and pyarrow the same files. The table that is printed at the end belongs in the README of the sample.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sample.specimens import make_specimens
from sample.storage import count_splits, write_splits

OUTPUT = Path(__file__).resolve().parents[1] / "bioscan_hf" / "data" / "sample"


def main(arguments: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        arguments: Command line, `sys.argv` by default.
    """
    parser = argparse.ArgumentParser(description="Make simulated specimens that look like BIOSCAN-5M.")
    parser.add_argument("--seed", type=int, default=5, help="fixes every random choice (default: %(default)s)")
    parser.add_argument("--specimens", type=int, default=16_000, help="number of specimens (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1_500, help="how many have an image (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the files (default: the package)")
    options = parser.parse_args(arguments)
    try:
        rows = make_specimens(options.specimens, options.images, options.seed)
    except ValueError as error:
        parser.error(str(error))
    write_splits(rows, options.output)
    sys.stdout.write(count_splits(rows) + "\n")


if __name__ == "__main__":
    main()
