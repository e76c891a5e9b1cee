"""Pages of commands, made of a small program."""

from typing import Annotated, Literal

import pytest
import typer
from docs_site.commands import command_pages


def made() -> typer.Typer:
    app = typer.Typer(help="A program.")
    group = typer.Typer(help="Two things.")

    @app.command(epilog="```bash\nbioscan count x --many 2\n```", rich_help_panel="Numbers")
    def count(
        source: Annotated[list[str], typer.Argument(help="What | is counted.", metavar="INPUT")],
        kind: Annotated[Literal["a", "b"], typer.Option(help="Either; as --many.")] = "a",
        many: Annotated[int, typer.Option(help="How many *_1; `a_b`.", min=1, rich_help_panel="More")] = 3,
    ) -> None:
        """Count something.

        More about it.
        """

    @app.command(hidden=True)
    def secret() -> None:
        """Hide."""

    @group.command("one")
    def one(loud: Annotated[bool, typer.Option(help="Be loud.")] = True) -> None:
        """Do the first."""

    @group.command("two")
    def two() -> None:
        """Do the second."""

    app.add_typer(group, name="both")
    return app


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return command_pages(made())


def test_there_is_a_page_for_each_command_that_is_shown(pages: dict[str, str]) -> None:
    assert list(pages) == [f"reference/commands/{name}.md" for name in ("index", "count", "both")]
    index = pages["reference/commands/index.md"]
    assert "\n## Numbers\n\n" in index and "\n## Commands\n\n" in index and "secret" not in index
    assert "| [`bioscan count`](count.md) | Count something. |" in index


def test_a_page_has_help_example_arguments_and_options(pages: dict[str, str]) -> None:
    page = pages["reference/commands/count.md"]
    assert page.startswith("# `bioscan count`\n\nCount something.\n\nMore about it.\n\n")
    assert "\n\n```bash\nbioscan count x --many 2\n```\n" in page
    assert r"What \| is counted." in page and "**Arguments**" in page and "**More**" in page
    assert "| <code>--kind &lt;a&#124;b&gt;</code> | Either; as `--many`. [default: a] |" in page
    assert "| <code>INPUT &lt;str&gt; ...</code> |" in page and "| <code>--many &lt;int&gt;</code> |" in page
    assert r"How many \*\_1; `a_b`. [default: 3; x&gt;=1]" in page and "--help" not in page


def test_a_group_has_its_commands_on_one_page(pages: dict[str, str]) -> None:
    page = pages["reference/commands/both.md"]
    assert page.index("# `bioscan both`") < page.index("## `bioscan both one`") < page.index("## `bioscan both two`")
    assert "<code>--loud</code><br><code>--no-loud</code>" in page
