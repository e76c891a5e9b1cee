from pathlib import Path

import pytest

from bioscan_hf.identification.library import Library
from tests.cli.test_program import run
from tests.hub_server.fixture import LocalHub
from tests.identification.made_library import save_clibd, specimens

# Commands in one process, for each has to import the same.
PROGRAM = """
import sys
from bioscan_hf.cli import main
for words in sys.argv[1:]:
    sys.argv = ["bioscan", *words.split()]
    main()
"""


def test_push_then_ask_for_it(hub: LocalHub, folder: Path) -> None:
    clibd = str(save_clibd(folder / "clibd"))
    Library.build(specimens("train", 30), calibration=specimens("val", 2), image_model=clibd).save(folder / "lib")
    repo = "bioscan-ml/some-library"
    result = hub.run(
        PROGRAM,
        folder,
        f"library push lib {repo} --private",
        f"library info {repo}",
        f"identify plain.csv --library {repo} --output names.csv",
    )
    shown = " ".join(result.stdout.split())
    assert f"Pushed: {hub.url}/{repo}/commit/" in result.stdout.replace("\n", "")
    assert hub.api().model_info(repo).private
    assert "image_model/model.safetensors" in hub.api().list_repo_files(repo)
    assert "model aligned image model clibd, revision " in shown
    assert "specimens 30 keys" in shown and "60 queries in" in shown and "warning" not in result.stderr
    assert len((folder / "names.csv").read_text().splitlines()) == 61


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["lib"], 2, "Missing argument 'repo'"),
        (["lib", "me/x"], 1, "'lib' is no library: it has no library.json"),
        (["lib", "me/x", "--public"], 2, "--public"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "library", "push", *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error
