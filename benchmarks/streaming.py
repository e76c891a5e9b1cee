"""How soon a stream gives its first specimen, and what it fetches: the processes of `dataset.py`.

The first specimens of `train` in a metadata file, with images of the embedded sample, are converted to Parquet and put
on the local Hub of the tests, which counts the bytes that it sends. Each stream is read by a fresh process with empty
caches.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from measuring import answer, ask, measured

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests, which are not installed

PROGRAM = Path(__file__)
REPOSITORY = "tester/streamed"
STREAMS = {
    "barcodes": ["metadata", "dna"],
    "barcodes of the configuration with images": ["cropped_256", "dna"],
    "images and barcodes": ["cropped_256", "image", "dna"],
}
"""Configuration and modalities of each stream."""


def measure(metadata: Path, rows: int) -> dict[str, Any]:
    """Read each stream from the local Hub, each in a fresh process with empty caches.

    Args:
        metadata: CSV in the form of the released one.
        rows: How many of its specimens of `train` there are.

    Returns:
        For each stream what `read` gives, and the `bytes` that were sent of each folder of the repository.
    """
    from tests.hub_server.fixture import LocalHub

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        converted = _convert(metadata, rows, folder)
        files = {path.relative_to(converted): path for path in converted.rglob("*.*")}
        # The Hub sends large files under the name of their checksum.
        names = {f"/lfs/{hashlib.sha256(path.read_bytes()).hexdigest()}": str(file) for file, path in files.items()}
        results = {}
        with _counting_hub(folder) as url:
            for number, (stream, arguments) in enumerate(STREAMS.items()):
                begin, env = len(_sent(folder)), LocalHub(url).env(folder / f"home{number}")
                given = [] if number else ["--upload", converted]
                results[stream] = ask(sys.executable, PROGRAM, "read", *arguments, *given, env=env)
                results[stream]["bytes"] = _by_family(_sent(folder)[begin:], names)
        return results


def measure_here(metadata: Path, rows: int) -> dict[str, Any]:
    """As `measure`, in this process, which takes a tenth of the time: from a folder, without a Hub."""
    with tempfile.TemporaryDirectory() as name:
        converted = _convert(metadata, rows, Path(name))
        return {
            stream: {**read(str(converted), configuration, modalities), "bytes": {}}
            for stream, (configuration, *modalities) in STREAMS.items()
        }


def _convert(metadata: Path, rows: int, folder: Path) -> Path:
    """Make a release of specimens of `train`, and convert it; the new folder."""
    from datasets import Image

    from bioscan_hf import load_specimens
    from bioscan_hf.data.conversion import convert
    from tests.made_release import make_release

    sample = load_specimens(image=True).cast_column("image", Image(decode=False))["image"]
    images = cycle([image["bytes"] for image in sample if image is not None])
    with metadata.open(newline="", encoding="utf-8") as file:
        records = (row for row in csv.DictReader(file) if row["split"] == "train")
        made: list[dict[str, object]] = [
            {**{name: value or None for name, value in row.items()}, "image": next(images)}
            for row in islice(records, rows)
        ]
    make_release(folder / "release", made)
    convert(folder / "release", folder / "converted", ["cropped_256"])
    return folder / "converted"


@contextmanager
def _counting_hub(folder: Path) -> Iterator[str]:
    command = [sys.executable, str(PROGRAM), "serve", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.kill()


def _sent(folder: Path) -> list[tuple[str, int]]:
    """Path and number of bytes of each answer so far."""
    lines = (folder / "sent.txt").read_text().splitlines()
    return [(path, int(size)) for path, size in (line.split() for line in lines)]


def _by_family(sent: list[tuple[str, int]], names: dict[str, str]) -> dict[str, int]:
    """Bytes sent of each folder of the repository, and for all else, such as lists of files."""
    total: dict[str, int] = {}
    for path, size in sent:
        family = names[path].split("/")[0] if path in names else "other"
        total[family] = total.get(family, 0) + size
    return total


def serve(folder: Path) -> None:
    """Serve the local Hub, and note what it sends in `sent.txt`."""
    from aiohttp import web

    from tests.hub_server.server import application

    (folder / "blobs").mkdir()
    app = application(folder / "blobs")
    with (folder / "sent.txt").open("w", buffering=1) as log:

        async def note(request: web.Request, response: web.StreamResponse) -> None:
            if request.method != "HEAD":
                log.write(f"{request.path} {response.content_length or 0}\n")

        app.on_response_prepare.append(note)
        listener = socket.create_server(("127.0.0.1", 0))
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        web.run_app(app, sock=listener, print=None, access_log=None)


def _upload(folder: Path) -> None:
    from huggingface_hub import HfApi

    HfApi().create_repo(REPOSITORY, repo_type="dataset")
    HfApi().upload_folder(repo_id=REPOSITORY, repo_type="dataset", folder_path=folder)


def read(source: str, name: str, modalities: list[str]) -> dict[str, Any]:
    """Read a stream to its end.

    Args:
        source: Repository on the Hub that the environment names, or a folder.
        name: Of the configuration.
        modalities: As `load_dataset` takes them.

    Returns:
        Costs of the `first` specimen and of all `others`, and the number of `rows`.
    """
    from bioscan_hf import load_dataset

    with measured() as first:
        stream: Any = load_dataset(source, name, "train", streaming=True, modalities=modalities)
        specimens = iter(stream)
        next(specimens)
    with measured() as others:
        count = 1 + sum(1 for _ in specimens)
    return {"first": first, "others": others, "rows": count}


def main() -> None:
    """Parse the command line and answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("serve").add_argument("folder", type=Path)
    reading = commands.add_parser("read")
    reading.add_argument("name")
    reading.add_argument("modalities", nargs="+")
    reading.add_argument("--upload", type=Path)
    options = parser.parse_args()
    if options.command == "serve":
        serve(options.folder)
    else:
        if options.upload:
            _upload(options.upload)
        answer(read(REPOSITORY, options.name, options.modalities))


if __name__ == "__main__":
    main()
