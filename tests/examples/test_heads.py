"""The commands in the heads of scripts, settings and pages are commands, and say what the scripts do."""

import argparse
import ast
import re
import runpy
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bioscan_hf.cli import train
from bioscan_hf.cli.program import app
from tests.test_documented_commands import test_command_is_understood as understand

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
PAGES = [*SCRIPTS, *sorted(EXAMPLES.glob("*.md")), *sorted(EXAMPLES.glob("*/*.yaml"))]
HUB = "bioscan-ml/BIOSCAN-5M"
# With the lines that a backslash continues.
COMMAND = re.compile(r"(?<![\w`-])bioscan (?:pretrain|finetune|align) (?:[^\n\\]*\\\n)*[^\n]*")


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Takes the arguments of runs, that are not started."""
    taken: list[Any] = []
    monkeypatch.setattr(train, "_train", lambda make_task, arguments: taken.append(arguments))
    monkeypatch.chdir(ROOT)
    return taken


def commands(page: Path) -> list[list[str]]:
    text = re.sub(r"^# ?", "", page.read_text(), flags=re.MULTILINE)
    return [shlex.split(match[0].replace("\\\n", " ")) for match in COMMAND.finditer(text) if "..." not in match[0]]


def arguments_of(command: list[str], asked: list[Any]) -> Any:
    result = CliRunner().invoke(app, command[1:], catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0, result.output
    return asked.pop()


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=named)
def test_commands_that_train_are_commands(page: Path, asked: list[Any]) -> None:
    for command in commands(page):
        arguments_of(command, asked)


def test_each_file_of_settings_has_such_a_command() -> None:
    assert all(commands(page) for page in PAGES if page.suffix == ".yaml")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("pretrain_barcodebert.py", [Path("my-barcodebert")]),
        ("finetune_barcodebert_lora.py", ["barcodebert-small", Path("my-classifier")]),
        ("finetune_clibd_lora.py", ["clibd-small", Path("my-clibd")]),
    ],
)
def test_training_scripts_do_what_the_command_in_their_head_does(name: str, given: list[Any], asked: list[Any]) -> None:
    (command,) = commands(EXAMPLES / name)
    expected = runpy.run_path(str(EXAMPLES / name))["settings"](*given)
    assert arguments_of(command, asked) == expected
    if name.startswith("pretrain"):
        (command,) = commands(EXAMPLES / "config" / "pretrain_small.yaml")
        assert arguments_of(command, asked) == expected
    if "--method lora" in (EXAMPLES / name).read_text() and "finetune" in command:
        assert arguments_of([*command, "--merge-adapter"], asked) == replace(expected, merge_adapter=True)


class Parsed(Exception):  # no error: it ends a script
    """A script has parsed its command line."""


def head(script: Path) -> list[list[str]]:
    """The indented commands of a script's docstring."""
    text = (ast.get_docstring(ast.parse(script.read_text())) or "").replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_heads_tell_commands_for_the_sample_and_for_real_data(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: Any) -> None:
        raise Parsed(parse(parser, *given))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    sources = []
    for words in head(script):
        if words[0] == "bioscan":
            understand(words[1:])
            continue
        assert words[:2] == ["python", f"examples/{script.name}"]
        monkeypatch.setattr(sys, "argv", words[1:])
        with pytest.raises(Parsed) as parsed:
            runpy.run_path(str(script), run_name="__main__")
        sources.append(parsed.value.args[0].data)
    assert sources[0] == "sample"
    assert HUB in sources and not {"sample", HUB}.issuperset(sources)
    assert any(words[0] == "bioscan" for words in head(script))


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_scripts_are_short_and_hide_nothing_in_each_other(script: Path) -> None:
    source = script.read_text()
    assert 40 <= len(source.splitlines()) <= 120
    imported = re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)
    assert not {other.stem for other in SCRIPTS}.intersection(imported)
    assert "import _" not in source and not re.search(r"\w\._[a-z]", source), "they use what is public"


def test_the_page_lists_every_file() -> None:
    page = (EXAMPLES / "README.md").read_text()
    rows = {match[1]: match[0] for match in re.finditer(r"^\| \[`([^`]+)`\].*$", page, re.MULTILINE)}
    for file in [*SCRIPTS, *EXAMPLES.glob("*.ipynb"), *EXAMPLES.glob("config/*.yaml"), *EXAMPLES.glob("slurm/*")]:
        row = rows.pop(named(file))
        assert file.suffix not in (".py", ".ipynb") or re.search(r"\d+ s \|$", row), "how long it takes"
    assert not any(name.endswith((".py", ".ipynb")) for name in rows), "that are not there"
