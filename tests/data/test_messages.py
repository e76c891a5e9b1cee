import pytest

from bioscan_hf.data.messages import reason_of, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Côte d'Ivoire", "Côte d'Ivoire"),
        ("a\nb\x1b[2J\x9b\u202e\udcff", r"a\nb\x1b[2J\x9b\u202e\udcff"),
        (["a", "b"], "['a', 'b']"),
        ("x" * 21, f"{'x' * 20}..."),
    ],
)
def test_a_text_is_one_short_line(text: object, expected: str) -> None:
    assert shown(text, 20) == expected


def test_an_error_without_words_has_its_name() -> None:
    assert reason_of(EOFError()) == "EOFError" and reason_of(ValueError("a\nb")) == "a"
