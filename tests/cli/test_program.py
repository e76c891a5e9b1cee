import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from bioscan_hf import __version__
from bioscan_hf.cli.program import main


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the program in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["bioscan", *words])
    try:
        main()
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"bioscan {__version__}"
    assert others[:3] == [
        f"python {platform.python_version()}",
        f"torch {torch.__version__}",
        f"transformers {transformers.__version__}",
    ]


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_names_the_commands(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 0
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--foo"], 2, "No such option: --foo"),
        (["dance"], 2, "No such command 'dance'"),
        (["demo", "--steps", "3"], 2, "See `bioscan demo --help`."),
        (["demo", "--max-steps", "0"], 2, "--max-steps"),
        (["demo", "--max-steps", "many"], 2, "valid integer"),
        (["demo", "--private"], 2, "--push-to-hub REPO, which was not given"),
        (["demo", "--data", "no.csv"], 1, "No such file: 'no.csv'"),
        (["demo", "--splits", "no.csv"], 1, "No such file: 'no.csv'"),
        (["demo", "--push-to-hub", "a/b/c"], 1, "a/b/c"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
    assert not list(tmp_path.iterdir())


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        run(monkeypatch, "demo", "--data", "no.csv", "--debug")


def test_program_is_installed() -> None:
    program = Path(sys.executable).with_name("bioscan")
    result = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert result.stdout.startswith(f"bioscan {__version__}\n") and not result.stderr
