"""The commands on the pages are understood as they stand: each option exists, and its value is of the right kind."""

import functools
import re
import shlex
from typing import Any

import pytest
import typer

from bioscan_hf.cli.program import app
from tests.test_documented_code import PAGES, ROOT

BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANYWHERE = {"--debug", "--quiet", "-q", "--verbose", "-v"}
"""Options that the program takes out of the line before it reads the rest."""


def commands() -> list:
    cases = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(re.split(r"\s(?:>|\||&&)\s", line)[0], comments=True)
                # After `torchrun` and the like.
                if "bioscan" in words and "..." not in words:
                    words = words[words.index("bioscan") + 1 :]
                    cases.append(pytest.param(words, id=f"{page.relative_to(ROOT)}: {' '.join(words)[:60]}"))
    return cases


@functools.cache
def program() -> Any:
    """The program with all its commands: made once, as that is most of the work here."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("words", commands())
def test_command_is_understood(words: list[str]) -> None:
    command = program()
    context = command.make_context("bioscan", [word for word in words if word not in ANYWHERE])
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def test_a_misspelt_option_would_be_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        test_command_is_understood(["benchmark", "barcode", "--modle", "kmer:4"])
