import json
from pathlib import Path

import pytest

from tests.cli.test_program import run
from tests.made_release import make_release


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def test_checks_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(tmp_path)
    (tmp_path / "BIOSCAN_5M_cropped_256_eval.zip").unlink()  # as the whole package is there, too
    assert run(monkeypatch, "data", "verify", str(tmp_path)) == 1
    shown = capsys.readouterr()
    lines = {line.split("│")[1].strip(): line for line in shown.out.splitlines() if "│" in line}
    assert "passed" in lines["process ids are unique"] and "failed" in lines["MD5 of BIOSCAN_5M_cropped_256_train.zip"]
    assert "not applicable" in lines["specimens per split"]
    assert shown.err.startswith("bioscan: ") and shown.err.count("\n") == 1
    assert "checks failed: MD5 of BIOSCAN_5M_Insect_Dataset_metadata_MultiTypes.zip; MD5 of BIOSCAN_5M_c" in shown.err


def test_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(tmp_path / "root")
    assert run(monkeypatch, "data", "convert", str(tmp_path / "root"), str(tmp_path / "out"), "--json") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == report
    assert run(monkeypatch, "data", "verify", str(tmp_path / "out")) == 0
    shown = capsys.readouterr()
    assert "cropped_256: the specimens of the metadata" in shown.out and "failed" not in shown.out and not shown.err
    assert run(monkeypatch, "data", "verify", str(tmp_path / "out"), "--json") == 0
    checks = json.loads(capsys.readouterr().out)
    assert {check["outcome"] for check in checks} <= {"passed", "not applicable"}
    assert "cropped_256: the specimens of the metadata" in [check["check"] for check in checks]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_nothing_to_check_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, "data", "verify", str(tmp_path / name)) == 1
    error = capsys.readouterr().err
    assert error.startswith("bioscan: No ") and name in error and error.count("\n") == 1
