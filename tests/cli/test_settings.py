import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import typer
from typer.testing import CliRunner

from bioscan_hf.cli.settings import command_of
from bioscan_hf.training.settings import check_settings, setting


@dataclass(frozen=True)
class Base:
    panel: ClassVar[str] = "Of the base"

    rounds: int = setting("How often.", 3, minimum=1)
    speed: float | None = setting("How fast.", None)


@dataclass(frozen=True)
class Dance(Base):
    panel: ClassVar[str] = "Of the dance"

    name: str = setting("Which one.")
    step_size: Literal["small", "large"] = setting("How wide.", "small")
    music: bool = setting("Whether there is any.", True)
    shoes: bool = setting("Whether they are worn.", False)
    notes: Path | None = setting("Where they are.", None)

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.fixture
def dances() -> list[Dance]:
    """What the command was called with."""
    return []


@pytest.fixture
def call(dances: list[Dance], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command; returns its exit code and what it wrote."""

    def dance(given: Dance) -> None:
        """Dance as told.

        In two paragraphs.
        """
        dances.append(given)

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    app = typer.Typer()
    app.command()(command_of(Dance, dance))

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, list(words))

    return run


def test_help_shows_each_field_with_its_default_and_the_required_first(call: Any) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", call("--help").output)
    assert "Dance as told." in text and "In two paragraphs." in text
    rows = {match[1]: line for line in text.splitlines() if (match := re.search(r"(--[a-z-]+)", line))}
    shown = {name: match[1] for name, row in rows.items() if (match := re.search(r"\(default: (\w+)\)", row))}
    assert shown == {"--rounds": "3", "--step-size": "small", "--music": "yes", "--shoes": "no"}
    assert "How often." in rows["--rounds"] and "x>=1" in rows["--rounds"]
    assert "small|large" in rows["--step-size"] and "--no-music" in rows["--music"]
    titles = ["Required", "Of the dance", "Of the base"]
    assert sorted(titles, key=text.index) == titles
    assert text.index("Required") < text.index("--name") < text.index("Of the dance")


def test_what_is_not_given_is_the_default(call: Any, dances: list[Dance]) -> None:
    assert call("--name", "waltz").exit_code == 0
    assert dances == [Dance(name="waltz")]


def test_all_kinds_of_options(call: Any, dances: list[Dance]) -> None:
    words = [
        "--name",
        "tango",
        "--rounds",
        "5",
        "--speed",
        "1e-3",
        "--step-size",
        "large",
        "--no-music",
        "--shoes",
        "--notes",
        "a/b",
    ]
    assert call(*words).exit_code == 0
    expected = Dance(name="tango", rounds=5, speed=1e-3, step_size="large", music=False, shoes=True, notes=Path("a/b"))
    assert dances == [expected]


def test_file_gives_what_no_option_gives(call: Any, dances: list[Dance], tmp_path: Path) -> None:
    path = tmp_path / "dance.yaml"
    path.write_text("name: waltz\nrounds: 7\nshoes: true\nmusic: false")
    assert call("--config", str(path), "--rounds", "2", "--no-shoes").exit_code == 0
    assert dances == [Dance(name="waltz", rounds=2, music=False)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nam", "waltz"], "No such option"),
        (["--name", "waltz", "--rounds", "0"], "--rounds"),
        (["--name", "waltz", "--rounds", "many"], "valid integer"),
        (["--name", "waltz", "--step-size", "huge"], "--step-size"),
    ],
)
def test_wrong_options_are_wrong_usage(words: list[str], message: str, call: Any, dances: list[Dance]) -> None:
    result = call(*words)
    assert result.exit_code == 2 and message in result.output and not dances


def test_missing_required_option_is_named(call: Any, dances: list[Dance]) -> None:
    result = call()
    assert result.exit_code == 2 and not dances
    assert "--name must be given" in re.sub(r"\x1b\[[0-9;]*m", "", result.output)
