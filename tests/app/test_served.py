from pathlib import Path

import pytest
from huggingface_hub import constants

from bioscan_hf.app import served as module
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.data.specimens import describe_source
from bioscan_hf.identification.library import Library
from tests.identification.made_library import library, picture, specimens


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of specimens that are somebody's own."""
    folder = tmp_path_factory.mktemp("own") / "beetles"
    own = Library.build(specimens("train", 40), calibration=specimens("val", 2), info={"source": "mine.csv"})
    own.save(folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    return tmp_path / "bioscan_hf" / "libraries"


def test_the_sample_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds, made = [], library()

    def build(*_: object, calibration: object, info: dict[str, str], report: object, **__: object) -> Library:
        builds.append(info)
        assert info["source"] == describe_source()[0]
        return Library(info | {"model": "aligned", "model_revision": None, "bioscan_hf": ""}, *_parts(made))

    monkeypatch.setattr(module.Library, "build", build)
    tasks: list[str] = []
    for _ in range(2):
        opened = Served.open(report=lambda task, done, total: tasks.append(task))
        assert (opened.name, opened.simulated) == ("sample", True)
        assert "SIMA0085-26" in opened.pictures and opened.identifier.nearest == NEAREST
    assert len(builds) == 1 and len([path for path in cache.iterdir() if path.is_dir()]) == 1
    monkeypatch.setattr(module, "__version__", "another")
    Served.open()
    assert len(builds) == 2, "another version makes its own"


def _parts(made: Library) -> tuple:
    return made.specimens, made.keys, made.barcodes, made.letters, made.vectors, made.flags


def test_a_folder(saved: Path, cache: Path) -> None:
    opened = Served.open(str(saved), max_error=0.05)
    assert (opened.name, opened.simulated, opened.identifier.max_error) == ("beetles", False, 0.05)
    ids = opened.library.columns(["processid"])["processid"].to_pylist()
    assert [opened.row_of(processid) for processid in ids] == list(range(40)) and opened.row_of("nobody") == -1
    assert [opened.id_of(row) for row in range(40)] == list(ids)
    assert opened.pictures.of(ids[0]) is None and not cache.exists()


def test_photographs_of_a_folder(saved: Path, tmp_path: Path) -> None:
    ids = specimens("train", 40)["processid"]
    (tmp_path / f"{ids[3]}.png").write_bytes(picture("Aus", 0))
    opened = Served.open(str(saved), images=str(tmp_path))
    assert opened.pictures.of(ids[3]) is not None and opened.pictures.of(ids[4]) is None


def test_a_library_of_the_sample_is_told_by_its_source(tmp_path: Path) -> None:
    made = Library.build(specimens("train", 40), calibration=specimens("val", 2), info={"source": describe_source()[0]})
    made.save(tmp_path / "lib")
    opened = Served.open(str(tmp_path / "lib"))
    assert opened.simulated and opened.name == "lib" and "SIMA0085-26" in opened.pictures


def test_wrong_use(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such library: 'nothing'"):
        Served.open("nothing")
    with pytest.raises(ValueError, match="is no library"):
        Served.open(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no-photos"):
        Served.open(str(saved), images=str(tmp_path / "no-photos"))
    with pytest.raises(ValueError, match="`max_error` must be between 0 and 1"):
        Served.open(str(saved), max_error=1)
