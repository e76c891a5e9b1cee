"""Specimens from wherever they may lie: a file, a folder, the released archives or the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, concatenate_datasets
from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError

from bioscan_hf.data.loading import load_dataset
from bioscan_hf.data.metadata import OnError, find_metadata
from bioscan_hf.data.records import BadRecord
from bioscan_hf.data.selection import select_split
from bioscan_hf.data.specimens import describe_source, load_specimens

SAMPLE = "sample"
"""Names the embedded sample where a file or repository is expected."""

_RELEASED_ENDINGS = (".zip", ".jsonld")


def load_anywhere(
    source: str | Path,
    columns: Sequence[str],
    *,
    split: str | None = None,
    splits: Path | None = None,
    streaming: bool = False,
    on_error: OnError = "raise",
    skipped: list[BadRecord] | None = None,
) -> Dataset | IterableDataset:
    """Load some columns of specimens from wherever they may lie; barcodes whole.

    Args:
        source: A FASTA, CSV, TSV or Parquet file or a folder of images with a table (see `load_specimens`), a folder
            with the released archives, unpacked or converted, a repository on the Hub (see `load_dataset`), or `sample`
            for the embedded one.
        columns: Names of columns; `image` among them loads images, of a release those of its package `cropped_256`. A
            specimen without one, as most of the sample, has null there; in a release it is a bad record.
        split: As in `load_dataset`, by default all; of a file those with this value in the column `split`.
        splits: Table that replaces the column `split` of a file (see `load_specimens`).
        streaming: Whether to read specimens one after another.
        on_error: As in `load_specimens`.
        skipped: Takes the bad records of a file that were left out; those of a release are named in a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a record is bad, there is nothing of the split, images are asked for where there are none, or
            `splits` is given for a release.
        OSError: If the Hub does not answer.
    """
    path = Path(source).expanduser()
    image = "image" in columns
    if is_own(source):
        specimens = load_specimens(
            None if source == SAMPLE else path, splits=splits, image=image, on_error=on_error, skipped=skipped
        )
        if split is not None:
            specimens = own_split(specimens, split, source)
        specimens = specimens.select_columns(list(columns))
        return specimens.to_iterable_dataset() if streaming else specimens
    _check_release(path)
    if splits is not None:
        raise ValueError(f"A table of splits is for a file of specimens; '{source}' has the released splits.")
    loaded = load_dataset(
        source,
        None if image else "metadata",
        split,
        modalities=columns,
        max_nucleotides=None,
        on_error=on_error,
        streaming=streaming,
    )
    if isinstance(loaded, DatasetDict | IterableDatasetDict):
        loaded = concatenate_datasets(list(loaded.values()))
    return loaded.select_columns(list(columns))


def own_split(specimens: Dataset, split: str, source: str | Path) -> Dataset:
    """Keep the specimens of a split (see `select_split`).

    Args:
        specimens: Of the user's own.
        split: Name of what to keep.
        source: Where they are from, for the message.

    Raises:
        ValueError: If there are none, or `split` is not known.
    """
    chosen = select_split(specimens, split)
    if not len(chosen):
        found = sorted({name for name in specimens["split"][:] if name})
        raise ValueError(f"'{source}' has no specimens of the split {split!r}; it has {found or 'no splits'}.")
    return chosen


def describe_anywhere(source: str | Path, splits: Path | None = None) -> tuple[str, str]:
    """Name and revision of what `load_anywhere` loads.

    Returns:
        A name for tables and cards; and a digest of a file's content, of the names and sizes of the files in a released
        folder, or the commit of a repository on the Hub.
    """
    path = Path(source).expanduser()
    if is_own(source):
        return describe_source(None if source == SAMPLE else path, splits)
    _check_release(path)
    if path.exists():
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        listing = "\n".join(f"{file.name}\t{file.stat().st_size}" for file in files)
        return path.resolve().name, hashlib.sha256(listing.encode()).hexdigest()[:12]
    try:
        return str(source), str(HfApi().dataset_info(str(source)).sha)
    except (HTTPError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"'{source}' is no file or folder, and the Hub does not know it ({reason}).") from error


def has_splits(source: str | Path, splits: Path | None = None) -> bool:
    """Whether specimens are assigned to splits: always in a release, in a file if its column `split` is not empty."""
    if not is_own(source):
        return True
    return any(load_anywhere(source, ["split"], splits=splits)["split"])


def is_own(source: str | Path) -> bool:
    """Whether it is the sample, or a file or folder of the user's, and no release."""
    path = Path(source).expanduser()
    return source == SAMPLE or (path.exists() and not _is_release(path))


def _check_release(path: Path) -> None:
    if not path.exists() and (path.suffix or len(path.parts) != 2):
        raise FileNotFoundError(
            f"No such file or folder: '{path}'; expected a file of specimens, a folder, or a repository on the Hub."
        )


def _is_release(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in _RELEASED_ENDINGS
    if next(path.glob("metadata/*.parquet"), None):
        return True
    try:
        find_metadata(path)
    except FileNotFoundError:
        return False
    return True
