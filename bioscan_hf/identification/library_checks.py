"""Whether the parts of a library fit together: what somebody changed, or wrote by other means, may not name wrongly."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.library_digests import CHECKED_BYTES
from bioscan_hf.identification.novelty import NOVELTY_FEATURES
from bioscan_hf.identification.stored import DAMAGED
from bioscan_hf.identification.votes import FEATURES

# Columns of a gene, and usual offsets of barcodes in it: far more than any has.
_LONGEST_GENE, _MOST_USUAL = 20_000, 1000
# Fifty times BIOSCAN-5M.
_MOST_SPECIMENS = 250_000_000
_MODALITIES = ("barcode", "image")
# A name of the package, of a folder that comes with the library, or of a repository: no path elsewhere.
_MODEL = re.compile(r"[\w:.-]+(/[\w.-]+)?")


def check_description(manifest: Mapping[str, Any], path: Path) -> None:
    """See that `library.json` holds what it should.

    Args:
        manifest: Its content, a dict with all entries.
        path: The file, for the error.

    Raises:
        ValueError: If it does not; the message names the entry.
    """
    good = {
        "files": _are_files(manifest["files"]),
        "counts": _is_dict_of(manifest["counts"], int),
        "taxa": _is_dict_of(manifest["taxa"], list)
        and set(manifest["taxa"]) == set(RANKS)
        and all(isinstance(name, str) for names in manifest["taxa"].values() for name in names),
        "profile": _is_profile(manifest["profile"]),
        "calibration": _is_dict_of(manifest["calibration"], dict)
        and set(manifest["calibration"]) <= set(_MODALITIES)
        and all(_is_calibration(models) for models in manifest["calibration"].values()),
        "added": isinstance(manifest.get("added", 0), int),
        **{which: _is_model(manifest, which) for which in ("model", "image_model") if which in manifest},
    }
    if wrong := [name for name, is_good in good.items() if not is_good]:
        raise ValueError(DAMAGED.format(path, f"its entry `{wrong[0]}` is not what it should be"))


def check_rows(manifest: Mapping[str, Any], path: Path) -> None:
    """See that there are as many specimens as there should be, before any is read: a small file may hold any number.

    Args:
        manifest: Of the library, checked.
        path: The Parquet file.

    Raises:
        ValueError: If there are not, or it is no Parquet file.
    """
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(DAMAGED.format(path, str(error).splitlines()[0].rstrip("."))) from error
    if rows != manifest["counts"].get("specimens") or rows > _MOST_SPECIMENS:
        raise ValueError(DAMAGED.format(path, f"it has {rows:,} specimens"))


def check_tensors(
    manifest: Mapping[str, Any],
    keys: Mapping[str, torch.Tensor],
    space: Mapping[str, torch.Tensor],
    of_specimen: np.ndarray,
    paths: tuple[Path, Path, Path],
) -> None:
    """See that the tensors of a library have the shapes and values that belong together.

    Vectors above 64 MB are not looked through: they are mapped, and read when they are compared.

    Args:
        manifest: Of the library, checked.
        keys: Tensors of its keys.
        space: Tensors of its space.
        of_specimen: Key of each specimen.
        paths: Of the files of keys, space and specimens, for the error.

    Raises:
        ValueError: If they have not; the message names the file.
    """
    count, specimens = len(keys.get("first", ())), len(of_specimen)
    gene = len(space.get("profile", ()))
    width = keys["vectors"].shape[-1] if "vectors" in keys and keys["vectors"].ndim else 0
    real, whole = (torch.float32, torch.float16), (torch.int64,)
    expected: dict[str, tuple[tuple[int, ...], tuple[torch.dtype, ...]]] = {
        "first": ((count,), whole),
        "hashes": ((count,), whole),
        "labels": ((count, len(RANKS)), (torch.int32,)),
        "specimens": ((count,), (torch.int32,)),
        "flags": ((count,), (torch.uint8,)),
        "letters": ((count, 3, -(-gene // 64)), whole),
        "vectors": ((count, width), real),
    }
    _check_shapes(keys, expected, paths[0])
    expected = {"profile": ((gene, 4), (torch.float32,))}
    if "metric" in space:
        expected["metric"] = ((gene, 4, width), (torch.float32,))
    if "image_tower" in manifest:
        images = space.get("image_vectors", torch.empty(0, 0))
        expected["image_vectors"] = (tuple(images.shape[:2]), real)
        expected["image_rows"] = ((len(images),), whole)
    _check_shapes(space, expected, paths[1])
    most = torch.tensor([len(manifest["taxa"][rank]) for rank in RANKS])
    is_integer = np.issubdtype(of_specimen.dtype, np.integer)
    good = {
        paths[0]: {
            "there are no keys": count > 0 and width > 0,
            "a key has no first specimen": _within(keys["first"], 0, specimens),
            "a label is of no taxon": bool((keys["labels"] >= -1).all() and (keys["labels"] < most).all()),
            "a key has no specimens": _within(keys["specimens"], 1, specimens + 1),
            "vectors are not finite": keys["vectors"].nbytes > CHECKED_BYTES or _finite(keys["vectors"]),
        },
        paths[1]: {
            "it has no gene": 0 < gene <= _LONGEST_GENE,
            "numbers are not finite": _finite(space["profile"]) and _finite(space.get("metric", most)),
            "an image has no specimen": _within(space.get("image_rows", most[:0]), 0, specimens),
        },
        paths[2]: {
            "a specimen has no key": is_integer and _within(of_specimen, 0, count),
        },
    }
    for path, checks in good.items():
        if wrong := [reason for reason, is_good in checks.items() if not is_good]:
            raise ValueError(DAMAGED.format(path, wrong[0]))


def _check_shapes(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[tuple[int, ...], tuple[torch.dtype, ...]]],
    path: Path,
) -> None:
    for name, (shape, types) in expected.items():
        tensor = tensors.get(name)
        if tensor is None or tuple(tensor.shape) != shape or tensor.dtype not in types:
            found = "missing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(DAMAGED.format(path, f"`{name}` must be {types[0]} {shape}, and is {found}"))


def _within(numbers: torch.Tensor | np.ndarray, least: int, end: int) -> bool:
    return not len(numbers) or (int(numbers.min()) >= least and int(numbers.max()) < end)


def _finite(tensor: torch.Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _is_dict_of(value: object, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, kind) for entry in value.values())


def _are_files(files: Any) -> bool:
    """Whether they are files in the folder, with their sizes."""
    return _is_dict_of(files, int) and not any(
        PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name
        for name in files
    )


def _is_profile(profile: Any) -> bool:
    if not isinstance(profile, dict) or not isinstance(profile.get("usual"), list):
        return False
    usual = profile["usual"]
    return (
        0 < len(usual) <= _MOST_USUAL
        and all(isinstance(offset, int) and abs(offset) <= _LONGEST_GENE for offset in usual)
        and profile.get("frame") in (None, 0, 1, 2)
    )


def _is_calibration(models: Mapping[str, Any]) -> bool:
    if set(models) != {*RANKS, "novelty"}:
        return False
    return all(
        model is None or _is_logistic(model, len(NOVELTY_FEATURES if name == "novelty" else FEATURES))
        for name, model in models.items()
    )


def _is_logistic(model: Any, features: int) -> bool:
    if not isinstance(model, dict) or not isinstance(model.get("weights"), list):
        return False
    numbers = [*model["weights"], model.get("bias")]
    return len(numbers) == features + 1 and all(isinstance(x, int | float) and math.isfinite(x) for x in numbers)


def _is_model(manifest: Mapping[str, Any], which: str) -> bool:
    name, revision = manifest[which], manifest.get(f"{which}_revision", 0)
    is_name = isinstance(name, str) and _MODEL.fullmatch(name) is not None and not name.startswith(".")
    return is_name and (revision is None or isinstance(revision, str))
