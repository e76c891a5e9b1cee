"""Draw one picture of many specimens of the embedded sample, one species each, in the order of their taxonomy.

python tools/contact_sheet.py docs/images/sample.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from bioscan_hf import load_specimens, select_split

COLUMNS, ROWS, TILE, GAP = 14, 4, 96, 2


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="picture to write")
    output = parser.parse_args().output
    specimens = select_split(load_specimens(image=True), "seen+unseen")
    shown = {row["species"]: row for row in specimens if row["image"]}
    ranked = sorted(shown.values(), key=lambda row: [row[rank] or "" for rank in ("class", "order", "family", "genus")])
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) - GAP, ROWS * (TILE + GAP) - GAP), "white")
    for i in range(COLUMNS * ROWS):
        row = ranked[i * len(ranked) // (COLUMNS * ROWS)]
        sheet.paste(row["image"], (i % COLUMNS * (TILE + GAP), i // COLUMNS * (TILE + GAP)))
    sheet.save(output, quality=88)


if __name__ == "__main__":
    main()
