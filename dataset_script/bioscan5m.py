"""BIOSCAN-5M straight from the released archives, for `datasets` before version 4.

From the Hub, or from a folder with the archives or with the `bioscan5m/` that they unpack to:

    from datasets import load_dataset

    load_dataset("bioscan5m.py", "cropped_256_eval", split="test", trust_remote_code=True)
    load_dataset("bioscan5m.py", "cropped_256_eval", split="test", data_dir="archives", trust_remote_code=True)

Archives are read in place, not unpacked; the directory of one with five million images takes 3 GB of memory.
Configurations, columns and values are those of the Parquet files that `bioscan data convert` makes, which need no
script. From version 4 on `datasets` refuses scripts, and also any repository that holds one of its own name: never put
this file there under that name.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

REPOSITORY = "bioscan-ml/BIOSCAN-5M"
METADATA_ARCHIVE = "BIOSCAN_5M_Insect_Dataset_metadata_MultiTypes.zip"
METADATA_FILE = "BIOSCAN_5M_Insect_Dataset_metadata.csv"
CSV_BLOCK_BYTES = 16 << 20
IMAGES_PER_TABLE = 500

COLUMNS = {
    "processid": "string",
    "sampleid": "string",
    "taxon": "string",
    "phylum": "string",
    "class": "string",
    "order": "string",
    "family": "string",
    "subfamily": "string",
    "genus": "string",
    "species": "string",
    "dna_bin": "string",
    "dna_barcode": "string",
    "country": "string",
    "province_state": "string",
    "coord-lat": "float64",
    "coord-lon": "float64",
    "image_measurement_value": "int64",
    "area_fraction": "float64",
    "scale_factor": "float64",
    "inferred_ranks": "uint8",
    "split": "string",
    "index_bioscan_1M_insect": "int64",
    "chunk": "string",
}
SPLITS = ("pretrain", "train", "val", "test", "key_unseen", "val_unseen", "test_unseen", "other_heldout")
PARTS = {"pretrain": ("pretrain",), "train": ("train",), "eval": SPLITS[2:]}
PACKAGES = ("cropped_256", "original_256", "cropped", "original_full")
PACKAGES_ON_THE_HUB = ("cropped_256", "original_256")


@dataclass
class BioscanConfig(datasets.BuilderConfig):
    """Configuration of the dataset.

    Attributes:
        package: Image package, None for no images.
        splits: Its splits, by released name.
        repository: Repository with the archives, where there is no `data_dir`.
    """

    package: str | None = None
    splits: tuple[str, ...] = SPLITS
    repository: str = REPOSITORY


def _configurations() -> list[BioscanConfig]:
    found = [BioscanConfig(name="metadata", version="1.0.0")]
    for package in PACKAGES:
        found.append(BioscanConfig(name=package, version="1.0.0", package=package))
        if package in PACKAGES_ON_THE_HUB:
            for part, splits in PARTS.items():
                found.append(BioscanConfig(name=f"{package}_{part}", version="1.0.0", package=package, splits=splits))
    return found


class Bioscan5M(datasets.ArrowBasedBuilder):
    """Five million insects with image, DNA barcode, taxonomy, place and size."""

    BUILDER_CONFIG_CLASS = BioscanConfig
    BUILDER_CONFIGS = _configurations()
    DEFAULT_CONFIG_NAME = "cropped_256"

    def _info(self) -> datasets.DatasetInfo:
        columns = {name: datasets.Value(dtype) for name, dtype in COLUMNS.items()}
        image = {"image": datasets.Image()} if self.config.package else {}
        return datasets.DatasetInfo(
            description="BIOSCAN-5M: insects with image, DNA barcode and taxonomy",
            features=datasets.Features({**image, **columns}),
            homepage=f"https://huggingface.co/datasets/{REPOSITORY}",
            license="CC BY 3.0; CBG Photography Group, Centre for Biodiversity Genomics",
            citation="Gharaee et al., BIOSCAN-5M: A Multimodal Dataset for Insect Biodiversity, NeurIPS 2024",
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        config = self.config
        if config.data_dir is None:
            metadata, images = _download(dl_manager, config)
        else:
            root = Path(config.data_dir).expanduser()
            metadata = _find_metadata(root)
            images = {split: _find_images(root, config.package, split) for split in config.splits if config.package}
        return [
            datasets.SplitGenerator(
                name="validation" if split == "val" else split,
                gen_kwargs={"metadata": metadata, "images": images.get(split, ()), "split": split},
            )
            for split in config.splits
        ]

    def _generate_tables(self, metadata: str, images: tuple[str, ...], split: str) -> Iterator[tuple[str, pa.Table]]:
        schema = self.info.features.arrow_schema
        with _open_images(images) as read:
            for number, rows in enumerate(_read_metadata(metadata, split)):
                for start in range(0, len(rows), IMAGES_PER_TABLE):
                    table = rows.slice(start, IMAGES_PER_TABLE)
                    if self.config.package:
                        table = _with_images(table, self.config.package, read)
                    yield f"{number}_{start}", table.select(schema.names).cast(schema)


def _download(dl_manager: datasets.DownloadManager, config: BioscanConfig) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The metadata, and the archives of each split."""
    if config.package and config.package not in PACKAGES_ON_THE_HUB:
        raise ValueError(f"The images of {config.package} are not on the Hub: pass `data_dir`, a folder with them.")
    parts = {split: part for part, splits in PARTS.items() for split in splits}
    archives = {split: f"BIOSCAN_5M_{config.package}_{parts[split]}.zip" for split in config.splits if config.package}
    base = f"{datasets.config.HF_ENDPOINT}/datasets/{config.repository}/resolve/main"
    paths = dl_manager.download({name: f"{base}/{name}" for name in {METADATA_ARCHIVE, *archives.values()}})
    return paths[METADATA_ARCHIVE], {split: (paths[name],) for split, name in archives.items()}


def _find_metadata(root: Path) -> str:
    """The CSV file, or the archive with it."""
    folders = (root, root / "bioscan5m")
    for path in (
        *(folder / "metadata" / "csv" / METADATA_FILE for folder in folders),
        *(folder / METADATA_FILE for folder in folders),
        *(folder / METADATA_ARCHIVE for folder in folders),
    ):
        if path.is_file():
            return str(path)
    raise FileNotFoundError(f"No metadata in '{root}'; expected {METADATA_ARCHIVE}, or {METADATA_FILE} of it.")


def _find_images(root: Path, package: str, split: str) -> tuple[str, ...]:
    """The folder that holds `images/`, or the archives of the split's part, or those of the whole package."""
    for folder in (root / "bioscan5m", root):
        if (folder / "images" / package / split).is_dir():
            return (str(folder),)
    part = next(part for part, splits in PARTS.items() if split in splits)
    archives = [path for folder in (root, root / "bioscan5m") for path in sorted(folder.glob("*.zip"))]
    for name in (f"{package}_{part}", package):
        own = [str(path) for path in archives if re.fullmatch(rf"BIOSCAN_5M_{name}(\.\d\d)?\.zip", path.name)]
        if own:
            return tuple(own)
    raise FileNotFoundError(
        f"No images of {package}, {split}, in '{root}'; expected bioscan5m/images/{package}/{split}/, "
        f"BIOSCAN_5M_{package}_{part}.zip or BIOSCAN_5M_{package}.zip."
    )


def _read_metadata(path: str, split: str) -> Iterator[pa.Table]:
    # Text as it stands, so that the chunk '00' is not taken for a number. Integers may be written as '146774.0'.
    types = {name: pa.string() if dtype == "string" else pa.float64() for name, dtype in COLUMNS.items()}
    with ExitStack() as stack:
        file = stack.enter_context(_open(path))
        if zipfile.is_zipfile(file):
            archive = stack.enter_context(zipfile.ZipFile(file))
            member = next((name for name in archive.namelist() if name.endswith(METADATA_FILE)), None)
            if member is None:
                raise FileNotFoundError(f"'{path}' holds no {METADATA_FILE}; expected the archive of the release.")
            file = stack.enter_context(io.BufferedReader(archive.open(member), CSV_BLOCK_BYTES))
        else:
            file.seek(0)
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=list(COLUMNS), strings_can_be_null=True, null_values=[""]
            ),
        )
        for batch in reader:
            table = pa.Table.from_batches([batch])
            yield table.filter(pc.equal(table["split"], split))


@contextmanager
def _open_images(sources: tuple[str, ...]) -> Iterator[Callable[[str], bytes]]:
    """A function that reads an image by its path in the archives."""
    with ExitStack() as stack:
        if sources and Path(sources[0]).is_dir():
            archives = None
        else:
            files = [stack.enter_context(_open(path)) for path in sources]
            archives = [stack.enter_context(zipfile.ZipFile(file)) for file in files]

        def read(member: str) -> bytes:
            if archives is None:
                path = Path(sources[0]) / member.removeprefix("bioscan5m/")
                if path.is_file():
                    return path.read_bytes()
            for archive in archives or ():
                if member in archive.NameToInfo:
                    return archive.read(member)
            raise FileNotFoundError(f"No image {member} in {', '.join(sources)}.")

        yield read


def _with_images(table: pa.Table, package: str, read: Callable[[str], bytes]) -> pa.Table:
    contents, paths = [], []
    for row in table.select(["processid", "split", "chunk"]).to_pylist():
        folder = f"{row['split']}/{row['chunk']}" if row["chunk"] else row["split"]
        contents.append(read(f"bioscan5m/images/{package}/{folder}/{row['processid']}.jpg"))
        # A bare name, as in the Parquet files: of an image whose path exists, `datasets` would drop the bytes.
        paths.append(f"{row['processid']}.jpg")
    image = pa.StructArray.from_arrays([pa.array(contents, pa.binary()), pa.array(paths)], ["bytes", "path"])
    return table.append_column("image", image)


def _open(path: str) -> io.BufferedIOBase:
    # When it streams, `datasets` puts a function in the place of `open` that also opens addresses.
    return open(path, "rb")  # noqa: PTH123
