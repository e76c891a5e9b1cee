"""Rehearsals with the metadata alone: loading, converting, counting, selecting, labelling."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from scale_parts import SPECIMENS, Part, costs

FULL = (SPECIMENS // 10, 1_628_842, SPECIMENS)
QUICK = (600,)


def need_csv(size: int, folder: Path) -> Path:
    """The metadata of `size` made specimens as the released CSV has them, made once."""
    from scale_data import write_metadata

    path = folder / "metadata.csv"
    if not path.exists():
        write_metadata(folder / "partial.csv", size)
        (folder / "partial.csv").rename(path)
    return path


def need_cache(size: int, folder: Path) -> Path:
    """The cache of `load_dataset` for them, made once."""
    cache = folder / "cache"
    if not cache.exists():
        _load(need_csv(size, folder), folder / "partial-cache")
        (folder / "partial-cache").rename(cache)
    return cache


def need_converted(size: int, folder: Path) -> Path:
    """What `bioscan data convert --metadata-only` makes of them, made once."""
    need_csv(size, folder)
    if not (folder / "converted" / "README.md").exists():
        convert_metadata(size, folder)
    return folder / "converted"


def cached(size: int, folder: Path) -> Any:
    """All specimens as one dataset, from the cache."""
    import datasets

    splits = _load(need_csv(size, folder), need_cache(size, folder))
    return datasets.concatenate_datasets(list(splits.values()))


def _load(csv: Path, cache: Path, **options: Any) -> Any:
    from datasets import disable_progress_bars

    from bioscan_hf import load_dataset

    disable_progress_bars()
    return load_dataset(root=csv, name="metadata", max_nucleotides=None, cache_dir=cache, **options)


def _loaded(splits: Any) -> dict[str, Any]:
    rows = {split: len(dataset) for split, dataset in splits.items()}
    first = next(iter(splits.values()))
    return {"specimens": sum(rows.values()), "splits": len(rows), "first process id": first[0]["processid"]}


def load_first(size: int, folder: Path) -> dict[str, Any]:
    """From the CSV to all splits, with an empty cache."""
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    _import()
    with costs() as cost:
        splits = _load(folder / "metadata.csv", cache)
    written = sum(path.stat().st_size for path in cache.glob("**/*") if path.is_file())
    facts = _loaded(splits)
    facts["GB of the CSV"] = round((folder / "metadata.csv").stat().st_size / 1e9, 3)
    return {**cost, "facts": {**facts, "GB of the cache": round(written / 1e9, 3)}}


def load_again(size: int, folder: Path) -> dict[str, Any]:
    """The same with the cache that is there."""
    _import()
    with costs() as cost:
        splits = _load(folder / "metadata.csv", folder / "cache")
    return {**cost, "facts": _loaded(splits)}


def convert_metadata(size: int, folder: Path) -> dict[str, Any]:
    """`bioscan data convert --metadata-only`, with its checks."""
    from bioscan_hf.data.conversion import convert
    from bioscan_hf.hub.dataset_cards import save_dataset_card

    target = folder / "converted"
    shutil.rmtree(target, ignore_errors=True)
    with costs() as cost:
        report = convert(folder / "metadata.csv", target, [])
        save_dataset_card(target)
    checks = [check["passed"] for check in report["checks"]]
    written = sum(path.stat().st_size for path in target.glob("**/*.parquet"))
    facts = {
        "specimens": sum(report["rows"]["metadata"].values()),
        "checks passed": checks.count(True),
        "checks failed": checks.count(False),
        "GB of Parquet": round(written / 1e9, 3),
    }
    return {**cost, "facts": facts}


def load_plainly(size: int, folder: Path) -> dict[str, Any]:
    """Plain `datasets.load_dataset` of the converted folder, with an empty cache."""
    import datasets

    datasets.disable_progress_bars()
    cache = folder / "plain-cache"
    with costs() as cost:
        splits = datasets.load_dataset(str(folder / "converted"), "metadata", cache_dir=str(cache))
    facts = _loaded(splits)
    shutil.rmtree(cache)
    return {**cost, "facts": facts}


def count(size: int, folder: Path) -> dict[str, Any]:
    """`bioscan data stats`: the figures, and the page with its pictures."""
    from bioscan_hf.data.release import PUBLISHED
    from bioscan_hf.data.report import write_report
    from bioscan_hf.data.statistics import compute_statistics

    specimens = cached(size, folder)
    (folder / "statistics").mkdir(exist_ok=True)
    with costs() as cost:
        statistics = compute_statistics(specimens, published=PUBLISHED)
        write_report(statistics, folder / "statistics", title="Made specimens", source="benchmarks/scale_data.py")
    categories = {rank.rank: rank.categories for rank in statistics.ranks}
    facts = {
        "specimens": sum(split.specimens for split in statistics.splits),
        "species": categories["species"],
        "BINs": categories["dna_bin"],
        "distinct barcodes": categories["dna_barcode"],
    }
    return {**cost, "facts": facts}


def select(size: int, folder: Path) -> dict[str, Any]:
    """`select_split` of each of the eight splits and of two unions, and reading of each one's last specimen."""
    from bioscan_hf import select_split
    from bioscan_hf.data.features import SPLIT_NAMES

    specimens = cached(size, folder)
    with costs() as cost:
        chosen = {split: select_split(specimens, split) for split in (*SPLIT_NAMES, "seen", "unseen")}
        last = {split: own[-1]["split"] for split, own in chosen.items()}
    own = {split: len(chosen[split]) for split in SPLIT_NAMES}
    facts = {
        "specimens": sum(own.values()),
        "last ones of their split": all(last[split] == split for split in SPLIT_NAMES),
        "unions add up": len(chosen["seen"]) == sum(own[split] for split in ("train", "val", "test")),
    }
    return {**cost, "facts": facts}


def label(size: int, folder: Path) -> dict[str, Any]:
    """Names to indices at all seven ranks and for BINs."""
    from bioscan_hf import load_labels
    from bioscan_hf.data.labels import LABEL_COLUMNS

    specimens = cached(size, folder)
    with costs() as cost:
        labels = load_labels(root=folder / "metadata.csv", cache_dir=folder / "cache")
        indices = {rank: labels.encode(rank, specimens.data.column(rank)) for rank in LABEL_COLUMNS}
    last = {rank: labels.index2label(rank, int(own[-1])) for rank, own in indices.items()}
    facts = {
        "specimens": min(map(len, indices.values())),
        "names": sum(map(len, labels.names.values())),
        "last names come back": last == {rank: specimens[-1][rank] for rank in LABEL_COLUMNS},
        "each name is used": all(len(set(own.tolist()) - {-1}) == len(labels.names[r]) for r, own in indices.items()),
    }
    return {**cost, "facts": facts}


def reduce(size: int, folder: Path) -> dict[str, Any]:
    """One specimen of each distinct barcode, with the cache of the metadata there."""
    shutil.rmtree(folder / "reduced", ignore_errors=True)
    (folder / "reduced" / "bioscan_hf").mkdir(parents=True)
    for converted in (folder / "cache" / "bioscan_hf").glob("metadata-*/"):
        (folder / "reduced" / "bioscan_hf" / converted.name).symlink_to(converted.resolve())
    _import()
    with costs() as cost:
        splits = _load(folder / "metadata.csv", folder / "reduced", reduce_repeated_barcodes=True)
    facts = _loaded(splits)
    shutil.rmtree(folder / "reduced")
    return {**cost, "facts": facts}


def divide(size: int, folder: Path) -> dict[str, Any]:
    """`partition`: splits for labelled barcodes that come without any."""
    import numpy as np

    from bioscan_hf.data.partition import partition

    specimens = cached(size, folder)
    with costs() as cost:
        splits = partition(specimens)
    names, counts = np.unique(splits, return_counts=True)
    return {**cost, "facts": dict(zip(names.tolist(), counts.tolist(), strict=True))}


def grow_tree(size: int, folder: Path) -> dict[str, Any]:
    """`TaxonTree` of all specimens, and their labels in it."""
    from bioscan_hf.data.taxon_tree import TaxonTree

    specimens = cached(size, folder)
    with costs() as cost:
        tree = TaxonTree.of(specimens)
        labels = tree.labels(specimens)
    return {**cost, "facts": {"specimens": len(labels), "taxa": sum(map(len, tree.taxa.values()))}}


def _import() -> None:
    """What the package imports when it first loads something is no cost of the data."""
    import bioscan_hf.data.loading  # noqa: F401


def _part(name: str, title: str, make: Any, run: Any, **more: Any) -> Part:
    return Part(name, title, "specimens", FULL, QUICK, make, run, **more)


PARTS = (
    _part("loading_first", "load_dataset from the CSV, first time", need_csv, load_first),
    _part("loading_again", "load_dataset, again", need_cache, load_again, flat=True),
    _part("reduction", "load_dataset, one specimen per barcode", need_cache, reduce),
    _part("metadata_conversion", "data convert --metadata-only", need_csv, convert_metadata),
    _part("loading_plainly", "plain datasets.load_dataset", need_converted, load_plainly),
    _part("statistics", "data stats", need_cache, count),
    _part("selection", "select_split, ten selections", need_cache, select),
    _part("labels", "label encoding, eight columns", need_cache, label),
    _part("partition", "partition", need_cache, divide),
    _part("taxon_tree", "TaxonTree and labels", need_cache, grow_tree),
)
