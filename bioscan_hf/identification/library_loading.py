"""Libraries from their folders: large parts are mapped, and what does not fit together is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open

from bioscan_hf.identification.barcode_space import BarcodeSpace
from bioscan_hf.identification.calibration_records import Calibration
from bioscan_hf.identification.image_space import ImageSpace
from bioscan_hf.identification.keys import Keys
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_checks import check_rows, check_tensors
from bioscan_hf.identification.library_digests import check_files
from bioscan_hf.identification.library_files import CELLS, KEYS, SPACE, SPECIMENS, find_library, read_manifest
from bioscan_hf.identification.metric import Metric
from bioscan_hf.identification.models import (
    ALIGNED,
    LibraryModel,
    LibraryModels,
    load_image_model,
    load_model,
    load_models,
)
from bioscan_hf.identification.profile import Profile
from bioscan_hf.identification.search import CellIndex, ExactIndex, Index
from bioscan_hf.identification.stored import DAMAGED, Stored, read_table
from bioscan_hf.models.pretrained import PACKAGED, packaged_model

# Of the manifest: what the attributes of a library say.
_APART = ("format", "dtype", "counts", "taxa", "calibration", "profile", "image_tower", "files", "digest", "digests")


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
    check_files(folder, manifest)
    parts, tensors = _read_tensors(folder / SPACE), _read_tensors(folder / KEYS)
    specimens = Stored(folder / SPECIMENS)
    check_rows(manifest, folder / SPECIMENS)
    of_specimen = specimens.columns(["key"])["key"].to_numpy()
    check_tensors(manifest, tensors, parts, of_specimen, (folder / KEYS, folder / SPACE, folder / SPECIMENS))
    keys = Keys(
        tensors["first"].numpy(),
        of_specimen,
        tensors["hashes"].numpy().view(np.uint64),
        tensors["labels"].numpy(),
        tensors["specimens"].numpy(),
        manifest["taxa"],
    )
    described = manifest["profile"]
    profile = Profile(parts["profile"].numpy(), tuple(described["usual"]), described["frame"])
    metric = Metric(parts["metric"].numpy()) if "metric" in parts else None
    models = _load_models(folder, manifest, device)
    images = None
    if models.towers is not None:
        rows = parts["image_rows"].numpy()
        image_keys = keys.of_specimen[rows].astype(np.int64)
        images = ImageSpace(models.towers, parts["image_vectors"], rows, image_keys, tower=manifest["image_tower"])
    vectors = tensors["vectors"]
    encoder = models.barcodes.encoder
    if encoder is not None and encoder.dimension != vectors.shape[1]:
        raise ValueError(DAMAGED.format(folder / KEYS, f"its model makes vectors of {encoder.dimension:,} numbers"))
    # By the manifest: a repository keeps the files of former versions.
    index: Index = CellIndex.load(folder / CELLS) if CELLS in manifest["files"] else ExactIndex(vectors)
    if isinstance(index, CellIndex) and index.shape != tuple(vectors.shape):
        raise ValueError(DAMAGED.format(folder / CELLS, f"it is of {index.shape} numbers, not {tuple(vectors.shape)}"))
    calibration = {
        modality: _read_calibration(fitted, folder / f"calibration-{modality}.parquet")
        for modality, fitted in manifest["calibration"].items()
    }
    library = Library(
        {name: value for name, value in manifest.items() if name not in _APART} | models.info,
        specimens,
        keys,
        BarcodeSpace(profile, metric, encoder),
        tensors["letters"].numpy().view(np.uint64),
        vectors,
        tensors["flags"].numpy(),
        index=index,
        images=images,
        calibration=calibration,
    )
    library.model_folders = models.folders
    return library


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Map the tensors of a file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(DAMAGED.format(path, error)) from error


def _read_calibration(fitted: Mapping[str, Any], path: Path) -> Calibration:
    table = read_table(path)
    try:
        return Calibration.load(fitted, table)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise ValueError(DAMAGED.format(path, str(error).splitlines()[0].rstrip("."))) from error


def _load_models(folder: Path, manifest: Mapping[str, Any], device: str | None) -> LibraryModels:
    barcodes = _load_model("model", load_model, folder, manifest, device)
    images = None
    if "image_model" in manifest:
        images = _load_model("image_model", load_image_model, folder, manifest, device)
    return load_models(barcodes, images)


def _load_model(
    which: str,
    load: Callable[..., LibraryModel],
    folder: Path,
    manifest: Mapping[str, Any],
    device: str | None,
) -> LibraryModel:
    """A model that the library was made with, or an error."""
    name, expected = manifest[which], manifest[f"{which}_revision"]
    if name == ALIGNED:
        return LibraryModel()
    if any(file.startswith(f"{which}/") for file in manifest["files"]):
        model = load(str(folder / which), device=device)._replace(name=name)
    elif name in PACKAGED:  # that of the package, though here may be a folder of this name
        model = load(str(packaged_model(name)), device=device)._replace(name=name, folder=None)
    else:
        model = load(name, device=device, revision=expected if "/" in name else None)
    if model.revision != expected:
        raise ValueError(
            f"The library was made with the model '{name}', revision {expected}; the one at hand has the revision "
            f"{model.revision}. Vectors of two models cannot be compared: build the library again."
        )
    return model
