"""A library as a folder: safetensors and Parquet, whole or not at all.

| file | what |
| --- | --- |
| `library.json` | what it was made of and with; format; fitted models of probability; digests of all files |
| `specimens.parquet` | the specimens, with the 23 columns of the schema, and `key` |
| `keys.safetensors` | of each key: vector, letters, hash, labels, number and first of its specimens |
| `space.safetensors` | profile of the gene, metric; vectors of images |
| `calibration-<modality>.parquet` | the queries that probabilities were fitted on |
| `cells.faiss` | an index of cells, if there is one |
| `model/`, `image_model/` | models that are neither on the Hub nor in the package |
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError
from safetensors.torch import save_file

from bioscan_hf.data.features import COLUMN_NAMES, bioscan_features
from bioscan_hf.data.files import put_in_place, share
from bioscan_hf.data.whole_files import alone, says_when_full
from bioscan_hf.identification.library import Dtype, Library
from bioscan_hf.identification.library_checks import check_description
from bioscan_hf.identification.library_digests import check_manifest, with_digests
from bioscan_hf.identification.search import CellIndex

FORMAT = 1
"""Of the folder; another one is refused."""

MANIFEST, SPECIMENS, KEYS, SPACE, CELLS = (
    "library.json",
    "specimens.parquet",
    "keys.safetensors",
    "space.safetensors",
    "cells.faiss",
)
# A group of rows of the Parquet file.
_SPECIMENS_AT_A_TIME = 50_000
_NEEDED = ("bioscan_hf", "model", "model_revision", "dtype", "counts", "profile", "taxa", "calibration", "files")


def save_library(library: Library, folder: Path, *, dtype: Dtype | None = None) -> None:
    """Write a library.

    Args:
        library: What is written.
        folder: It appears when it is complete; a library that is there is replaced then.
        dtype: Of the vectors, by default as they are: float16 needs half the space.

    Raises:
        FileExistsError: If there is a folder that is not empty and no library.
        OSError: If it cannot be written.
    """
    with writing(folder) as save:
        save(library, dtype)


@contextmanager
def writing(folder: Path) -> Iterator[Callable[[Library, Dtype | None], None]]:
    """Keep other processes from writing a library, from before the one that is there is read.

    Args:
        folder: Of the library.

    Yields:
        What writes a library into it, with vectors of a type, as `save_library` does.

    Raises:
        FileExistsError: If there is a folder that is not empty and no library.
        OSError: If another process writes it, or the disk cannot be written.
    """
    check_replaceable(folder)
    folder = folder.resolve()  # a link stays one, and `.` has a name
    lock, partial, aside = (folder.with_name(f".{kind}-{folder.name}") for kind in ("lock", "partial", "old"))

    def save(library: Library, dtype: Dtype | None) -> None:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        try:
            with says_when_full(folder):
                partial.mkdir()
                _write(library, partial, dtype)
                share(partial)
                put_in_place(partial, folder, aside)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(lock, f"writes the library '{folder}'"):
        if aside.exists():  # of a process that was killed where folders cannot be exchanged
            shutil.rmtree(aside) if folder.exists() else aside.rename(folder)
        check_replaceable(folder)  # again, now that nobody else writes
        yield save


def check_replaceable(folder: Path) -> None:
    """Refuse to write a library where something else lies.

    Raises:
        FileExistsError: If so.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"'{folder}' exists, and is no library; choose another folder.")


def _write(library: Library, folder: Path, dtype: Dtype | None) -> None:
    keys, space, images = library.keys, library.barcodes, library.images
    _write_specimens(library, folder / SPECIMENS)
    vectors = library.vectors if dtype is None else library.vectors.to(getattr(torch, dtype))
    tensors = {
        "vectors": vectors,
        "letters": torch.from_numpy(np.ascontiguousarray(library.letters).view(np.int64)),
        "first": torch.from_numpy(keys.first),
        "hashes": torch.from_numpy(keys.hashes.view(np.int64)),
        "labels": torch.from_numpy(keys.labels),
        "specimens": torch.from_numpy(keys.specimens),
        "flags": torch.from_numpy(library.flags),
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / KEYS)
    parts = {"profile": torch.from_numpy(space.profile.log_odds)}
    if space.metric is not None:
        parts["metric"] = torch.from_numpy(space.metric.table)
    if images is not None:
        parts |= {"image_vectors": images.vectors, "image_rows": torch.from_numpy(images.rows)}
    save_file({name: tensor.contiguous() for name, tensor in parts.items()}, folder / SPACE)
    if isinstance(library.index, CellIndex):
        library.index.save(folder / CELLS)
    for modality, calibration in library.calibration.items():
        pq.write_table(calibration.to_table(), folder / f"calibration-{modality}.parquet", compression="zstd")
    for name, source in library.model_folders.items():
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("checkpoint*", ".*", "__pycache__"))
    sizes = {
        file.relative_to(folder).as_posix(): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()
    }
    manifest = {
        "format": FORMAT,
        **library.info,
        "dtype": str(vectors.dtype).removeprefix("torch."),
        "counts": {"specimens": len(keys.of_specimen), "keys": len(keys.first), "dimension": vectors.shape[1]},
        "profile": {"usual": list(space.profile.usual), "frame": space.profile.frame},
        "taxa": keys.taxa,
        **({"image_tower": images.tower} if images is not None else {}),
        "calibration": {modality: calibration.to_json() for modality, calibration in library.calibration.items()},
        "files": sizes,
    }
    manifest = with_digests(manifest, folder)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def _write_specimens(library: Library, path: Path) -> None:
    """Write the specimens and their keys, some at a time."""
    of_specimen = library.keys.of_specimen
    schema = bioscan_features(image=False).arrow_schema.remove_metadata().append(pa.field("key", pa.int32()))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        row = 0
        for table in library.batches(COLUMN_NAMES, _SPECIMENS_AT_A_TIME):
            keys = pa.array(of_specimen[row : row + len(table)])
            writer.write_table(table.append_column("key", keys).cast(schema))
            row += len(table)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read `library.json`, and see that the other files are those that were written with it.

    Raises:
        ValueError: If it is no library, one of another format, or not whole.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"'{folder}' is no library: it has no {MANIFEST}. `bioscan library build` makes one.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = manifest["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"'{path}' is no description of a library ({error}); build the library again.") from error
    if found != FORMAT:
        raise ValueError(
            f"'{folder}' has the format {found} (bioscan_hf {manifest.get('bioscan_hf')}); expected {FORMAT}. "
            "Build the library again, or install the version that made it."
        )
    if missing := [name for name in _NEEDED if name not in manifest]:
        raise ValueError(f"'{path}' is no description of a library ({missing} are missing); build the library again.")
    check_manifest(manifest, path)
    check_description(manifest, path)
    for name, size in manifest["files"].items():
        there = (folder / name).stat().st_size if (folder / name).is_file() else None
        if there != size:
            got = "is missing" if there is None else f"has {there:,} bytes"
            raise ValueError(
                f"The library '{folder}' is not whole: {name} must have {size:,} bytes, and {got}. Copy it, or build "
                "it again."
            )
    return dict(manifest)


def find_library(source: str | Path, revision: str | None = None) -> Path:
    """Find the folder of a library, or download it.

    Args:
        source: Folder, or repository on the Hub.
        revision: Branch, tag or commit on the Hub.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If it is a file.
    """
    folder = Path(source).expanduser()
    if folder.exists():
        if not folder.is_dir():
            raise ValueError(f"'{source}' is a file; a library is a folder, which `bioscan library build` makes.")
        return folder
    if isinstance(source, Path) or len(folder.parts) != 2 or str(source).startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"No such library: '{source}'. Expected a folder that `bioscan library build` made, or a repository on the "
            "Hub (name/repository)."
        )
    try:
        return Path(snapshot_download(str(source), revision=revision))
    except (HTTPError, LocalEntryNotFoundError, HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"'{source}' is no folder, and cannot be loaded from the Hub ({reason}).") from error
