"""Texts from files in errors and warnings: one line, fit for a terminal, not too long."""

from __future__ import annotations

LONGEST = 300
"""Characters of a file's text that a message shows."""


def shown(text: object, most: int = LONGEST) -> str:
    r"""Write a text from a file so that it can stand in a message.

    Args:
        text: Whatever was found; its `str` is shown.
        most: Characters after which it breaks off.

    Returns:
        The text, with what cannot be printed (ends of lines, the control sequences of terminals) as escapes.

    >>> shown("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    >>> shown(list(range(100)), 10)
    '[0, 1, 2, ...'
    """
    whole = str(text)
    cut = whole[:most]
    line = cut if cut.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)
    return line if len(whole) <= most else f"{line}..."


def reason_of(error: BaseException) -> str:
    """What an error of a library says, in its first line; its name if it says nothing."""
    return shown((str(error).strip() or type(error).__name__).splitlines()[0])
