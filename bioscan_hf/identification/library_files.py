"""A library as a folder: safetensors and Parquet, whole or not at all.

| file | what |
| --- | --- |
| `library.json` | what it was made of and with; format; the fitted models of probability; sizes of the other files |
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
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors.torch import save_file

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.whole_files import says_when_full
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.search import write_cells

FORMAT = 1
"""Of the folder; another one is refused."""

MANIFEST, SPECIMENS, KEYS, SPACE, CELLS = (
    "library.json",
    "specimens.parquet",
    "keys.safetensors",
    "space.safetensors",
    "cells.faiss",
)
_NEEDED = ("bioscan_hf", "model", "model_revision", "dtype", "counts", "profile", "taxa", "calibration", "files")


def save_library(
    library: Library, folder: Path, *, dtype: Literal["float32", "float16"] = "float32", cells: bool = False
) -> None:
    """Write a library.

    Args:
        library: What is written.
        folder: It appears when it is complete; a library that is there is replaced then.
        dtype: Of the vectors: float16 needs half the space.
        cells: Whether to write an index of cells, too, for millions of keys; needs faiss (extra `index`).

    Raises:
        FileExistsError: If there is a folder that is not empty and no library.
        OSError: If it cannot be written.
    """
    check_replaceable(folder)
    folder = folder.resolve()  # a link stays one, and `.` has a name
    partial, old = (folder.with_name(f".{kind}-{folder.name}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir(parents=True)
    try:
        with says_when_full(folder):
            _write(library, partial, dtype, cells)
            _replace(folder, partial, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Put a new folder in the place of one that may be there, which is put back if that fails."""
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Refuse to write a library where something else lies.

    Raises:
        FileExistsError: If so.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"'{folder}' exists, and is no library; choose another folder.")


def _write(library: Library, folder: Path, dtype: str, cells: bool) -> None:
    specimens = library.columns(COLUMN_NAMES)
    keys, space, images = library.keys, library.barcodes, library.images
    pq.write_table(specimens.append_column("key", pa.array(keys.of_specimen)), folder / SPECIMENS, compression="zstd")
    tensors = {
        "vectors": library.vectors.to(getattr(torch, dtype)),
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
    if cells:
        write_cells(library.vectors.numpy(), folder / CELLS)
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
        "dtype": dtype,
        "counts": {"specimens": len(specimens), "keys": len(keys.first), "dimension": library.vectors.shape[1]},
        "profile": {"usual": list(space.profile.usual), "frame": space.profile.frame},
        "taxa": keys.taxa,
        **({"image_tower": images.tower} if images is not None else {}),
        "calibration": {modality: calibration.to_json() for modality, calibration in library.calibration.items()},
        "files": sizes,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


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
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is no description of a library ({error}); build the library again.") from error
    if found != FORMAT:
        raise ValueError(
            f"'{folder}' has the format {found} (bioscan_hf {manifest.get('bioscan_hf')}); expected {FORMAT}. "
            "Build the library again, or install the version that made it."
        )
    if missing := [name for name in _NEEDED if name not in manifest]:
        raise ValueError(f"'{path}' is no description of a library ({missing} are missing); build the library again.")
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
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"'{source}' is no folder, and cannot be loaded from the Hub ({reason}).") from error
