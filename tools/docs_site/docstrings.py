"""Extension of Griffe, which reads the docstrings for the reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*?(?=\n[ \t]*\n|\Z)", re.MULTILINE | re.DOTALL)
_ATTRIBUTES = re.compile(r"^Attributes:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)


def fenced(docstring: str) -> str:
    r"""Put fences around examples that stand outside a section.

    >>> fenced("Add.\n\n>>> 1 + 1\n2\n\nMore.")
    'Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore.'
    """
    return _EXAMPLE.sub(lambda match: f"```pycon\n{match[0].rstrip()}\n```", docstring)


def attributes(docstring: str) -> list[str]:
    r"""Names of the attributes that the docstring of a class describes.

    >>> attributes("A class.\n\nAttributes:\n    a: One.\n    b: Two,\n        on two lines: so.\n")
    ['a', 'b']
    """
    return [name for section in _ATTRIBUTES.findall(docstring) for name in re.findall(r"^ {4}(\w+):", section, re.M)]


class Docstrings(griffe.Extension):
    """Makes examples code wherever they stand, and keeps types of attributes apart."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change an object, once all of the package is read."""
        if obj.docstring is None:
            return
        obj.docstring.value = fenced(obj.docstring.value)
        for name in attributes(obj.docstring.value) if obj.is_class else ():
            try:
                obj[name]
            except KeyError:
                # Of an attribute that a foreign class gives, Griffe would state the type of the one before.
                obj.set_member(name, griffe.Attribute(name))
