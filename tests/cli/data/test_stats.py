import json
from pathlib import Path

import datasets
import pytest

from bioscan_hf import load_specimens
from bioscan_hf.data import report
from tests.cli.test_program import run
from tests.made_release import make_release

WRITTEN = ["barcode_lengths.png", "category_sizes.png", "index.html", "sites.png", "statistics.json", "taxonomy.png"]


def test_embedded_sample_becomes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert run(monkeypatch, "data", "stats", "--output", str(output)) == 0
    assert sorted(path.name for path in output.iterdir()) == WRITTEN
    shown = capsys.readouterr().out
    assert "16,000 specimens: bioscan_hf sample (simulated specimens), revision" in shown and "index.html" in shown
    assert "<title>Embedded sample</title>" in (output / "index.html").read_text(encoding="utf-8")


def test_own_file_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fasta = tmp_path / "own.fasta"
    rows = load_specimens().select(range(30))
    fasta.write_text("".join(f">{row['processid']}\n{row['dna_barcode']}\n" for row in rows))
    words = ["data", "stats", "--data", str(fasta), "--output", str(tmp_path / "out"), "--json"]
    assert run(monkeypatch, *words) == 0
    figures = json.loads((tmp_path / "out" / "statistics.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == figures
    assert figures["specimens"] == 30 and figures["source"].startswith("own.fasta, revision ")
    assert [split["split"] for split in figures["splits"]] == [None]
    assert not (tmp_path / "out" / "sites.png").exists()


def test_release_is_compared_with_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    make_release(tmp_path / "release")
    words = ["data", "stats", "--root", str(tmp_path / "release"), "--output", str(tmp_path / "out")]
    assert run(monkeypatch, *words) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<title>BIOSCAN-5M</title>" in page and "published: 4,677,756" in page


def test_failure_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(report, "report_page", fail)
    assert run(monkeypatch, "data", "stats", "--output", str(tmp_path / "out")) == 1
    assert "No space left" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--root", "a", "--data", "b.csv"], 2, "--root and --data are two sources"),
        (["--root", "nowhere"], 1, "No metadata in 'nowhere'"),
        (["--data", "no.csv"], 1, "No such file: 'no.csv'"),
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
    assert run(monkeypatch, "data", "stats", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert not list(tmp_path.iterdir())
