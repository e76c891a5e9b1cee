"""Run by the Python of an environment with `datasets` 3.6: load and show as JSON what a test asks for.

Reads a list of calls from stdin, each with the arguments of `load_dataset`, and writes what they give on the last line:
for each call the rows of each split, images as the path and the bytes of their file.
"""

import base64
import json
import sys

from datasets import Dataset, Image, IterableDataset, load_dataset


def rows(dataset: Dataset | IterableDataset) -> list:
    if "image" in dataset.features:
        next(iter(dataset))["image"].load()  # can be decoded
        dataset = dataset.cast_column("image", Image(decode=False))
    return list(dataset)


def main() -> None:
    found = []
    for call in json.load(sys.stdin):
        loaded = load_dataset(**call)
        found.append(rows(loaded) if "split" in call else {split: rows(part) for split, part in loaded.items()})
    sys.stdout.write(json.dumps(found, default=lambda value: base64.b64encode(value).decode()) + "\n")


if __name__ == "__main__":
    main()
