import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.progress import TextColumn
from rich.table import Table

from bioscan_hf.cli import program
from bioscan_hf.cli.logs import set_up_logs
from bioscan_hf.cli.screen import Screen, bars, say, set_level
from tests.cli.test_program import run


class Terminal(io.StringIO):
    """A file that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    yield
    set_level("normal")


def test_control_sequences_in_names_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    name = "Aus\x1b]0;x b\x9b2Jus\x7f"
    Screen.open().answers.print(name)
    table = Table("name")
    table.add_row(name)
    Screen.open().words.print(table)
    say(f"no species {name}", "red")
    Screen.open(as_json=True).document({"name": name})
    out, err = capsys.readouterr()
    shown = "Aus]0;x b2Jus"
    *printed, document = out.splitlines()
    assert printed[0] == shown and any(shown in line for line in printed[1:]) and err == f"no species {shown}\n"
    assert json.loads(document) == {"name": name}
    assert all(letter.isprintable() or letter == "\n" for letter in out + err)


def test_words_and_answers_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen.open()
    path = Path("a/" * 60)
    screen.words.print(f"Written to {path}")
    screen.answers.print("42 [specimens]")
    screen.document({"not": "asked for"})
    out, err = capsys.readouterr()
    assert out == f"Written to {path}\n42 [specimens]\n" and not err


def test_as_json_there_is_the_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen.open(as_json=True)
    screen.words.print("Written")
    screen.answers.print("a table")
    screen.document({"output": Path("é"), "count": 3})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"output": "é", "count": 3} and out.count("\n") == 1 and err == "Written\n"
    with pytest.raises(TypeError, match="set"):
        screen.document({1})


def test_quiet_leaves_answers(capsys: pytest.CaptureFixture[str]) -> None:
    set_level("quiet")
    screen = Screen.open()
    screen.words.print("Written")
    screen.answers.print("a table")
    assert capsys.readouterr().out == "a table\n"


@pytest.mark.parametrize(("terminal", "colour", "drawn"), [(True, "", True), (False, "", False), (False, "1", False)])
def test_bars_are_drawn_on_terminals_only(
    terminal: bool, colour: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if colour:
        monkeypatch.setenv("FORCE_COLOR", colour)
    file = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stdout", file)
    with bars(Screen.open().words, TextColumn("{task.description}")) as progress:
        progress.add_task("Counting", total=3)
    assert ("Counting" in file.getvalue()) == drawn


@pytest.mark.parametrize(
    ("terminal", "variable", "coloured"),
    [(True, None, True), (True, "NO_COLOR", False), (False, None, False), (False, "FORCE_COLOR", True)],
)
def test_errors_and_warnings_are_coloured_on_terminals(
    terminal: bool, variable: str | None, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    file = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setattr(program, "app", lambda *_, **__: warnings.warn("odd", stacklevel=1))
    assert run(monkeypatch, "dance") == 0
    monkeypatch.undo()
    assert "bioscan: warning: odd" in file.getvalue() and ("\x1b[" in file.getvalue()) == coloured


def test_options_that_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "data", "info", "-q", "--json") == 0
    found, err = capsys.readouterr()
    assert json.loads(found) and not err
    assert run(monkeypatch, "data", "-q", "info", "-v") == 2
    assert capsys.readouterr().err.startswith("bioscan: --quiet and --verbose contradict each other")
    # After `--` all are arguments.
    assert run(monkeypatch, "data", "info", "--", "-q") == 1
    assert "-q" in capsys.readouterr().err


def test_quiet_hides_warnings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(program, "app", lambda *_, **__: warnings.warn("odd", stacklevel=1))
    assert run(monkeypatch, "dance", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_verbose_shows_messages_with_times(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = (
        "",
        "bioscan_hf",
        "transformers",
        "transformers.configuration_utils",
        "datasets",
        "huggingface_hub",
        "accelerate",
        "httpx",
    )
    kept = [(logger := logging.getLogger(name), logger.level, logger.handlers[:], logger.propagate) for name in names]
    try:
        set_level("verbose")
        set_up_logs()
        logging.getLogger("transformers.configuration_utils").info("a long configuration")
        logging.getLogger("transformers.models").info("loading")
        logging.getLogger("bioscan_hf").info("done")
        lines = capsys.readouterr().err.splitlines()
        assert [line[8:] for line in lines] == [" transformers.models: loading", " bioscan_hf: done"]
        assert all(line[2] == line[5] == ":" for line in lines)
    finally:
        for logger, level, handlers, propagate in kept:
            logger.setLevel(level)
            logger.handlers[:], logger.propagate = handlers, propagate
