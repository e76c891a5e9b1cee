"""Docstrings as the reference shows them."""

from pathlib import Path

import griffe
from docs_site.docstrings import Docstrings, attributes, fenced


def test_examples_are_code_up_to_the_next_paragraph() -> None:
    assert fenced("A.\n\n>>> [1][0]\n1\n>>> 2\n2\n\nB.") == "A.\n\n```pycon\n>>> [1][0]\n1\n>>> 2\n2\n```\n\nB."
    assert fenced("No example, but 3 >>> 2.") == "No example, but 3 >>> 2."


def test_names_of_attributes() -> None:
    text = "A.\n\nAttributes:\n    a: One.\n\n    b: Two\n        c: no name.\n\nMore:\n    d: of something else.\n"
    assert attributes(text) == ["a", "b"] and attributes("No attributes: none.") == []


def test_an_attribute_of_a_foreign_class_has_no_type(tmp_path: Path) -> None:
    source = '''
from elsewhere import Base

class Own(Base):
    """A class.

    Attributes:
        first: Our own.
        second: Of the base.
    """

    first: int = 1
'''
    (tmp_path / "made.py").write_text(source)
    extensions = griffe.load_extensions(Docstrings)
    module = griffe.load("made", search_paths=[str(tmp_path)], extensions=extensions)
    sections = module["Own"].docstring.parse("google")
    [documented] = [section.value for section in sections if section.kind.value == "attributes"]
    assert [(attribute.name, str(attribute.annotation)) for attribute in documented] == [
        ("first", "int"),
        ("second", "None"),
    ]
