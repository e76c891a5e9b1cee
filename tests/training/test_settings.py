from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.settings import PRESETS, SettingType, check_settings, make_settings, setting, setting_types


@dataclass(frozen=True)
class Dish:
    name: str = setting("What it is called.")
    max_eggs: int = setting("Eggs in it.", 2, minimum=0, maximum=12)
    salt: float = setting("Grams.", 1.0, above=0, below=100)
    heat: Literal["no", "low", "high"] = setting("How hot.", "low")
    stirred: bool = setting("Whether it is.", False)
    book: Path | None = setting("Where it stands.", None)

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Makes a dish of the text of a file, and of flags."""

    def make(text: str | bytes, **flags: Any) -> Dish:
        path = tmp_path / "dish.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return make_settings(Dish, flags, path)

    return make


def test_types_are_read_from_the_annotations() -> None:
    kinds = setting_types(Dish)
    assert kinds["max_eggs"] == SettingType(int, (), False)
    assert kinds["heat"] == SettingType(str, ("no", "low", "high"), False)
    assert kinds["book"] == SettingType(Path, (), True)


def test_file_and_flags_are_merged_and_a_flag_wins(made: Any) -> None:
    dish = made("name: soup\nmax_eggs: 3\nsalt: 5", max_eggs=4, salt=None, stirred=True)
    assert dish == Dish(name="soup", max_eggs=4, salt=5, stirred=True)


def test_names_may_have_hyphens_or_underscores(made: Any) -> None:
    assert made("name: a\nmax-eggs: 5").max_eggs == made("name: a\nmax_eggs: 5").max_eggs == 5


def test_a_flag_that_says_no_wins_over_the_file(made: Any) -> None:
    assert made("name: a\nstirred: true").stirred
    assert not made("name: a\nstirred: true", stirred=False).stirred


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("heat: no", "heat", "no"),
        ("heat: 'no'", "heat", "no"),
        ("salt: 1e-4", "salt", 1e-4),
        ("salt: 1.0e-4", "salt", 1e-4),
        ("salt: 3", "salt", 3),
        ("stirred: yes", "stirred", True),
        ("book: a/b", "book", Path("a/b")),
        ("book: null", "book", None),
        ("name: [a, b]", "name", "a,b"),
    ],
)
def test_what_yaml_reads_otherwise_is_put_right(text: str, field: str, value: Any, made: Any) -> None:
    found = getattr(made(text, **({} if field == "name" else {"name": "x"})), field)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_egs: 3", "there is no setting 'max_egs'. Did you mean 'max_eggs'?"),
        ("max-egs: 3", "there is no setting 'max-egs'. Did you mean 'max_eggs'?"),
        ("zzz: 3", r"there is no setting 'zzz'. Known are \['book', 'heat', 'max_eggs', 'name', 'salt', 'stirred'\]"),
        ("5: 3", "there is no setting 5"),
        ("max_eggs: many", "`max_eggs` must be a whole number; got 'many'. Eggs in it."),
        ("max_eggs: 2.5", "`max_eggs` must be a whole number; got 2.5"),
        ("max_eggs: true", "`max_eggs` must be a whole number; got True"),
        ("max_eggs: null", "`max_eggs` must be a whole number; got None"),
        ("max_eggs: -1", "`max_eggs` must be at least 0 and at most 12; got -1"),
        ("max_eggs: 13", "at most 12; got 13"),
        ("salt: 0", "`salt` must be above 0 and below 100; got 0"),
        ("salt: 100.0", "below 100; got 100.0"),
        ("salt: .nan", "`salt` must be above 0"),
        ("max_eggs: 3\nmax-eggs: 4", "dish.yaml.: `max_eggs` is given more than once"),
        ("salt: much", "`salt` must be a number; got 'much'"),
        ("salt: false", "`salt` must be a number; got False"),
        ("heat: hot", r"`heat` must be one of \['no', 'low', 'high'\]; got 'hot'"),
        ("heat: true", "`heat` must be one of .* got True"),
        ("stirred: 1", "`stirred` must be true or false; got 1"),
        ("name: 7", "`name` must be text; got 7"),
        ("name: {a: b}", "`name` must be text"),
        ("[a, b]", r"must hold names and values, such as `max_steps: 1000`; got \['a', 'b'\]"),
        ("soup", "must hold names and values"),
        ("a: [b", "dish.yaml' is no YAML: .*line 1"),
        (b"\xff\xfe\x00", "dish.yaml' is no YAML"),
    ],
)
def test_a_file_that_makes_no_sense_is_told(text: str | bytes, message: str, made: Any) -> None:
    flags = {} if b"name" in (text if isinstance(text, bytes) else text.encode()) else {"name": "x"}
    with pytest.raises(ValueError, match=message) as caught:
        made(text, **flags)
    assert "\n" not in str(caught.value)


def test_an_empty_file_gives_the_defaults(made: Any) -> None:
    assert made("# nothing", name="soup") == Dish(name="soup")


def test_what_is_required_and_missing_is_named(made: Any) -> None:
    with pytest.raises(ValueError, match=r"^--name must be given\.$"):
        make_settings(Dish, {})
    with pytest.raises(ValueError, match=r"--name must be given, here or in .*dish.yaml"):
        made("salt: 2")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"No such file: '.*no.yaml'; expected YAML .*, or one of the recipes clibd,"
    ):
        make_settings(Dish, {"name": "a"}, tmp_path / "no.yaml")


@pytest.mark.parametrize("name", PRESETS)
def test_recipes_of_the_package_are_found_by_name(name: str) -> None:
    made = make_settings(AlignmentArguments, {"data": "x", "output": Path("o")}, Path(name))
    assert made.train_split == "pretrain+train" and made.mixed_precision == "bf16"


def test_a_recipe_for_something_else_is_told() -> None:
    with pytest.raises(ValueError, match=r"'clibd': there is no setting 'train_split'"):
        make_settings(Dish, {"name": "a"}, Path("clibd"))


def test_a_file_of_the_name_of_a_recipe_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clibd").write_text("name: soup")
    assert make_settings(Dish, {}, Path("clibd")).name == "soup"
