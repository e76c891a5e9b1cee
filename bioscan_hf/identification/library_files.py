"""A library as a folder: safetensors and Parquet, whole or not at all, read by mapping the large parts.

| file | what |
| --- | --- |
| `library.json` | what it was made of and with; format; the fitted models of probability; sizes of the other files |
| `specimens.parquet` | the specimens, with the 23 columns of the schema, and `key` |
| `keys.safetensors` | of each key: vector, letters, hash, labels, number and first of its specimens |
| `space.safetensors` | profile of the gene, metric; vectors of images |
| `calibration-<modality>.parquet` | the queries that probabilities were fitted on |
| `cells.faiss` | an index of cells, if there is one |
| `model/` | a model that is not on the Hub |
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.whole_files import says_when_full
from bioscan_hf.identification.barcode_space import BarcodeSpace
from bioscan_hf.identification.calibration_records import Calibration
from bioscan_hf.identification.image_space import ImageSpace
from bioscan_hf.identification.keys import Keys
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.metric import Metric
from bioscan_hf.identification.models import ALIGNED, LibraryModel, load_model
from bioscan_hf.identification.profile import Profile
from bioscan_hf.identification.search import CellIndex, ExactIndex, Index, write_cells

FORMAT = 1
"""Of the folder; another one is refused."""

MANIFEST, SPECIMENS, KEYS, SPACE, CELLS, MODEL = (
    "library.json",
    "specimens.parquet",
    "keys.safetensors",
    "space.safetensors",
    "cells.faiss",
    "model",
)
# Of the manifest: what the attributes of a library say.
_APART = ("format", "dtype", "counts", "taxa", "calibration", "profile", "files")


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
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir(parents=True)
    try:
        with says_when_full(folder):
            _write(library, partial, dtype, cells)
            old = folder.with_name(f".old-{folder.name}")
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    if library.model_folder is not None:
        shutil.copytree(
            library.model_folder, folder / MODEL, ignore=shutil.ignore_patterns("checkpoint*", ".*", "__pycache__")
        )
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    manifest = {
        "format": FORMAT,
        **library.info,
        "dtype": dtype,
        "counts": {"specimens": len(specimens), "keys": len(keys.first), "dimension": library.vectors.shape[1]},
        "profile": {"usual": list(space.profile.usual), "frame": space.profile.frame},
        "taxa": keys.taxa,
        "calibration": {modality: calibration.to_json() for modality, calibration in library.calibration.items()},
        "files": sizes,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def load_library(source: str | Path, *, revision: str | None = None, device: str | None = None) -> Library:
    """Load a library.

    Args:
        source: Folder, or repository on the Hub.
        revision: Branch, tag or commit on the Hub.
        device: Where its models compute, if it has some.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, the Hub does not answer, or something cannot be read.
        ValueError: If it is no library, one of another format, damaged, or its model has changed.
    """
    folder = find_library(source, revision)
    manifest = read_manifest(folder)
    with safe_open(folder / SPACE, framework="pt") as file:
        parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    try:
        with safe_open(folder / KEYS, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"'{folder / KEYS}' is damaged ({error}); copy or build the library again.") from error

    def columns(names: Sequence[str]) -> pa.Table:
        return pq.read_table(folder / SPECIMENS, columns=list(names))

    keys = Keys(
        tensors["first"].numpy(),
        columns(["key"])["key"].to_numpy(),
        tensors["hashes"].numpy().view(np.uint64),
        tensors["labels"].numpy(),
        tensors["specimens"].numpy(),
        manifest["taxa"],
    )
    described = manifest["profile"]
    profile = Profile(parts["profile"].numpy(), tuple(described["usual"]), described["frame"])
    metric = Metric(parts["metric"].numpy()) if "metric" in parts else None
    model = _load_model(folder, manifest, device)
    images = None
    if model.towers is not None:
        rows = parts["image_rows"].numpy()
        images = ImageSpace(model.towers, parts["image_vectors"], rows, keys.of_specimen[rows].astype(np.int64))
    vectors = tensors["vectors"]
    index: Index = CellIndex(folder / CELLS) if (folder / CELLS).is_file() else ExactIndex(vectors)
    calibration = {
        modality: Calibration.load(models, pq.read_table(folder / f"calibration-{modality}.parquet"))
        for modality, models in manifest["calibration"].items()
    }
    library = Library(
        {name: value for name, value in manifest.items() if name not in _APART},
        columns,
        keys,
        BarcodeSpace(profile, metric, model.encoder),
        tensors["letters"].numpy().view(np.uint64),
        vectors,
        tensors["flags"].numpy(),
        index=index,
        images=images,
        calibration=calibration,
    )
    library.model_folder = model.folder
    return library


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


def _load_model(folder: Path, manifest: Mapping[str, Any], device: str | None) -> LibraryModel:
    """The model that the library was made with, or an error."""
    name, expected = manifest["model"], manifest["model_revision"]
    if name == ALIGNED:
        return LibraryModel()
    if (folder / MODEL).is_dir():
        model = load_model(str(folder / MODEL), device=device)
    else:
        model = load_model(name, device=device, revision=expected if "/" in name else None)
    if model.revision != expected:
        raise ValueError(
            f"The library was made with the model '{name}', revision {expected}; the one at hand has the revision "
            f"{model.revision}. Vectors of two models cannot be compared: build the library again."
        )
    return model
