"""The card of the dataset on the Hub and the list of its benchmarks, written from what a converted folder holds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import yaml
from datasets import DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from bioscan_hf.data.builder import CITATION
from bioscan_hf.data.features import COLUMNS, SPLIT_NAMES, SPLITS, bioscan_features, published_name, resolve_split
from bioscan_hf.data.release import CONFIGURATIONS, PACKAGES, REPOSITORY
from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.hub.card_texts import LANGUAGE, NOT_REGULATORY
from bioscan_hf.hub.dataset_contents import Contents, Shards, read_contents


@dataclass(frozen=True)
class Task:
    """One benchmark of the paper, to which `.eval_results` of models refer by its id.

    Attributes:
        config: Configuration of the dataset.
        split: Split of the queries, by its published name; two that are used together are joined by `+`.
        measure: What is measured.
    """

    config: str
    split: str
    measure: str


TASKS: dict[str, Task] = {
    "closed_world_species_finetuned": Task(
        "metadata", "test", "accuracy of the species by the barcode, encoder fine-tuned on train"
    ),
    "closed_world_species_linear_probe": Task(
        "metadata", "test", "accuracy of the species by the barcode, linear probe on train, encoder frozen"
    ),
    "open_world_genus_1nn": Task(
        "metadata", "test_unseen", "accuracy of the genus by the barcode, nearest neighbour in train"
    ),
    "clustering_dna": Task(
        "metadata", "test+test_unseen", "adjusted mutual information of barcode clusters and species, no training"
    ),
    "clustering_image": Task(
        "cropped_256", "test+test_unseen", "adjusted mutual information of image clusters and species, no training"
    ),
    "retrieval_image_to_dna_seen": Task(
        "cropped_256",
        "test",
        "macro top-1 accuracy of the species by the image, among barcodes of train and key_unseen",
    ),
    "retrieval_image_to_dna_unseen": Task("cropped_256", "test_unseen", "the same for species that are not in train"),
}
"""The three benchmarks of Gharaee et al. (NeurIPS 2024), by the id in `eval.yaml`."""


def dataset_card(contents: Contents, *, repo_id: str = REPOSITORY) -> DatasetCard:
    """Write the card of the dataset.

    One set of shards serves all configurations: these are lists of files in the metadata of the card.

    Args:
        contents: From `read_contents` or `published_contents`.
        repo_id: Repository that the examples load.
    """
    configurations = _configurations(contents)
    default = next((package for package in PACKAGES if package in configurations), "metadata")
    example = f"{default}_eval" if f"{default}_eval" in configurations else default
    specimens = contents["metadata"]
    data = DatasetCardData(
        language=LANGUAGE,
        license="cc-by-3.0",
        pretty_name="BIOSCAN-5M",
        task_categories=["image-classification", "zero-shot-image-classification", "feature-extraction"],
        size_categories=[_size_category(_total(specimens))],
        tags=["biology", "biodiversity", "insects", "DNA", "DNA barcoding", "taxonomy", "multimodal"],
        configs=[_config(name, splits, default) for name, splits in configurations.items()],
    )
    DatasetInfosDict({n: _info(n, splits) for n, splits in configurations.items()}).to_dataset_card_data(data)
    with as_file(files("bioscan_hf.hub") / "templates" / "bioscan5m.md") as template:
        return DatasetCard.from_template(
            data,
            template_path=str(template),
            repo_id=repo_id,
            specimens=f"{_total(specimens):,}",
            with_images=default != "metadata",
            example=example,
            example_split=_either("test", configurations[example]),
            stream_split=_either("train", specimens),
            sizes_known=all(shards.count is not None for shards in specimens.values()),
            configurations=[_configuration_row(name, splits) for name, splits in configurations.items()],
            splits=[
                (s, published_name(s.name), f"{specimens[s.name].specimens:,}") for s in SPLITS if s.name in specimens
            ],
            columns=COLUMNS,
            tasks=_tasks(contents),
            citation=CITATION,
            not_regulatory=NOT_REGULATORY,
        )


def benchmarks_yaml(contents: Contents) -> str:
    """Write `eval.yaml`, which makes the dataset a benchmark on the Hub: those of `TASKS` that it has the data for."""
    content = {
        "name": "BIOSCAN-5M",
        "description": "The benchmarks of BIOSCAN-5M. "
        + " ".join(f"{name}: {task.measure}." for name, task in _tasks(contents).items()),
        "evaluation_framework": "bioscan_hf",
        "tasks": [{"id": name, "config": task.config, "split": task.split} for name, task in _tasks(contents).items()],
    }
    return yaml.safe_dump(content, sort_keys=False, width=100)


def card_files(contents: Contents, *, repo_id: str = REPOSITORY) -> dict[str, str]:
    """Text of `README.md` and `eval.yaml`, by file name; arguments are those of `dataset_card`."""
    return {
        "README.md": str(dataset_card(contents, repo_id=repo_id)),
        "eval.yaml": benchmarks_yaml(contents),
    }


def save_dataset_card(folder: Path, *, repo_id: str = REPOSITORY) -> None:
    """Write `README.md` and `eval.yaml` into a converted folder.

    Args:
        folder: What `bioscan data convert` wrote.
        repo_id: Repository that the examples load.

    Raises:
        FileNotFoundError: If the conversion is not complete.
        ValueError: If it is damaged.
    """
    for name, text in card_files(read_contents(folder), repo_id=repo_id).items():
        with whole_file(folder / name) as file:
            file.write(text.encode())


def _family(configuration: str) -> str:
    return CONFIGURATIONS[configuration].package or "metadata"


def _configurations(contents: Contents) -> dict[str, dict[str, Shards]]:
    """Splits of each configuration of which there is anything."""
    found = {}
    for name, configuration in CONFIGURATIONS.items():
        family = contents.get(_family(name), {})
        if splits := {split: family[split] for split in configuration.splits if split in family}:
            found[name] = splits
    return found


def _tasks(contents: Contents) -> dict[str, Task]:
    present = _configurations(contents)
    return {
        name: task
        for name, task in TASKS.items()
        if task.config in present and set(resolve_split(task.split)) <= set(present[task.config])
    }


def _config(name: str, splits: dict[str, Shards], default: str) -> dict[str, object]:
    data_files = [
        {"split": published_name(split), "path": shards.pattern(_family(name), split)}
        for split, shards in splits.items()
    ]
    return {"config_name": name, **({"default": True} if name == default else {}), "data_files": data_files}


def _info(name: str, splits: dict[str, Shards]) -> DatasetInfo:
    features = bioscan_features(image=CONFIGURATIONS[name].package is not None)
    if any(shards.count is None for shards in splits.values()):
        return DatasetInfo(features=features)
    sizes = SplitDict()
    for split, shards in splits.items():
        sizes.add(SplitInfo(published_name(split), num_bytes=shards.unpacked_bytes, num_examples=shards.specimens))
    return DatasetInfo(
        features=features,
        splits=sizes,
        download_size=sum(shards.file_bytes for shards in splits.values()),
        dataset_size=sum(shards.unpacked_bytes for shards in splits.values()),
    )


def _total(splits: dict[str, Shards]) -> int:
    return sum(shards.specimens for shards in splits.values())


def _configuration_row(name: str, splits: dict[str, Shards]) -> dict[str, str]:
    package = CONFIGURATIONS[name].package
    size = sum(shards.file_bytes for shards in splits.values())
    return {
        "name": name,
        "splits": "all" if tuple(splits) == SPLIT_NAMES else ", ".join(published_name(split) for split in splits),
        "images": PACKAGES[package] if package else "none",
        "specimens": f"{_total(splits):,}",
        "size": f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB",
    }


def _size_category(count: int) -> str:
    """Name that the Hub has for a number of rows."""
    limits = (("1K", 10**3), ("10K", 10**4), ("100K", 10**5), ("1M", 10**6), ("10M", 10**7), ("100M", 10**8))
    position = sum(count >= limit for _, limit in limits)
    return f"{limits[position - 1][0]}<n<{limits[position][0]}" if position else "n<1K"


def _either(split: str, splits: dict[str, Shards]) -> str:
    return published_name(split if split in splits else next(iter(splits)))
