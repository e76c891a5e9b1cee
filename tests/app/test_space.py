import configparser
import os
import re
import runpy
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from gradio_client import Client
from huggingface_hub import SpaceCard, constants
from packaging.requirements import Requirement

import bioscan_hf
from bioscan_hf.app import application, space
from bioscan_hf.app import served as served_module
from bioscan_hf.app.space import check_space, requirements, write_space
from bioscan_hf.identification.library import Library
from tests.hub_server.fixture import LocalHub
from tests.identification.made_library import picture, specimens

PACKAGE = Path(bioscan_hf.__file__).parent
ROOT = PACKAGE.parent


def declared() -> list[str]:
    """What an installation of this code says that it needs, also where an older one is installed."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")

    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

    always = lines(settings["options"]["install_requires"])
    extras = settings["options.extras_require"]
    return always + [f'{line}; extra == "{name}"' for name in ("app", "lora") for line in lines(extras[name])]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "requires", lambda name: declared())


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library") / "beetles"
    Library.build(specimens("train", 40), calibration=specimens("val", 2), info={"source": "me/specimens"}).save(folder)
    return folder


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def metadata(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = SpaceCard.load(folder / "README.md").data.to_dict()
    return found


def test_a_space_of_the_sample(tmp_path: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my-space"
    write_space(folder, max_error=0.01)
    assert {path.name for path in folder.iterdir()} == {"README.md", "app.py", "requirements.txt", "bioscan_hf"}
    card = metadata(folder)
    assert card["sdk"] == "gradio" and card["sdk_version"].startswith("6.") and card["app_file"] == "app.py"
    assert card["license"] == "mit" and card["title"] == "my-space" and "models" not in card
    assert len(card["short_description"]) <= 60 and "bioscan_hf" in card["tags"]
    assert "names are invented" in (folder / "README.md").read_text()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    SpaceCard.load(folder / "README.md").validate()
    # The package as it is here.
    here = {path for path in files(PACKAGE) if "__pycache__" not in path.parts}
    assert files(folder / "bioscan_hf") == here
    for path in ("app/style.css", "data/land.json", "identification/library.py"):
        assert (folder / "bioscan_hf" / path).read_bytes() == (PACKAGE / path).read_bytes()


def test_requirements_are_those_of_the_package() -> None:
    lines = [line for line in requirements().splitlines() if not line.startswith("#")]
    found = {Requirement(line).name: Requirement(line).specifier for line in lines}
    assert {"torch", "transformers", "gradio", "umap-learn", "parasail"} <= set(found) and "peft" not in found
    assert len(found) == len([line for line in declared() if "extra" not in line]) + 2
    assert str(found["gradio"]) and "CPU build" in requirements()
    assert not re.search("https?:", requirements())


def test_metadata_without_the_extra_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(space, "requires", lambda name: ["torch>=2.6"])
    with pytest.raises(OSError, match=r"pip install '.\[app\]'"):
        write_space(tmp_path / "s", max_error=0.01)
    assert not (tmp_path / "s").exists()


def test_a_library_and_photographs_go_along(lib: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    name = specimens("train", 1)["processid"][0]
    (photos / f"{name}.png").write_bytes(picture("Aus", 0))
    write_space(tmp_path / "s", str(lib), images=str(photos), max_error=0.05)
    assert "`beetles`, made of me/specimens" in (tmp_path / "s" / "README.md").read_text()
    assert metadata(tmp_path / "s")["datasets"] == ["me/specimens"]
    # From elsewhere, as the Space starts it, but for the server.
    started: list[Any] = []
    monkeypatch.setattr(application, "launch", lambda app: started.append(app))
    monkeypatch.setattr(application, "build_app", lambda served: served)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tmp_path / "s" / "app.py"), run_name="__main__")
    (served,) = started
    assert isinstance(served, served_module.Served) and served.name == "library" and name in served.pictures
    assert len(served.library.keys.of_specimen) == 40 and served.identifier.max_error == 0.05


def test_a_repository_is_named(monkeypatch: pytest.MonkeyPatch, lib: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(space, "find_library", lambda source: lib)
    write_space(tmp_path / "s", "me/beetles", max_error=0.01)
    assert metadata(tmp_path / "s")["models"] == ["me/beetles"] and not (tmp_path / "s" / "library").exists()
    assert "Served.open(library='me/beetles', max_error=0.01)" in (tmp_path / "s" / "app.py").read_text()


def test_it_is_written_over_itself_and_a_clone(lib: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config").write_text("mine")
    (folder / ".gitattributes").write_text("*.bin filter=lfs")
    (folder / "README.md").write_text("---\nsdk: gradio\n---\n")
    write_space(folder, max_error=0.01)
    (folder / "bioscan_hf" / "old.py").write_text("")
    write_space(folder, str(lib), max_error=0.01)
    assert not (folder / "bioscan_hf" / "old.py").exists() and (folder / "library" / "library.json").is_file()
    assert (folder / ".git" / "config").read_text() == "mine"
    assert not [path for path in folder.iterdir() if path.name.startswith(".partial")]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no Space that was written before"):
        check_space(tmp_path)
    with pytest.raises(FileExistsError):
        check_space(tmp_path / "notes.txt")
    (tmp_path / "app.py").write_text("print('mine')")
    with pytest.raises(FileExistsError):
        write_space(tmp_path, max_error=0.01)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "app.py"}


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is no library"):
        write_space(tmp_path / "s", str(tmp_path), max_error=0.01)
    monkeypatch.setattr(space, "space_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_space(tmp_path / "s", max_error=0.01)
    assert not (tmp_path / "s").exists()


@pytest.mark.slow  # starts Python anew, and the whole app in it
def test_it_runs_from_its_folder(lib: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    write_space(folder, str(lib), max_error=0.05)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GRADIO"))}
    environment = kept | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "GRADIO_SERVER_PORT": "7979"}
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=out, stderr=out)
        try:
            for _ in range(240):
                assert process.poll() is None, log.read_text()
                try:
                    urllib.request.urlopen("http://127.0.0.1:7979/").close()
                    break
                except OSError:
                    time.sleep(0.5)
            client = Client("http://127.0.0.1:7979/", verbose=False, analytics_enabled=False)
            (row,) = client.predict(specimens("train", 1)["dna_barcode"][0], None, None, 5, api_name="/identify")
        finally:
            process.terminate()
            process.wait(30)
    assert row["species"] == specimens("train", 1)["species"][0]
    assert yaml.safe_load((folder / "README.md").read_text().split("---")[1])["app_file"] == "app.py"
