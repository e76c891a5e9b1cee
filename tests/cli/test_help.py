import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from bioscan_hf.cli.help import Program, split_help
from bioscan_hf.cli.help_text import PANELS
from bioscan_hf.cli.program import app
from tests.cli.test_program import run
from tests.test_documented_commands import test_command_is_understood as understand


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Every command and group, with the words that call it."""
    yield pytest.param(command, path, id=" ".join(("bioscan", *path)))
    for name, own in getattr(command, "commands", {}).items():
        yield from commands(own, (*path, name))


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("command", "path"), COMMANDS)
def test_examples_are_understood_and_fit_a_terminal(command: Any, path: tuple[str, ...]) -> None:
    examples = command.example_commands()
    assert examples and all(len(line) <= 78 for line in command.examples.splitlines())
    for words in examples:
        assert tuple(words[: len(path)]) == path
        understand(words)


@pytest.mark.parametrize(("command", "path"), COMMANDS)
def test_help_shows_whole_names_and_ends_with_the_examples(
    command: Any, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *path, "--help") == 0
    shown = capsys.readouterr().out
    assert "…" not in shown.replace("cuda:1 …", "").replace("kmer:6 …", "")
    assert all(len(line) <= 80 and line == line.rstrip() for line in shown.splitlines())
    for parameter in command.params:
        assert all(name in shown for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--"))
    _, _, examples = shown.partition("\nExamples\n")
    assert [line.removeprefix("  ") for line in examples.strip("\n").split("\n")] == command.examples.split("\n")


def test_the_program_alone_shows_its_commands_in_groups(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch) == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line in PANELS] == list(PANELS)
    assert "\nCommands\n" not in shown  # each command has its group
    assert len(re.findall(r"^  bioscan ", shown.partition("\nExamples\n")[2], flags=re.MULTILINE)) == 3


def test_examples_keep_lines_and_texts_do_not() -> None:
    program = Program(add_completion=False)

    @program.command()
    def dance() -> None:
        r"""Dance
        all night.

        Examples:
            # slowly
            bioscan dance \
                --slow
            bioscan dance
        """

    command: Any = typer.main.get_command(program).commands["dance"]  # type: ignore[attr-defined]
    assert command.help == "Dance\nall night."
    assert command.example_commands() == [["dance", "--slow"], ["dance"]]
    # Pages show them as a block of code.
    assert command.epilog == "```bash\n# slowly\nbioscan dance \\\n    --slow\nbioscan dance\n```"


def test_no_examples() -> None:
    assert split_help("Dance.") == ("Dance.", "") and split_help(None) == ("", "")
