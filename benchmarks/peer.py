"""bioscan-dataset 1.3.0, the package that `load_dataset` is compared with, run in an environment of its own.

    PEER benchmarks/peer.py measure ROOT SPLIT     what it costs to construct a split and to read its rows
    PEER benchmarks/peer.py compare ROOT REQUESTS  what it gives, for tests/data/test_peer.py

PEER is the interpreter of an environment made as benchmarks/README.md says; ROOT holds `bioscan5m/`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import random
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measuring import answer, measured


def import_peer() -> Any:
    """Import the peer; its class for BIOSCAN-5M, which accepts files other than the released ones."""
    import torch

    # PyPI's torchvision is built for CUDA and cannot load its operators beside a torch for the CPU; it then fails to
    # import, because it describes two operators that are not there. The peer needs neither.
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from bioscan_dataset import BIOSCAN5M  # type: ignore[import-not-found,unused-ignore]

    class Peer(BIOSCAN5M):  # type: ignore[misc,unused-ignore]
        _operators = library  # They are gone when the library is.

        def _check_integrity(self, verbose: int = 1) -> bool:
            """Made data do not have the checksums of the released ones."""
            return True

    return Peer


def measure(root: str, split: str, rows: int, reduce: bool) -> dict[str, Any]:
    """Construct a split of barcodes, then read rows one by one, in order and at random."""
    with measured() as importing:
        peer = import_peer()
    with measured() as loading:
        dataset = peer(root, split=split, modality="dna", reduce_repeated_barcodes=reduce)
    places = random.Random(0).choices(range(len(dataset)), k=rows)
    with measured() as iterating:
        for place in range(min(rows, len(dataset))):
            dataset[place]
    with measured() as jumping:
        for place in places:
            dataset[place]
    metadata = dataset.metadata
    return {
        "import": importing,
        "load": loading,
        "rows per CPU s, in order": min(rows, len(dataset)) / iterating["cpu"],
        "rows per CPU s, at random": rows / jumping["cpu"],
        "rows": len(dataset),
        "digest": digest(metadata["processid"], metadata["species_index"]),
        "versions": versions("bioscan-dataset", "pandas", "torch", "pyarrow"),
    }


def digest(processids: Any, indices: Any) -> str:
    """Checksum of process ids and indices in order, to tell whether both packages hold the same."""
    lines = "".join(f"{processid} {index}\n" for processid, index in zip(processids, indices, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of those packages that are installed, by the names that pip has for them."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def compare(root: str, requests: list[dict[str, Any]]) -> list[Any]:
    """What the peer gives for each of several requests.

    Args:
        root: Folder that holds `bioscan5m/`.
        requests: Arguments of the peer's class; `labels` asks for the vocabulary of a column instead of the rows.

    Returns:
        For each request its rows by process id, in order, as `__getitem__` gives them; images as [width, height,
        SHA-256 of the RGB values], missing values as None. For `labels`, the names by index and their indices.
    """
    peer = import_peer()
    answers: list[Any] = []
    for request in requests:
        labels = request.pop("labels", None)
        dataset = peer(root, **request)
        if labels is None:
            processids = dataset.metadata["processid"]
            answers.append([(processids.iloc[i], _plain(dataset[i])) for i in range(len(dataset))])
        else:
            names = list(dataset.metadata[labels].cat.categories)
            answers.append(
                {
                    "index2label": [dataset.index2label(i, labels) for i in range(-1, len(names))],
                    "label2index": [[name, int(dataset.label2index(name, labels))] for name in ("", *names)],
                }
            )
    return answers


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "convert"):
        image = value.convert("RGB")
        return [*image.size, hashlib.sha256(image.tobytes()).hexdigest()]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def main() -> None:
    """Parse the command line and answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    measuring = commands.add_parser("measure")
    measuring.add_argument("root")
    measuring.add_argument("split")
    measuring.add_argument("--rows", type=int, default=20_000, help="how many are read (default: %(default)s)")
    measuring.add_argument("--reduce", action="store_true", help="one specimen per barcode")
    measuring.add_argument("--no-pyarrow", action="store_true", help="as if pyarrow were not installed")
    comparing = commands.add_parser("compare")
    comparing.add_argument("root")
    comparing.add_argument("requests", type=Path, help="JSON file: list of arguments of the peer's class")
    options = parser.parse_args()
    if options.command == "compare":
        answer(compare(options.root, json.loads(options.requests.read_text(encoding="utf-8"))))
        return
    if options.no_pyarrow:
        sys.modules["pyarrow"] = None  # type: ignore[assignment]
    answer(measure(options.root, options.split, options.rows, options.reduce))


if __name__ == "__main__":
    main()
