"""Specimens as a `datasets.Dataset`: the embedded sample or a user's own file."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES, resolve_split
from bioscan_hf.data.files import digest
from bioscan_hf.data.inputs import read_specimens, read_splits


def load_specimens(path: str | Path | None = None, *, splits: str | Path | None = None, image: bool = False) -> Dataset:
    """Load specimens with all columns of BIOSCAN-5M's metadata.

    Args:
        path: FASTA, CSV, TSV or Parquet file (see `bioscan_hf.data.inputs.read_specimens`). Without it, the embedded
            sample of simulated specimens is loaded.
        splits: Table of process id and split that replaces the column `split`; specimens it does not name get none.
        image: Whether to load the images of the embedded sample, too, as the column `image`.

    Returns:
        One row per specimen.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not what it should be, or `image` is asked for with `path`.
    """
    if path is None:
        table = _read_sample(image=image)
    elif image:
        raise ValueError("`image=True` works with the embedded sample only; leave out `image` or `path`.")
    else:
        table = read_specimens(Path(path))
    if splits is not None:
        split_of = read_splits(Path(splits))
        column = [split_of.get(processid) for processid in table["processid"].to_pylist()]
        if not any(column):
            raise ValueError(f"'{splits}' names none of the specimens; its process ids must be those of the data.")
        table = table.set_column(table.column_names.index("split"), table.field("split"), pa.array(column, pa.string()))
    return Dataset(table)


def select_split(dataset: Dataset, split: str) -> Dataset:
    """Keep the specimens of a split, a union of splits or a sum such as `train+val` (see `resolve_split`).

    Args:
        dataset: Needs the column `split`.
        split: Name of what to keep.

    Raises:
        ValueError: If `split` is not known.

    >>> from bioscan_hf import load_specimens, select_split
    >>> set(select_split(load_specimens(), "seen")["split"]) == {"train", "val", "test"}
    True
    """
    wanted = set(resolve_split(split))
    return dataset.select([i for i, name in enumerate(dataset["split"]) if name in wanted])


def _read_sample(*, image: bool) -> pa.Table:
    columns = ["image", *COLUMN_NAMES] if image else list(COLUMN_NAMES)
    with as_file(files("bioscan_hf.data") / "sample") as folder:
        tables = [pq.read_table(folder / f"{split}.parquet", columns=columns) for split in SPLIT_NAMES]
    return pa.concat_tables(tables)


def describe_source(path: str | Path | None = None, splits: str | Path | None = None) -> tuple[str, str]:
    """Name and revision of what `load_specimens` loads with the same arguments.

    Returns:
        A name for tables and cards, and a digest of the files' content.
    """
    added = [] if splits is None else [Path(splits)]
    if path is not None:
        return Path(path).name, digest(Path(path), *added)
    with as_file(files("bioscan_hf.data") / "sample") as folder:
        revision = digest(*(folder / f"{split}.parquet" for split in SPLIT_NAMES), *added)
    return "bioscan_hf sample (simulated specimens)", revision
