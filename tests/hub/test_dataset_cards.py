import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Features
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from bioscan_hf.data.features import COLUMNS, SPLIT_NAMES, bioscan_features, published_name, resolve_split
from bioscan_hf.data.release import CONFIGURATIONS, PUBLISHED
from bioscan_hf.hub.dataset_cards import TASKS, benchmarks_yaml, card_files, dataset_card, save_dataset_card
from bioscan_hf.hub.dataset_contents import Contents, Shards, published_contents, read_contents
from tests.made_conversion import make_conversion

SCRIPT = Path(__file__).parents[2] / "dataset_script"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    make_conversion(folder)
    return folder


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "folder"))


def metadata_of(card: DatasetCard) -> DatasetCardData:
    data = DatasetCard(str(card)).data
    assert isinstance(data, DatasetCardData)
    return data


def configs_of(card: DatasetCard) -> dict[str, dict[str, str]]:
    """Pattern of each split of each configuration."""
    return {
        config["config_name"]: {file["split"]: file["path"] for file in config["data_files"]}
        for config in metadata_of(card)["configs"]
    }


def test_configurations_list_the_shards_under_published_names() -> None:
    configs = configs_of(dataset_card(published_contents()))
    assert list(configs) == list(CONFIGURATIONS)
    for name, files in configs.items():
        configuration = CONFIGURATIONS[name]
        family = configuration.package or "metadata"
        names = [published_name(split) for split in configuration.splits]
        assert files == {split: f"{family}/{split}-*-of-*.parquet" for split in names}


def test_patterns_name_the_number_of_shards(converted: Path) -> None:
    configs = configs_of(dataset_card(read_contents(converted)))
    assert configs["cropped_256_train"] == {"train": "cropped_256/train-*-of-00002.parquet"}
    assert configs["metadata"]["validation"] == "metadata/validation-*-of-00001.parquet"
    found = [str(path.relative_to(converted)) for path in converted.glob(configs["cropped_256"]["train"])]
    assert sorted(found) == [f"cropped_256/train-0000{i}-of-00002.parquet" for i in range(2)]


def contents(*families: str) -> Contents:
    return {family: {split: Shards(3, 1, 10, 20) for split in SPLIT_NAMES} for family in families}


@pytest.mark.parametrize(
    ("families", "default", "configurations"),
    [
        (("metadata",), "metadata", ["metadata"]),
        (("metadata", "cropped_256"), "cropped_256", ["metadata", *(c for c in CONFIGURATIONS if "cropped_256" in c)]),
        (("metadata", "original_full"), "original_full", ["metadata", "original_full"]),
    ],
)
def test_packages_that_are_there_decide(families: tuple[str, ...], default: str, configurations: list[str]) -> None:
    data = metadata_of(dataset_card(contents(*families)))
    assert [config["config_name"] for config in data["configs"]] == configurations
    assert [config["config_name"] for config in data["configs"] if config.get("default")] == [default]
    text = dataset_card(contents(*families)).text
    assert ("without the images" in text) is (default == "metadata")
    assert ("| `image` |" in text) is (default != "metadata")


def test_package_of_some_splits_has_their_configurations_only() -> None:
    some = {"metadata": contents("metadata")["metadata"], "cropped_256": {"test": Shards(3, 1, 10, 20)}}
    card = dataset_card(some)
    configs = configs_of(card)
    assert list(configs) == ["metadata", "cropped_256", "cropped_256_eval"]
    assert list(configs["cropped_256"]) == list(configs["cropped_256_eval"]) == ["test"]
    assert 'load_dataset("bioscan-ml/BIOSCAN-5M", "cropped_256_eval", split="test")' in card.text


def test_infos_have_features_and_sizes(converted: Path) -> None:
    data = metadata_of(dataset_card(read_contents(converted)))
    infos = DatasetInfosDict.from_dataset_card_data(data)
    assert set(infos) == {config["config_name"] for config in data["configs"]}
    for name, info in infos.items():
        assert info.features == bioscan_features(image=name != "metadata")
        assert list(info.splits) == [published_name(split) for split in CONFIGURATIONS[name].splits]
        assert all(split.num_examples == 20 for split in info.splits.values())
        family = CONFIGURATIONS[name].package or "metadata"
        paths = [path for split in info.splits for path in (converted / family).glob(f"{split}-*.parquet")]
        assert info.download_size == sum(path.stat().st_size for path in paths)
        footers = [pq.read_metadata(path) for path in paths]
        groups = [footer.row_group(i) for footer in footers for i in range(footer.num_row_groups)]
        assert info.dataset_size == sum(group.total_byte_size for group in groups)
        assert info.dataset_size == sum(split.num_bytes for split in info.splits.values())


def test_unknown_sizes_are_not_told() -> None:
    data = metadata_of(dataset_card(published_contents()))
    for info in data["dataset_info"]:
        assert set(info) == {"config_name", "features"}
        assert Features._from_yaml_list(info["features"]) == bioscan_features(image=info["config_name"] != "metadata")
    assert " size |" not in dataset_card(published_contents()).text


@pytest.mark.parametrize(
    ("count", "category"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (289_203, "100K<n<1M"), (999_999, "100K<n<1M"), (5_150_850, "1M<n<10M")],
)
def test_size_category(count: int, category: str) -> None:
    card = dataset_card({"metadata": {"train": Shards(count, 1)}})
    assert metadata_of(card)["size_categories"] == [category]


def test_text_tells_counts_columns_licence_and_source() -> None:
    card = dataset_card(published_contents(), repo_id="me/copy")
    data = metadata_of(card)
    assert data.license == "cc-by-3.0" and data.pretty_name == "BIOSCAN-5M"
    text = card.text
    for split, size in PUBLISHED.items():
        assert re.search(rf"\| `{published_name(split)}` \| \w+ \| .* \| {size.specimens:,} \|\n", text)
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.dtype} | {column.meaning} | {column.missing} |\n" in text
    for expected in (
        "5,150,850 specimens",
        "CBG Photography Group",
        "gharaee2024bioscan5m",
        "arxiv.org/abs/2406.12723",
    ):
        assert expected in text
    assert text.count('load_dataset("me/copy"') == 3
    assert "{{" not in text.replace("{{BIOSCAN-5M}", "") and "{%" not in text


def test_sizes_are_shown_in_readable_units() -> None:
    large = {
        "metadata": {"train": Shards(3, 1, 1_016_000_000, 0)},
        "cropped_256": {"train": Shards(3, 1, 2_500_000, 0)},
    }
    text = dataset_card(large).text
    assert "| `metadata` | train | none | 3 | 1.0 GB |\n" in text
    assert "| `cropped_256_train` | train | cropped to the specimen, shorter side 256 pixels | 3 | 2.5 MB |\n" in text


def test_benchmarks_point_at_configurations_and_splits_that_exist() -> None:
    content = yaml.safe_load(benchmarks_yaml(published_contents()))
    assert list(content) == ["name", "description", "evaluation_framework", "tasks"]
    assert content["evaluation_framework"] == "bioscan_hf"
    assert [task["id"] for task in content["tasks"]] == list(TASKS)
    for task in content["tasks"]:
        assert set(task) == {"id", "config", "split"}
        assert task["split"] == "+".join(published_name(split) for split in resolve_split(task["split"]))
        assert set(resolve_split(task["split"])) <= set(CONFIGURATIONS[task["config"]].splits)
        assert task["id"] in content["description"]
    without_images = yaml.safe_load(benchmarks_yaml(contents("metadata")))["tasks"]
    assert {task["config"] for task in without_images} == {"metadata"} and len(without_images) == 4


def test_card_is_written_into_the_folder(folder: Path) -> None:
    save_dataset_card(folder, repo_id="me/copy")
    expected = card_files(read_contents(folder), repo_id="me/copy")
    assert {name: (folder / name).read_text() for name in ("README.md", "eval.yaml")} == expected


def test_dataset_script_holds_the_card_of_the_complete_dataset() -> None:
    for name, text in card_files(published_contents()).items():
        assert (SCRIPT / name).read_text() == text, "run `python tools/make_dataset_script.py`"


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("report.json", "it has no report.json"),
        ("labels/species.txt", "it has no labels/species.txt"),
        ("order/validation.parquet", "it has no order/validation.parquet"),
        ("cropped_256/train-00000-of-00002.parquet", "has no train-00000-of-00002.parquet"),
        ("metadata", "it has no metadata"),
    ],
)
def test_incomplete_folder_is_refused(gone: str, message: str, folder: Path) -> None:
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{message}; `bioscan data convert` completes it"):
        read_contents(folder)


def test_damaged_shard_is_refused(folder: Path) -> None:
    path = folder / "cropped_256" / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"test-00000-of-00001.parquet' is damaged"):
        read_contents(folder)


def test_shards_of_two_conversions_are_refused(folder: Path) -> None:
    own = folder / "cropped_256" / "test-00000-of-00001.parquet"
    shutil.copy(own, own.with_name("test-00001-of-00002.parquet"))
    with pytest.raises(ValueError, match=r"to which test-00001-of-00002.parquet does not belong"):
        read_contents(folder)


def test_folder_that_is_not_what_its_report_says_is_refused(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    report["rows"]["cropped_256"]["test"] += 1
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(ValueError, match=r"is not what its report\.json says"):
        read_contents(folder)


def test_contents_of_a_package_do_not_depend_on_other_files(folder: Path) -> None:
    before = read_contents(folder)
    (folder / "cropped_256" / "notes.parquet").touch()
    (folder / "own").mkdir()
    assert read_contents(folder) == before
    assert before["cropped_256"]["train"] == replace(before["cropped_256"]["train"], specimens=20, count=2)
