import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard, hf_hub_download

from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub.library_push import library_card, push_library
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_files import read_manifest
from tests.hub_server.fixture import LocalHub
from tests.identification.made_library import library, specimens

REPO = "tester/pushed-library"
LOAD = """
import json, sys
from bioscan_hf import Identifier
repo, revision, *barcodes = sys.argv[1:]
for commit in (None, revision):
    identifier = Identifier.from_pretrained(repo, max_error=0.05, revision=commit)
    print(json.dumps(identifier(barcodes).to_pylist()))
"""
MISSING = """
import sys
from bioscan_hf import Library
for name in sys.argv[1:]:
    try:
        Library.load(name)
    except (OSError, ValueError) as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    library().save(tmp_path / "lib")
    return tmp_path / "lib"


@pytest.fixture
def api(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    return hub.api()


def test_it_is_loaded_by_its_name(hub: LocalHub, api: HfApi, folder: Path, tmp_path: Path) -> None:
    barcodes = [*specimens("test", 3)["dna_barcode"], "ACGT"]
    (folder / "cells.faiss").write_bytes(b"of other keys")
    address = push_library(folder, REPO, private=True)
    assert address.startswith(f"{hub.url}/{REPO}/commit/")
    assert api.model_info(REPO).private
    assert {path.name for path in folder.iterdir()} <= set(api.list_repo_files(REPO))
    first = str(api.model_info(REPO).sha)
    # Another library in its place, without what the first one had.
    Library.build(specimens("train", 30), calibration=specimens("val", 2)).save(folder)
    push_library(folder, REPO)
    assert "cells.faiss" in api.list_repo_files(REPO), "a push takes nothing away"
    found = hub.run(LOAD, tmp_path, REPO, first, *barcodes).stdout.splitlines()[-2:]
    for text, expected in zip(found, (Library.load(folder), library()), strict=True):
        assert json.loads(text) == Identifier(expected, max_error=0.05)(barcodes).to_pylist()


def test_what_is_not_there(hub: LocalHub, tmp_path: Path) -> None:
    hub.api().create_repo("tester/no-library")
    shown = hub.run(MISSING, tmp_path, "tester/nothing-here", "a/b..c", "tester/no-library").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["OSError", "OSError", "ValueError"]
    assert "'tester/nothing-here' is no folder, and cannot be loaded from the Hub (" in shown[0]
    assert "is no library: it has no library.json" in shown[2]


def test_card(folder: Path) -> None:
    manifest = json.loads((folder / "library.json").read_text())
    (folder / "library.json").write_text(
        json.dumps({**manifest, "command": "bioscan library build a|b.csv", "digest": None})
    )
    card = library_card(folder, "me/insects-of-x")
    data = card.data.to_dict()
    assert data["library_name"] == "bioscan_hf" and "bioscan-library" in data["tags"]
    text = card.content
    assert "# insects-of-x" in text and "A library of 603 reference specimens" in text
    assert "bioscan identify my_barcodes.fasta --library me/insects-of-x" in text
    assert 'Identifier.from_pretrained("me/insects-of-x")' in text
    assert "a\\|b.csv |" in text and "| specimens | 603 |" in text
    assert "**The specimens are simulated**" in text
    rows = text[text.index("| | |") :].split("\n\n")[0].splitlines()
    assert all(row.startswith("|") and row.endswith("|") for row in rows) and len(rows) > 8
    real = {**manifest, "source": "my.csv", "digest": None}
    (folder / "library.json").write_text(json.dumps(real))
    assert "simulated" not in library_card(folder, "me/x").content.replace("(simulated specimens)", "")


def test_what_is_not_whole_is_not_pushed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no library"):
        push_library(tmp_path, "me/x")
    shutil.copytree(folder, tmp_path / "part")
    (tmp_path / "part" / "keys.safetensors").unlink()
    with pytest.raises(ValueError, match=r"is not whole: keys\.safetensors"):
        push_library(tmp_path / "part", "me/x")
    assert not (tmp_path / "part" / "README.md").exists()
    with pytest.raises(ValueError, match="a/b/c"):
        push_library(folder, "a/b/c")
    assert not (folder / "README.md").exists() and read_manifest(folder)


def test_the_card_is_pushed(hub: LocalHub, api: HfApi, folder: Path, tmp_path: Path) -> None:
    push_library(folder, "tester/library-with-card")
    path = hf_hub_download(
        "tester/library-with-card", "README.md", endpoint=hub.url, token=hub.token, cache_dir=tmp_path
    )
    card = ModelCard(Path(path).read_text())
    assert card.content == (folder / "README.md").read_text() and "--library tester/library-with-card" in card.text
    assert api.model_info("tester/library-with-card").tags and "biology" in card.data.to_dict()["tags"]
