import json
import shutil
from pathlib import Path

import pytest
from datatrove.executor import SlurmPipelineExecutor

from bioscan_hf.data.features import SPLIT_NAMES
from bioscan_hf.hub.dataset_contents import read_contents
from tests.cli.test_program import run
from tests.made_release import make_release, member


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    make_release(root)
    return root


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def test_release_is_converted_with_its_card(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert run(monkeypatch, "data", "convert", str(release), str(folder)) == 0
    shown = capsys.readouterr().out
    assert "cropped_256: 160 specimens" in shown and f"Written to {folder}/" in shown
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "eval.yaml", "metadata", "cropped_256", "labels", "order", "plan.json", "report.json")
    }
    contents = read_contents(folder)
    assert {family: tuple(splits) for family, splits in contents.items()} == {
        "metadata": SPLIT_NAMES,
        "cropped_256": SPLIT_NAMES,
    }
    assert "cropped_256/train-*" in (folder / "README.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}
    assert run(monkeypatch, "data", "convert", str(release), str(folder)) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*")} == before


def test_metadata_alone(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "data", "convert", str(release), str(tmp_path / "out"), "--metadata-only") == 0
    assert list(json.loads((tmp_path / "out" / "report.json").read_text())["rows"]) == ["metadata"]


def test_missing_image_is_one_line_or_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_release(tmp_path / "root")
    gone = next(row for row in rows if row["split"] == "train")
    make_release(tmp_path / "less", [row for row in rows if row != gone])
    for path in (tmp_path / "less").glob("*cropped_256*"):
        shutil.copy(path, tmp_path / "root")
    words = ["data", "convert", str(tmp_path / "root"), str(tmp_path / "out")]
    assert run(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert member(gone) in error and error.count("\n") == 1
    assert run(monkeypatch, *words, "--on-error", "skip") == 0
    assert f"1 left out, see report.json; the first is {gone['processid']}: no image" in capsys.readouterr().out


def test_slurm_jobs_are_submitted(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched: list[SlurmPipelineExecutor] = []
    monkeypatch.setattr(SlurmPipelineExecutor, "run", lambda self: launched.append(self))
    words = ["--executor", "slurm", "--partition", "cpu", "--time", "1:00:00", "--environment", "module load python"]
    assert run(monkeypatch, "data", "convert", str(release), str(tmp_path / "out"), *words, "--num-proc", "9") == 0
    assert "Jobs are submitted" in capsys.readouterr().out
    shards = launched[0].depends
    assert shards is not None
    assert (shards.partition, shards.time, shards.workers) == ("cpu", "1:00:00", 9)
    assert shards.env_command == "module load python" and not (tmp_path / "out" / "report.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Missing argument"),
        (["no", "out"], 1, "No metadata in 'no'"),
        (["no", "out", "--executor", "slurm"], 2, "needs --partition and --time"),
        (["no", "out", "--time", "1:00:00"], 2, "are for --executor slurm"),
        (["no", "out", "--executor", "spark"], 2, "spark"),
        (["no", "out", "--num-proc", "0"], 2, "--num-proc"),
        (["no", "out", "--metadata-only", "--package", "cropped"], 2, "contradict each other"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "data", "convert", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert not list(tmp_path.iterdir())


def test_unknown_package_is_named(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "data", "convert", str(release), str(tmp_path / "out"), "--package", "cropped_512") == 1
    assert "`package` must be one of" in capsys.readouterr().err
