"""What a library is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def describe_library(folder: Path, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what a library was made of, and with.

    Args:
        folder: Of the library.
        manifest: What `read_manifest` reads.

    Returns:
        Pairs of a word and a text.
    """
    counts, calibration = manifest["counts"], manifest["calibration"]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    pairs = [
        ("specimens", f"{counts['specimens']:,}"),
        ("keys", f"{counts['keys']:,} distinct pairs of barcode and lineage"),
        ("taxa", ", ".join(f"{rank} {len(names):,}" for rank, names in manifest["taxa"].items() if names)),
        ("model", _with_revision(manifest, "model")),
        *([("image model", _with_revision(manifest, "image_model"))] if "image_model" in manifest else []),
        ("source", f"{manifest.get('source', 'unknown')}, revision {manifest.get('revision', 'unknown')}"),
    ]
    if "added" in manifest:
        pairs.append(("added", f"{manifest['added']:,} specimens, after the calibration"))
    for modality, models in calibration.items():
        ranks = ", ".join(name for name, model in models.items() if model)
        pairs.append((f"calibrated by {modality}", ranks or "nothing: there were too few specimens to hold out"))
    if not calibration:
        pairs.append(("calibrated", "no: there were no specimens to hold out"))
    pairs.append(("made by", f"bioscan_hf {manifest['bioscan_hf']}: {manifest.get('command', 'in Python')}"))
    return [*pairs, ("size", f"{size / 1e6:,.1f} MB")]


def _with_revision(manifest: Mapping[str, Any], which: str) -> str:
    revision = manifest[f"{which}_revision"]
    return f"{manifest[which]}, revision {revision}" if revision else str(manifest[which])
