from pathlib import Path

import pytest

from bioscan_hf.hub.dataset_contents import files_of, read_contents
from bioscan_hf.hub.push import ATTEMPTS
from tests.cli.test_program import run
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import made_rows

TWICE = """
from bioscan_hf.cli import main
try:
    main()
except SystemExit as end:
    print("exit code", end.code)
main()
"""


def test_interrupted_push_says_so_in_one_line_and_goes_on(hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "converted"
    make_conversion(folder, made_rows(per_split=2), packages=())
    hub.fail("POST", "bioscan-ml/command/commit/", times=ATTEMPTS)
    result = hub.run(TWICE, tmp_path, "data", "push", str(folder), "bioscan-ml/command", "--private")
    assert "exit code 1" in result.stdout
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("bioscan: ")]
    assert "The push to bioscan-ml/command stopped" in message and "push again" in message
    assert "Uploading" in result.stdout
    assert f"Pushed: {hub.url}/datasets/bioscan-ml/command" in result.stdout.replace("\n", "")

    info = hub.api().dataset_info("bioscan-ml/command")
    assert info.private and info.card_data is not None and info.card_data["license"] == "cc-by-3.0"
    assert {file.rfilename for file in info.siblings or []} >= {*files_of(read_contents(folder)), "README.md"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["here"], 2, "Missing argument 'repo'"),
        (["here", "me/x", "--public"], 2, "--public"),
        (["here", "me/x"], 1, "'here' is not a complete conversion"),
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
    assert run(monkeypatch, "data", "push", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
