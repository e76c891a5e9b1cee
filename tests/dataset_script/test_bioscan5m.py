"""The loading script for `datasets` before version 4, in this environment as far as it goes, and with `datasets` 3.6.

For the latter set BIOSCAN_DATASETS3_PYTHON to the Python of an environment with `datasets==3.6.0`.
"""

import base64
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import DatasetBuilder
from datasets.info import DatasetInfosDict
from huggingface_hub import HfApi

from bioscan_hf.data import features, release
from bioscan_hf.data.features import COLUMN_NAMES, SPLIT_NAMES, bioscan_features, published_name
from bioscan_hf.data.release import CONFIGURATIONS, METADATA_ARCHIVE, METADATA_MEMBERS
from bioscan_hf.hub import dataset_push
from bioscan_hf.hub import push as hub_push
from tests.environments import foreign_python
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import Row, made_rows, make_release, member, unpack_release

SCRIPT = Path(__file__).parents[2] / "dataset_script" / "bioscan5m.py"
Load = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("bioscan5m", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bioscan5m", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return made_rows(per_split=4)


@pytest.fixture
def root(rows: list[Row], tmp_path: Path) -> Path:
    make_release(tmp_path / "release", rows)
    return tmp_path / "release"


def expected(rows: list[Row], split: str, *, image: bool = True) -> list[Row]:
    """Rows of a split as `datasets` gives them, the image not decoded."""
    own = [{name: row[name] for name in COLUMN_NAMES} for row in rows if row["split"] == split]
    images = [{"bytes": row["image"], "path": f"{row['processid']}.jpg"} for row in rows if row["split"] == split]
    return [{"image": picture, **row} for picture, row in zip(images, own, strict=True)] if image else own


def generated(builder: DatasetBuilder) -> dict[str, list[Row]]:
    """What the script makes of each split, as it stands in its tables."""
    splits = {}
    for generator in builder._split_generators(None):
        tables = [table for _, table in builder._generate_tables(**generator.gen_kwargs)]
        assert all(table.schema.equals(builder.info.features.arrow_schema) for table in tables)
        splits[generator.name] = [row for table in tables for row in table.to_pylist()]
    return splits


def test_schema_and_configurations_are_those_of_the_package(script: ModuleType, tmp_path: Path) -> None:
    assert list(script.COLUMNS.items()) == [(column.name, column.dtype) for column in features.COLUMNS]
    assert script.SPLITS == SPLIT_NAMES and script.PARTS == release.PARTS
    assert tuple(release.PACKAGES) == script.PACKAGES and release.PACKAGES_IN_PARTS == script.PACKAGES_ON_THE_HUB
    assert (script.REPOSITORY, script.METADATA_ARCHIVE) == (release.REPOSITORY, METADATA_ARCHIVE)
    assert Path(METADATA_MEMBERS["csv"]).name == script.METADATA_FILE
    found = [(config.name, config.package, config.splits) for config in script.Bioscan5M.BUILDER_CONFIGS]
    assert found == [(c.name, c.package, c.splits) for c in CONFIGURATIONS.values()]
    assert script.Bioscan5M.DEFAULT_CONFIG_NAME == release.DEFAULT_CONFIGURATION

    card = DatasetInfosDict.from_directory(str(SCRIPT.parent))
    assert set(card) == set(CONFIGURATIONS)
    for name, configuration in CONFIGURATIONS.items():
        builder = script.Bioscan5M(config_name=name, cache_dir=str(tmp_path))
        assert builder.info.features == card[name].features == bioscan_features(image=configuration.package is not None)


def test_archives_of_parts(script: ModuleType, root: Path, rows: list[Row], tmp_path: Path) -> None:
    (root / "BIOSCAN_5M_cropped_256.zip").unlink()
    builder = partial(script.Bioscan5M, data_dir=str(root), cache_dir=str(tmp_path / "cache"))
    for name in ("cropped_256", "cropped_256_train", "cropped_256_eval"):
        splits = CONFIGURATIONS[name].splits
        assert generated(builder(config_name=name)) == {published_name(s): expected(rows, s) for s in splits}
    found = generated(builder(config_name="metadata"))
    assert found == {published_name(s): expected(rows, s, image=False) for s in SPLIT_NAMES}


@pytest.mark.parametrize("layout", ["whole", "numbered", "unpacked", "inside", "csv beside"])
def test_other_layouts(layout: str, script: ModuleType, root: Path, rows: list[Row], tmp_path: Path) -> None:
    if layout == "whole":
        for path in root.glob("BIOSCAN_5M_cropped_256_*.zip"):
            path.unlink()
    elif layout == "numbered":
        (root / "BIOSCAN_5M_cropped_256_eval.zip").rename(root / "BIOSCAN_5M_cropped_256_eval.01.zip")
        with zipfile.ZipFile(root / "BIOSCAN_5M_cropped_256_eval.02.zip", "w") as archive:
            archive.writestr("bioscan5m/other.jpg", b"")
    elif layout == "csv beside":
        with zipfile.ZipFile(root / METADATA_ARCHIVE) as archive:
            (root / Path(METADATA_MEMBERS["csv"]).name).write_bytes(archive.read(METADATA_MEMBERS["csv"]))
        (root / METADATA_ARCHIVE).unlink()
    else:
        unpack_release(root)
    data_dir = root / "bioscan5m" if layout == "inside" else root
    builder = script.Bioscan5M(
        config_name="cropped_256_eval", data_dir=str(data_dir), cache_dir=str(tmp_path / "cache")
    )
    assert generated(builder) == {published_name(s): expected(rows, s) for s in release.PARTS["eval"]}


def test_what_is_missing_is_named(script: ModuleType, root: Path, rows: list[Row], tmp_path: Path) -> None:
    builder = partial(script.Bioscan5M, data_dir=str(root), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"No images of original_256, val, .*BIOSCAN_5M_original_256_eval\.zip"):
        generated(builder(config_name="original_256_eval"))
    row = next(row for row in rows if row["split"] == "test")
    unpack_release(root)
    (root / member(row)).unlink()
    with pytest.raises(FileNotFoundError, match=f"No image {member(row)} in"):
        generated(builder(config_name="cropped_256_eval"))
    with pytest.raises(FileNotFoundError, match=f"No metadata in .*expected {METADATA_ARCHIVE}"):
        generated(script.Bioscan5M(config_name="metadata", data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache")))
    with pytest.raises(ValueError, match=r"images of cropped are not on the Hub: pass `data_dir`"):
        generated(script.Bioscan5M(config_name="cropped", cache_dir=str(tmp_path / "cache")))


@pytest.fixture
def load(hub: LocalHub, tmp_path: Path) -> Load:
    """`load_dataset` of `datasets` 3.6 for a list of calls, with the local Hub for the real one."""
    python = foreign_python("BIOSCAN_DATASETS3_PYTHON", "datasets 3.6").path
    program = Path(__file__).with_name("load_with_script.py")

    def run(*calls: dict[str, Any]) -> list[Any]:
        result = subprocess.run(
            [python, program],
            input=json.dumps(calls),
            env=hub.env(tmp_path),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert not result.returncode, result.stderr
        return [_with_bytes(found) for found in json.loads(result.stdout.splitlines()[-1])]

    return run


def _with_bytes(found: Any) -> Any:
    """JSON holds images in base 64."""
    if isinstance(found, dict) and set(found) == {"bytes", "path"}:
        return {"bytes": base64.b64decode(found["bytes"]), "path": found["path"]}
    if isinstance(found, dict):
        return {name: _with_bytes(value) for name, value in found.items()}
    return [_with_bytes(value) for value in found] if isinstance(found, list) else found


@pytest.mark.slow
def test_datasets_3_runs_the_script_on_local_archives(load: Load, root: Path, rows: list[Row]) -> None:
    for package in ("original_256", "cropped", "original_full"):
        make_release(root, rows, package=package)
    call = {"path": str(SCRIPT), "data_dir": str(root), "trust_remote_code": True}
    streamed = {"name": "cropped_256_eval", "split": "test_unseen", "streaming": True}
    *every, default, streamed_rows = load(
        *({**call, "name": name} for name in CONFIGURATIONS), call, {**call, **streamed}
    )
    for found, (name, configuration) in zip(every, CONFIGURATIONS.items(), strict=True):
        image = name != "metadata"
        assert found == {published_name(s): expected(rows, s, image=image) for s in configuration.splits}
    assert default == every[list(CONFIGURATIONS).index("cropped_256")]
    assert streamed_rows == expected(rows, "test_unseen")


@pytest.mark.slow
def test_datasets_3_downloads_the_archives_that_it_needs(
    hub: LocalHub, load: Load, root: Path, rows: list[Row]
) -> None:
    hub.api().create_repo("tester/released", repo_type="dataset")
    hub.api().upload_folder(repo_id="tester/released", folder_path=root, repo_type="dataset")
    call = {"path": str(SCRIPT), "repository": "tester/released", "trust_remote_code": True}
    found, train, streamed = load(
        {**call, "name": "cropped_256_eval"},
        {**call, "name": "metadata", "split": "train"},
        {**call, "name": "cropped_256_eval", "split": "validation", "streaming": True},
    )
    assert found == {published_name(s): expected(rows, s) for s in release.PARTS["eval"]}
    assert train == expected(rows, "train", image=False)
    assert streamed == expected(rows, "val")
    asked = {Path(entry["path"]).name for entry in hub.requests("tester/released/resolve/.*zip$")}
    assert asked == {METADATA_ARCHIVE, "BIOSCAN_5M_cropped_256_eval.zip"}


@pytest.mark.slow
def test_datasets_3_loads_a_pushed_dataset_without_the_script(
    hub: LocalHub, load: Load, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hub_push, dataset_push):
        monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    make_conversion(tmp_path / "converted", rows)
    dataset_push.push_dataset(tmp_path / "converted", "tester/third")
    columns = ["processid", "dna_barcode"]
    metadata = {"path": "tester/third", "name": "metadata"}
    whole, bare, picked, joined, streamed = load(
        {"path": "tester/third"},
        metadata,
        {**metadata, "split": "test", "columns": columns, "streaming": True},
        {**metadata, "split": "train+validation"},
        {"path": "tester/third", "name": "cropped_256_eval", "split": "test_unseen", "streaming": True},
    )
    assert whole == {published_name(s): expected(rows, s) for s in SPLIT_NAMES}
    assert bare == {published_name(s): expected(rows, s, image=False) for s in SPLIT_NAMES}
    assert picked == [{name: row[name] for name in columns} for row in expected(rows, "test", image=False)]
    assert joined == expected(rows, "train", image=False) + expected(rows, "val", image=False)
    assert streamed == expected(rows, "test_unseen")
