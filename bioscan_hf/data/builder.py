"""The dataset as a `datasets` builder: prepared into a memory-mapped cache, or streamed."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets.builder import Key

from bioscan_hf import __version__
from bioscan_hf.data.archives import ImageArchives, ImageFolder, read_each
from bioscan_hf.data.distinct import distinct_barcodes
from bioscan_hf.data.download import Repository, find_repository
from bioscan_hf.data.features import SPLIT_NAMES, bioscan_features, published_name
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.release import CONFIGURATIONS, DEFAULT_CONFIGURATION, REPOSITORY, image_member
from bioscan_hf.data.sources import fingerprint, open_source

# Few enough that the images of a table take little memory, many enough that reading them is not slowed down.
IMAGES_PER_TABLE = 500
ROWS_PER_TABLE = 10_000
MAX_NUCLEOTIDES = 660
"""Letters of a barcode that are kept by default, as in bioscan-dataset: later ones are held to be inaccurate reads."""

HOMEPAGE = f"https://huggingface.co/datasets/{REPOSITORY}"
LICENSE = "CC BY 3.0; CBG Photography Group, Centre for Biodiversity Genomics"
CITATION = """@inproceedings{gharaee2024bioscan5m,
  title     = {{BIOSCAN-5M}: A Multimodal Dataset for Insect Biodiversity},
  author    = {Gharaee, Zahra and Lowe, Scott C. and Gong, ZeMing and Millan Arias, Pablo and Pellegrino, Nicholas
               and Wang, Austin T. and Haurum, Joakim Bruslund and Zarubiieva, Iuliia and Kari, Lila
               and Steinke, Dirk and Taylor, Graham W. and Fieguth, Paul and Chang, Angel X.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {37},
  pages     = {36285--36313},
  year      = {2024}
}"""


@dataclass
class BioscanConfig(datasets.BuilderConfig):
    """Configuration of the builder; the names are those of `release.CONFIGURATIONS`.

    Attributes:
        package: Image package, None for no images.
        splits: Splits to prepare, by released name.
        max_nucleotides: Letters of each barcode that are kept, 0 for all.
        reduce_repeated_barcodes: Whether to keep one specimen of each distinct barcode (see `distinct_barcodes`).
        on_error: `raise`, or `skip` to leave out, with a warning, bad records and specimens without their image.
        columns: Columns to read, None for all; for streaming.
        revision: Revision of the repository, where there is no `data_dir`.
    """

    package: str | None = None
    splits: Sequence[str] = SPLIT_NAMES
    max_nucleotides: int = MAX_NUCLEOTIDES
    reduce_repeated_barcodes: bool = False
    on_error: OnError = "raise"
    columns: Sequence[str] | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Piece:
    """A part of a split that is read at once: rows of a Parquet file.

    Attributes:
        file: Path or address.
        group: Row group, None for the whole file.
        first: Place of its first row among the rows of the split.
    """

    file: str
    group: int | None
    first: int


class NoSpecimensError(ValueError):
    """A source has nothing of the splits that are asked for."""


class Bioscan5M(datasets.ArrowBasedBuilder):
    """BIOSCAN-5M: every modality of each specimen as a feature.

    `data_dir` is a folder with the released archives, with what they unpack to, or one that `bioscan data convert`
    wrote; without it, `repo_id` on the Hub is read. Images of archives are read in place.

    >>> sorted(Bioscan5M.builder_configs)[:3]
    ['cropped', 'cropped_256', 'cropped_256_eval']
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = BioscanConfig
    BUILDER_CONFIGS: ClassVar = [
        BioscanConfig(name=c.name, version="1.0.0", description=c.description, package=c.package, splits=c.splits)
        for c in CONFIGURATIONS.values()
    ]
    DEFAULT_CONFIG_NAME = DEFAULT_CONFIGURATION

    def __init__(self, *, data_dir: str | None = None, repo_id: str | None = None, **options: Any) -> None:
        """See `datasets.DatasetBuilder`; options are its, and those of `BioscanConfig`."""
        on_error = options.get("on_error", "raise")
        if on_error not in get_args(OnError):
            raise ValueError(f"`on_error` must be one of {list(get_args(OnError))}; got {on_error!r}.")
        self._repository: Repository | None = None
        if data_dir is None:
            repo_id = repo_id or REPOSITORY
            found = find_repository(repo_id, revision=options.get("revision"), token=options.get("token"))
            self._repository, state = found, found.commit
        else:
            data_dir = str(Path(data_dir).expanduser().resolve())
            state = fingerprint(Path(data_dir))
        # Without it, `datasets` would go on using the cache of other files, or of another version of this code.
        options.setdefault("hash", f"{__version__}-{state[:16]}")
        if "max_nucleotides" in options:
            # `datasets` takes None for "as in the configuration".
            options["max_nucleotides"] = options["max_nucleotides"] or 0
        # `datasets` would name the cache after this module.
        super().__init__(dataset_name="bioscan5m", data_dir=data_dir, repo_id=repo_id, **options)

    def _info(self) -> datasets.DatasetInfo:
        features = bioscan_features(image=self.config.package is not None)
        if self.config.columns is not None:
            features = datasets.Features({name: features[name] for name in self.config.columns})
        return datasets.DatasetInfo(
            description=f"BIOSCAN-5M, {self.config.description}",
            features=features,
            homepage=HOMEPAGE,
            license=LICENSE,
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        config = self.config
        root = None if config.data_dir is None else Path(config.data_dir)
        cache = Path(self._cache_dir_root)
        source = open_source(root, repository=self._repository, cache=cache, on_error=config.on_error)
        limit = config.max_nucleotides or None
        kept = distinct_barcodes(source, limit, cache) if config.reduce_repeated_barcodes else {}
        remote = getattr(dl_manager, "is_streaming", False)
        generators = []
        for split in config.splits:
            files = source.shards(config.package or "metadata", split, remote=remote)
            pieces, count = _pieces(files, self.token, every_row=split in kept)
            if split in kept and count != len(kept[split]):
                raise ValueError(
                    f"{config.package} has {count:,} of the {len(kept[split]):,} specimens of {split}; "
                    "`reduce_repeated_barcodes` needs all. Load them without images, or from the released archives."
                )
            arguments = {
                "pieces": pieces,
                "images": source.images(config.package, split) if config.package and files else None,
                "kept": kept.get(split),
            }
            if files:
                generators.append(datasets.SplitGenerator(name=published_name(split), gen_kwargs=arguments))
        if not generators:
            where = config.data_dir or self.repo_id
            raise NoSpecimensError(f"There are no specimens of {', '.join(config.splits)} in {where}.")
        return generators

    def _generate_tables(
        self, pieces: list[Piece], images: ImageArchives | ImageFolder | None, kept: np.ndarray | None
    ) -> Iterator[tuple[Key, pa.Table]]:
        names = list(self.info.features)
        stored = [name for name in names if images is None or name != "image"]
        needed = list(dict.fromkeys([*stored, *(("processid", "split", "chunk") if images else ())]))
        left_out: list[str] = []
        for number, piece in enumerate(pieces):
            place, count = piece.first, itertools.count()
            for table in _tables(piece, needed, IMAGES_PER_TABLE if "image" in names else ROWS_PER_TABLE, self.token):
                mask = None if kept is None else kept[place : place + len(table)]
                place += len(table)
                table = self._cut(table if mask is None else table.filter(pa.array(mask)))
                if images is not None:
                    table = self._with_images(table, images, left_out)
                if len(table):
                    yield Key(number, next(count)), table.select(names).cast(self.info.features.arrow_schema)
        if left_out:
            message = f"{len(left_out)} specimens are left out, their images are missing or damaged: "
            warnings.warn(message + ", ".join(left_out), stacklevel=2)

    def _cut(self, table: pa.Table) -> pa.Table:
        limit = self.config.max_nucleotides
        if not limit or "dna_barcode" not in table.column_names:
            return table
        barcodes = table["dna_barcode"]
        if (pc.max(pc.binary_length(barcodes)).as_py() or 0) <= limit:
            return table
        cut = pc.utf8_slice_codeunits(barcodes, 0, limit)
        return table.set_column(table.column_names.index("dna_barcode"), "dna_barcode", cut)

    def _with_images(self, table: pa.Table, images: ImageArchives | ImageFolder, left_out: list[str]) -> pa.Table:
        keys = [table[name].to_pylist() for name in ("split", "chunk", "processid")]
        members = [image_member(self.config.package, *key) for key in zip(*keys, strict=True)]
        contents, errors = read_each(images, members)
        if errors and self.config.on_error == "raise":
            first = min(errors)
            raise ValueError(
                f"The image of the specimen {keys[2][first]!r} cannot be read: {errors[first]} "
                '(`on_error="skip"` leaves such specimens out).'
            )
        left_out += [keys[2][i] for i in errors]
        paths = [f"{processid}.jpg" for processid in keys[2]]
        storage = pa.StructArray.from_arrays(
            [pa.array(contents, pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"]
        )
        table = table.append_column("image", storage)
        return table.filter(pc.is_valid(pa.array(contents, pa.binary()))) if errors else table


def _pieces(files: Sequence[str], token: str | bool | None, *, every_row: bool) -> tuple[list[Piece], int]:
    """Row groups of local files, and the number of rows; elsewhere whole files, as asking costs a request for each."""
    pieces, first = [], 0
    for file in files:
        if "://" in file and not every_row:
            pieces.append(Piece(file, None, 0))
            continue
        with _open(file, token) as opened:
            footer = pq.read_metadata(opened)
        for group in range(footer.num_row_groups):
            pieces.append(Piece(file, group, first))
            first += footer.row_group(group).num_rows
    return pieces, first


def _tables(piece: Piece, columns: list[str], rows: int, token: str | bool | None) -> Iterator[pa.Table]:
    with _open(piece.file, token) as opened:
        file = pq.ParquetFile(opened, pre_buffer=True, page_checksum_verification=True)
        groups = None if piece.group is None else [piece.group]
        for batch in file.iter_batches(batch_size=rows, row_groups=groups, columns=columns):
            yield pa.Table.from_batches([batch]).select(columns)


def _open(file: str, token: str | bool | None) -> Any:
    return fsspec.open(file, "rb", **({"token": token} if file.startswith("hf://") else {})).open()
