from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, Image, IterableDataset, Value

from bioscan_hf import load_dataset, load_labels
from bioscan_hf.data.features import COLUMN_NAMES, RANKS, SPLIT_NAMES, bioscan_features, published_name, resolve_split
from bioscan_hf.tokenization.taxonomy import taxonomy_text
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import Row, made_rows, make_release


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("release")
    return root, make_release(root, with_repeats(made_rows(6)))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def with_repeats(rows: list[Row]) -> list[Row]:
    """Give some specimens the barcode of another of their split, with trailing N, or with other letters after it."""
    for split in SPLIT_NAMES:
        own = [row for row in rows if row["split"] == split]
        long = str(own[0]["dna_barcode"]).ljust(660, "A")
        for row, barcode in zip(own, (long, long + "NN", long + "GGT", long), strict=False):
            row["dna_barcode"] = barcode
    return rows


def of(rows: list[Row], split: str) -> list[Row]:
    """Rows of a union of splits, split after split."""
    return [row for part in resolve_split(split) for row in rows if row["split"] == part]


def ids(rows: list[Row]) -> list[str]:
    return [str(row["processid"]) for row in rows]


def test_a_folder_with_the_archives_is_enough(release: tuple[Path, list[Row]], cache: Path) -> None:
    root, rows = release
    loaded = load_dataset(root, cache_dir=cache)
    assert isinstance(loaded, DatasetDict) and list(loaded) == [published_name(split) for split in SPLIT_NAMES]
    assert loaded["validation"].features == bioscan_features()
    first = loaded["validation"].cast_column("image", Image(decode=False))[0]
    assert first["image"]["bytes"] == of(rows, "val")[0]["image"]
    assert {name: first[name] for name in COLUMN_NAMES if name != "dna_barcode"} == {
        name: of(rows, "val")[0][name] for name in COLUMN_NAMES if name != "dna_barcode"
    }


@pytest.mark.parametrize("split", ["train", "val", "validation", "seen", "unseen", "all", "train+val", "test+train"])
@pytest.mark.parametrize("streaming", [False, True])
def test_unions_hold_one_split_after_the_other(
    split: str, streaming: bool, release: tuple[Path, list[Row]], cache: Path
) -> None:
    root, rows = release
    loaded = load_dataset(root, split=split, modalities="dna", streaming=streaming, cache_dir=cache)
    assert isinstance(loaded, IterableDataset if streaming else Dataset)
    assert [row["processid"] for row in loaded] == ids(of(rows, split))


def test_a_split_can_be_cut(release: tuple[Path, list[Row]], cache: Path) -> None:
    root, rows = release
    for cut, expected in (("[:2]", slice(2)), ("[2:4]", slice(2, 4)), ("[:50%]", slice(3)), ("[-1:]", slice(-1, None))):
        loaded = load_dataset(root, split=f"test{cut}", modalities="dna", targets="order", cache_dir=cache)
        assert loaded["processid"][:] == ids(of(rows, "test")[expected])


@pytest.mark.parametrize(
    ("modalities", "columns"),
    [
        ("dna", {"dna_barcode", "dna_bin"}),
        (["image", "dna"], {"image", "dna_barcode", "dna_bin"}),
        ("taxonomy", {"taxon", *RANKS, "inferred_ranks"}),
        (["location", "size"], {"country", "province_state", "coord-lat", "coord-lon"}
         | {"image_measurement_value", "area_fraction", "scale_factor"}),
        (["genus", "chunk"], {"genus", "chunk"}),
        ("text", {"taxonomy_text"}),
        ([], set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streaming", [False, True])
def test_modalities_choose_columns(
    modalities: list[str], columns: set[str], streaming: bool, release: tuple[Path, list[Row]], cache: Path
) -> None:
    loaded = load_dataset(release[0], split="val", modalities=modalities, streaming=streaming, cache_dir=cache)
    assert set(loaded.features) == set(next(iter(loaded))) == {"processid", *columns}


@pytest.mark.parametrize("streaming", [False, True])
def test_targets_are_indices_into_the_vocabulary_of_all_splits(
    streaming: bool, release: tuple[Path, list[Row]], cache: Path
) -> None:
    root, rows = release
    targets = ["order", "species", "dna_bin"]
    loaded = load_dataset(root, split="train+pretrain", targets=targets, streaming=streaming, cache_dir=cache)
    expected_features = {**bioscan_features(), **{f"{target}_index": Value("int64") for target in targets}}
    assert loaded.features == Features(expected_features)
    labels = load_labels(root, cache_dir=cache)
    for target in targets:
        vocabulary = sorted({str(row[target]) for row in rows if row[target] is not None})
        assert list(labels.names[target]) == vocabulary
        expected = [
            -1 if row[target] is None else vocabulary.index(str(row[target])) for row in of(rows, "pretrain+train")
        ]
        found = [row[f"{target}_index"] for row in loaded.select_columns([f"{target}_index"])]
        assert found == expected and (target != "species" or -1 in found)
        assert labels.index2label(target, expected) == [row[target] for row in of(rows, "pretrain+train")]


@pytest.mark.parametrize("streaming", [False, True])
def test_text_is_that_of_the_ranks(streaming: bool, release: tuple[Path, list[Row]], cache: Path) -> None:
    root, rows = release
    loaded = load_dataset(root, split="test", modalities=["image", "text"], streaming=streaming, cache_dir=cache)
    expected = [
        taxonomy_text({rank: None if row[rank] is None else str(row[rank]) for rank in RANKS})
        for row in of(rows, "test")
    ]
    assert [row["taxonomy_text"] for row in loaded] == expected
    assert next(iter(loaded))["image"].size == (96, 96)


@pytest.mark.parametrize("limit", [660, 300, None])
def test_one_specimen_of_each_distinct_barcode(limit: int | None, release: tuple[Path, list[Row]], cache: Path) -> None:
    root, rows = release
    options = {"modalities": "dna", "max_nucleotides": limit, "reduce_repeated_barcodes": True, "cache_dir": cache}
    loaded = load_dataset(root, split="all", **options)  # type: ignore[arg-type]
    distinct = {str(row["dna_barcode"])[:limit].rstrip("N") for row in rows}
    found = loaded["dna_barcode"][:]
    assert len(found) == len(distinct) == len({barcode.rstrip("N") for barcode in found}) < len(rows)
    streamed = load_dataset(root, split="all", streaming=True, **options)  # type: ignore[arg-type]
    assert [row["processid"] for row in streamed] == loaded["processid"][:]


def test_distinct_barcodes_need_all_specimens(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    make_conversion(tmp_path, release[1])
    shard = tmp_path / "cropped_256" / "test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(shard).slice(1), shard)
    load = partial(load_dataset, tmp_path, split="test", cache_dir=tmp_path / "cache", reduce_repeated_barcodes=True)
    assert len(load(modalities="dna")) > 1
    with pytest.raises(ValueError, match=r"cropped_256 has 5 of the 6 specimens of test; .* needs all"):
        load()


def test_without_images_no_image_archive_is_needed(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    for path in release[0].glob("*MultiTypes.zip"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    loaded = load_dataset(tmp_path, "cropped_256", "train", modalities="dna", cache_dir=tmp_path / "cache")
    assert len(loaded) == 6
    with pytest.raises(FileNotFoundError, match=r"cropped_256"):
        load_dataset(tmp_path, split="train", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, r"`split` must be .* got 'tset'\. Did you mean 'test'\?"),
        ({"name": "cropped256"}, r"`name` must be .* got 'cropped256'\. Did you mean 'cropped_256'\?"),
        ({"name": "cropped_256_eval", "split": "train+val"}, r"cropped_256_eval has the splits .*, not \['train'\]"),
        ({"modalities": ["dna", "imgae"]}, r"got 'imgae'\. Did you mean 'image'\?"),
        ({"targets": "specie"}, r"got 'specie'\. Did you mean 'species'\?"),
        ({"split": "seen[:3]"}, r"Only a single split can be cut; got 'seen\[:3\]'"),
        ({"split": "train[:3]", "streaming": True}, r"A stream cannot be cut"),
        ({"name": "metadata", "modalities": ["image"]}, r"`metadata` has no images"),
        ({"on_error": "ignore"}, r"`on_error` must be one of \['raise', 'skip'\]; got 'ignore'"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str, release: tuple[Path, list[Row]], cache: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset(release[0], cache_dir=cache, **arguments)


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    rows = [row for row in made_rows(3) if row["split"] in ("val", "test")]
    make_release(tmp_path, rows)
    for streaming in (False, True):
        load = partial(load_dataset, root=tmp_path, cache_dir=tmp_path / "cache", streaming=streaming)
        assert list(load()) == ["validation", "test"]
        with pytest.raises(ValueError, match=r"There are no specimens of train in .*"):
            load(split="train+val")


def test_configurations_share_the_cache_of_a_split(release: tuple[Path, list[Row]], tmp_path: Path) -> None:
    for name in ("cropped_256", "cropped_256_eval", None):
        load_dataset(release[0], name, "test", cache_dir=tmp_path)
    assert len(list(tmp_path.rglob("*.arrow"))) == 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such folder"):
        load_dataset(root=tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="No metadata in"):
        load_dataset(root=tmp_path)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import datasets
from bioscan_hf import load_dataset
datasets.disable_progress_bars()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (5_000, 30_000, resource.RLIM_INFINITY):  # the metadata do not fit, then the images
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        print(len(load_dataset(root=sys.argv[1], split="train", cache_dir=sys.argv[2])))
    except OSError as error:
        print(error)
"""


def test_a_full_disk_leaves_nothing_half_written(hub: LocalHub, tmp_path: Path) -> None:
    make_release(tmp_path / "release")
    result = hub.run(FULL_DISK, tmp_path, str(tmp_path / "release"), str(tmp_path / "cache"))
    first, second, third = result.stdout.splitlines()
    assert all("cannot be written (File too large); free some space" in line for line in (first, second))
    assert "metadata-" in first and "cropped_256_train" in second and third == "20"


FROM_THE_HUB = """
import sys, warnings, datasets
from bioscan_hf import load_dataset, load_labels
datasets.disable_progress_bars()
few = load_dataset("tester/release", split="validation+test", modalities=["image", "dna"], targets="genus")
print(*few["processid"], few[0]["image"].size, len(load_labels("tester/release").names["genus"]))
stream = load_dataset("tester/release", "metadata", streaming=True)["train"]
print(*(row["processid"] for row in stream))
"""
OFFICIAL = """
from bioscan_hf import load_dataset
load_dataset(split="train", modalities="dna")
"""


def upload(hub: LocalHub, root: Path, repo: str) -> None:
    hub.api().create_repo(repo, repo_type="dataset", exist_ok=True)
    hub.api().upload_folder(
        repo_id=repo, folder_path=root, repo_type="dataset", allow_patterns="*.zip", delete_patterns="*"
    )


def test_archives_on_the_hub_only_those_that_are_needed(
    hub: LocalHub, release: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    root, rows = release
    upload(hub, root, "tester/release")
    online = hub.run(FROM_THE_HUB, tmp_path).stdout
    assert online.split()[:12] == ids(of(rows, "val+test"))
    fetched = {Path(entry["path"]).name for entry in hub.requests(r"resolve/.*\.zip")}
    assert fetched == {"BIOSCAN_5M_Insect_Dataset_metadata_MultiTypes.zip", "BIOSCAN_5M_cropped_256_eval.zip"}
    # Without a connection, and without the prepared cache, the downloaded archives are enough.
    hub.fail("GET|HEAD", ".*", times=10_000)
    assert hub.run(FROM_THE_HUB, tmp_path).stdout == online


def test_a_file_that_is_not_the_released_one_is_refused(
    hub: LocalHub, release: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    upload(hub, release[0], "bioscan-ml/BIOSCAN-5M")
    with pytest.raises(AssertionError, match=r"MultiTypes\.zip is damaged: its checksum is not the published one"):
        hub.run(OFFICIAL, tmp_path)


def test_without_a_connection_and_a_cache(hub: LocalHub, tmp_path: Path) -> None:
    # The port of the discard service: nobody listens.
    closed = "import huggingface_hub\nhuggingface_hub.constants.ENDPOINT = 'http://127.0.0.1:9'\n"
    with pytest.raises(
        AssertionError, match=r"bioscan-ml/BIOSCAN-5M \(main\) is not in the cache, and the Hub cannot be"
    ):
        hub.run(closed + OFFICIAL, tmp_path)


def test_a_repository_without_specimens(hub: LocalHub, tmp_path: Path) -> None:
    hub.api().create_repo("tester/empty", repo_type="dataset", exist_ok=True)
    with pytest.raises(AssertionError, match=r"tester/empty has neither report\.json, .*, nor BIOSCAN_5M_Insect"):
        hub.run("from bioscan_hf import load_dataset\nload_dataset('tester/empty')", tmp_path)
    with pytest.raises(AssertionError, match="RepositoryNotFoundError"):
        hub.run("from bioscan_hf import load_dataset\nload_dataset('tester/absent')", tmp_path)
