"""The embedded sample, or a user's own file or folder of images, as a `datasets.Dataset`."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES
from bioscan_hf.data.files import digest
from bioscan_hf.data.image_folder import folder_digest, read_image_folder
from bioscan_hf.data.inputs import read_specimens, read_splits
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.records import BadRecord


def load_specimens(
    path: str | Path | None = None,
    *,
    splits: str | Path | None = None,
    image: bool = False,
    on_error: OnError = "raise",
    skipped: list[BadRecord] | None = None,
) -> Dataset:
    """Load specimens with all columns of BIOSCAN-5M's metadata.

    Args:
        path: FASTA, CSV, TSV or Parquet file (see `bioscan_hf.data.inputs.read_specimens`), or a folder of images with
            or without a table (see `bioscan_hf.data.image_folder.read_image_folder`). Without it, the embedded sample
            of simulated specimens is loaded.
        splits: Table of process id and split that replaces the column `split`; specimens it does not name get none.
        image: Whether to load images, too, as the column `image`: those of the embedded sample, or of a Parquet file
            that has this column, such as `datasets` writes. A folder of images always has it, and decodes an image
            when it is looked at.
        on_error: Whether a bad record or image is an error (`raise`), or is left out with a warning (`skip`).
        skipped: Takes the records that were left out because they are bad.

    Returns:
        One row per specimen.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not what it should be, a record is bad, or `image` is asked for where there are none.
    """
    if path is None:
        table = _read_sample(image=image)
    elif Path(path).is_dir():
        table = read_image_folder(Path(path), on_error=on_error, skipped=skipped)
    else:
        table = read_specimens(Path(path), image=image, on_error=on_error, skipped=skipped)
    if splits is not None:
        split_of = read_splits(Path(splits))
        column = [split_of.get(processid) for processid in table["processid"].to_pylist()]
        if not any(column):
            raise ValueError(f"'{splits}' names none of the specimens; its process ids must be those of the data.")
        table = table.set_column(table.column_names.index("split"), table.field("split"), pa.array(column, pa.string()))
    return Dataset(table)


def _read_sample(*, image: bool) -> pa.Table:
    columns = ["image", *COLUMN_NAMES] if image else list(COLUMN_NAMES)
    with as_file(files("bioscan_hf.data") / "sample") as folder:
        tables = [pq.read_table(folder / f"{split}.parquet", columns=columns) for split in SPLIT_NAMES]
    return pa.concat_tables(tables)


def describe_source(path: str | Path | None = None, splits: str | Path | None = None) -> tuple[str, str]:
    """Name and revision of what `load_specimens` loads with the same arguments.

    Returns:
        A name for tables and cards, and a digest of the files' content; of a folder of images that of their names and
        sizes, and of the table.
    """
    added = [] if splits is None else [Path(splits)]
    if path is not None and Path(path).is_dir():
        return Path(path).resolve().name, folder_digest(Path(path), *added)
    if path is not None:
        return Path(path).name, digest(Path(path), *added)
    with as_file(files("bioscan_hf.data") / "sample") as folder:
        revision = digest(*(folder / f"{split}.parquet" for split in SPLIT_NAMES), *added)
    return "bioscan_hf sample (simulated specimens)", revision
