"""`load_dataset`: BIOSCAN-5M from the Hub or from local files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, ReadInstruction, Value
from datasets.exceptions import DatasetGenerationError

from bioscan_hf.data.builder import MAX_NUCLEOTIDES, Bioscan5M, NoSpecimensError
from bioscan_hf.data.download import find_repository
from bioscan_hf.data.features import COLUMN_NAMES, RANKS, SPLIT_NAMES, published_name, resolve_split
from bioscan_hf.data.labels import LABEL_COLUMNS, Labels
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.release import CONFIGURATIONS, DEFAULT_CONFIGURATION, PACKAGES, REPOSITORY, Configuration
from bioscan_hf.data.sources import open_source
from bioscan_hf.data.whole_files import says_when_full
from bioscan_hf.tokenization.taxonomy import taxonomy_texts

MODALITIES: dict[str, tuple[str, ...]] = {
    "image": ("image",),
    "dna": ("dna_bin", "dna_barcode"),
    "taxonomy": ("taxon", *RANKS, "inferred_ranks"),
    "text": ("taxonomy_text",),
    "location": ("country", "province_state", "coord-lat", "coord-lon"),
    "size": ("image_measurement_value", "area_fraction", "scale_factor"),
}
"""Columns of each modality; `text` is computed from the ranks."""

AnyDataset: TypeAlias = Dataset | DatasetDict | IterableDataset | IterableDatasetDict


def load_dataset(
    path: str | Path = REPOSITORY,
    name: str | None = None,
    split: str | None = None,
    *,
    streaming: bool = False,
    modalities: str | Sequence[str] | None = None,
    targets: str | Sequence[str] = (),
    root: str | Path | None = None,
    max_nucleotides: int | None = MAX_NUCLEOTIDES,
    reduce_repeated_barcodes: bool = False,
    on_error: OnError = "raise",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    num_proc: int | None = None,
) -> AnyDataset:
    """Load BIOSCAN-5M from the Hub or from local files.

    A repository with Parquet files is read as it is (see `bioscan data push`); of one with the released archives, just
    those are downloaded that hold what is asked for. Archives and unpacked folders on the disk are used as they lie.
    The first call prepares a memory-mapped cache, split by split; later calls open it.

    Args:
        path: Repository on the Hub, or a local folder, as `root`.
        name: Configuration (see `release.CONFIGURATIONS`), such as `cropped_256_eval`, or `metadata` for no images.
            By default the smallest that holds `split` and the modalities.
        split: Released split, or a union of them: `train`, `validation` or `val`, `seen`, `unseen`, `all`, `train+val`;
            a single split may be cut, as in `train[:10%]`. A union holds one split after the other. None gives all
            splits of the configuration, by name.
        streaming: Whether to read specimens one after another instead of preparing a cache.
        modalities: Which columns to keep: `image`, `dna`, `taxonomy`, `text` (the column `taxonomy_text`), `location`,
            `size`, or names of columns; None keeps all 24. `processid` is always kept. Without images, none are read.
        targets: Ranks, or `dna_bin`, to be added as integers: `species` gives the column `species_index`, an index
            into the vocabulary of the whole dataset (see `load_labels`), -1 for no label.
        root: Folder with the released archives, with the `bioscan5m/` that they unpack to, or converted by `bioscan
            data convert`.
        max_nucleotides: Letters of each barcode that are kept, None for all.
        reduce_repeated_barcodes: Whether to keep one specimen of each distinct barcode: that which bioscan-dataset
            keeps (see `distinct.distinct_barcodes`).
        on_error: `raise`, or `skip` to leave out, with a warning, bad records and specimens without their image.
        revision: Branch, tag or commit of the repository.
        cache_dir: Folder of the cache, by default that of `datasets`.
        token: Token for the Hub, by default that of `hf auth login`.
        num_proc: Processes that prepare the cache.

    Returns:
        A dataset, or one per split if `split` is None; iterable ones if `streaming`.

    Raises:
        ValueError: If an argument or a record is wrong.
        FileNotFoundError: If an archive, or without `on_error="skip"` an image, is missing.
        OSError: If the Hub does not answer and the cache does not hold what is asked for, or the disk is full.
    """
    if root is None and Path(path).expanduser().exists():
        root = path
    columns = _columns(modalities)
    ranks = _targets(targets)
    parts = None if split is None else _parts(split)
    splits = SPLIT_NAMES if parts is None else tuple(part for part, _ in parts)
    configuration = _configuration(name, splits if parts else None, with_images="image" in columns)
    if parts is None:
        parts = [(part, None) for part in configuration.splits]
    if configuration.package is None and "image" in columns:
        if modalities is not None:
            raise ValueError(f"`metadata` has no images; leave out `name`, or take one of {list(PACKAGES)}.")
        columns.remove("image")
    reads_images = "image" in columns
    needed = {*columns, *ranks} | (set(RANKS) if "taxonomy_text" in columns else set())

    def build(part: str) -> Bioscan5M:
        return Bioscan5M(
            config_name=_smallest(configuration.package, part) if reads_images else "metadata",
            data_dir=None if root is None else str(root),
            repo_id=str(path),
            splits=(part,),
            max_nucleotides=max_nucleotides,
            reduce_repeated_barcodes=reduce_repeated_barcodes,
            on_error=on_error,
            columns=[c for c in ("image", *COLUMN_NAMES) if c in needed] if streaming else None,
            cache_dir=None if cache_dir is None else str(cache_dir),
            token=token,
            **({} if revision is None else {"revision": revision}),
        )

    finish = partial(
        _finish,
        columns=columns,
        labels=load_labels(path, ranks=ranks, root=root, cache_dir=cache_dir, revision=revision, token=token)
        if ranks
        else Labels({}),
    )
    loaded: dict[str, Any] = {}
    for part, cut in parts:
        try:
            builder = build(part)
            found = _stream(builder, part, cut) if streaming else _prepare(builder, part, cut, num_proc)
        except NoSpecimensError:
            if split is not None:
                raise
            continue
        loaded[published_name(part)] = finish(found)
    if split is not None:
        return datasets.concatenate_datasets(list(loaded.values())) if len(loaded) > 1 else next(iter(loaded.values()))
    return IterableDatasetDict(loaded) if streaming else DatasetDict(loaded)


def load_labels(
    path: str | Path = REPOSITORY,
    *,
    ranks: Sequence[str] = LABEL_COLUMNS,
    root: str | Path | None = None,
    cache_dir: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Labels:
    """Load the vocabulary: the names of each rank and of `dna_bin`, whose places are the indices of `load_dataset`.

    Args:
        path: As in `load_dataset`.
        ranks: Ranks to load.
        root: As in `load_dataset`.
        cache_dir: As in `load_dataset`.
        revision: As in `load_dataset`.
        token: As in `load_dataset`.

    Returns:
        Names to indices and back.
    """
    if root is None and Path(path).expanduser().exists():
        root = path
    source = open_source(
        None if root is None else Path(root).expanduser().resolve(),
        repository=None if root is not None else find_repository(str(path), revision=revision, token=token),
        cache=None if cache_dir is None else Path(cache_dir),
    )
    return source.labels(ranks)


def _columns(modalities: str | Sequence[str] | None) -> list[str]:
    """Columns in the order of the schema, the text last."""
    if modalities is None:
        return ["image", *COLUMN_NAMES]
    known = ["image", *COLUMN_NAMES, "taxonomy_text"]
    wanted = {"processid"}
    for modality in [modalities] if isinstance(modalities, str) else modalities:
        if modality not in MODALITIES and modality not in known:
            raise ValueError(
                f"`modalities` must be some of {list(MODALITIES)}, or names of columns; got {modality!r}."
                f"{_hint(modality, [*MODALITIES, *known])}"
            )
        wanted.update(MODALITIES.get(modality, (modality,)))
    return [name for name in known if name in wanted]


def _targets(targets: str | Sequence[str]) -> list[str]:
    wanted = [targets] if isinstance(targets, str) else list(targets)
    for target in wanted:
        if target not in LABEL_COLUMNS:
            hint = _hint(target, LABEL_COLUMNS)
            raise ValueError(f"`targets` must be some of {list(LABEL_COLUMNS)}; got {target!r}.{hint}")
    return wanted


def _hint(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _parts(split: str) -> list[tuple[str, str | None]]:
    """Released splits with their cuts, as in `train[:10%]`."""
    name, bracket, cut = split.partition("[")
    splits = resolve_split(name)
    if bracket and len(splits) != 1:
        raise ValueError(f"Only a single split can be cut; got {split!r}. Use `.select` on the union.")
    return [(part, bracket + cut or None) for part in splits]


def _configuration(name: str | None, splits: Sequence[str] | None, *, with_images: bool) -> Configuration:
    """The configuration of a name; without one, the smallest that will do."""
    if name is None:
        if not with_images:
            return CONFIGURATIONS["metadata"]
        return CONFIGURATIONS[_smallest(DEFAULT_CONFIGURATION, *(splits or SPLIT_NAMES))]
    if name not in CONFIGURATIONS:
        hint = _hint(name, list(CONFIGURATIONS))
        raise ValueError(f"`name` must be one of {list(CONFIGURATIONS)}; got {name!r}.{hint}")
    absent = sorted(set(splits or ()) - set(CONFIGURATIONS[name].splits))
    if absent:
        raise ValueError(f"{name} has the splits {list(CONFIGURATIONS[name].splits)}, not {absent}.")
    return CONFIGURATIONS[name]


def _smallest(package: str | None, *splits: str) -> str:
    """Name of the smallest configuration of a package that holds some splits."""
    found = [c for c in CONFIGURATIONS.values() if c.package == package and set(splits) <= set(c.splits)]
    return min(found, key=lambda configuration: len(configuration.splits)).name


def _prepare(builder: Bioscan5M, part: str, cut: str | None, num_proc: int | None) -> Dataset:
    with says_when_full(Path(builder.cache_dir)):
        try:
            builder.download_and_prepare(num_proc=num_proc)
        except DatasetGenerationError as error:
            # It says no more than that something went wrong; its cause names file and record.
            raise (error.__cause__ or error) from None
    name = published_name(part)
    dataset = builder.as_dataset(split=name)
    if cut is None:
        return dataset
    [rows] = ReadInstruction.from_spec(name + cut).to_absolute({name: len(dataset)})
    return dataset.select(range(rows.from_ or 0, len(dataset) if rows.to is None else rows.to))


def _stream(builder: Bioscan5M, part: str, cut: str | None) -> IterableDataset:
    if cut is not None:
        raise ValueError(f"A stream cannot be cut ({cut}); use `.take` or `.skip`.")
    return builder.as_streaming_dataset()[published_name(part)]


def _finish(dataset: Any, columns: list[str], labels: Labels) -> Any:
    """Add what is computed, and leave the columns that are asked for."""
    with_text = "taxonomy_text" in columns
    indices = [f"{rank}_index" for rank in labels.names]
    if isinstance(dataset, IterableDataset):
        added = {**dict.fromkeys(indices, Value("int64")), **({"taxonomy_text": Value("string")} if with_text else {})}
        if added:
            # As Arrow tables: otherwise `datasets` would decode the images and encode them again.
            compute = partial(_append, labels=labels, with_text=with_text)
            features = Features({**dataset.features, **added})
            dataset = dataset.with_format("arrow").map(compute, batched=True, features=features).with_format(None)
    else:
        for rank, index in zip(labels.names, indices, strict=True):
            dataset = dataset.add_column(index, labels.encode(rank, dataset.data.column(rank)), feature=Value("int64"))
        if with_text:
            texts = dataset.select_columns(list(RANKS)).map(
                _texts, batched=True, remove_columns=list(RANKS), desc="Writing taxonomy as text"
            )
            dataset = datasets.concatenate_datasets([dataset, texts], axis=1)
    return dataset.select_columns([*columns, *indices])


def _append(table: pa.Table, *, labels: Labels, with_text: bool) -> pa.Table:
    for rank in labels.names:
        table = table.append_column(f"{rank}_index", pa.array(labels.encode(rank, table[rank])))
    if with_text:
        texts = _texts({rank: table[rank].to_pylist() for rank in RANKS})
        table = table.append_column("taxonomy_text", pa.array(texts["taxonomy_text"], pa.string()))
    return table


def _texts(batch: Mapping[str, Sequence[str | None]]) -> dict[str, list[str]]:
    return {"taxonomy_text": taxonomy_texts(batch)}
