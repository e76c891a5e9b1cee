"""The file of `--config`: what a checkpoint does not tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_given(path: Path | None, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Read a JSON object of settings.

    Args:
        path: The file, if there is one.
        check: Raises `ValueError` for what the object must not hold.

    Returns:
        The object; an empty one without a file.

    Raises:
        ValueError: If the file holds no JSON object, or `check` refuses it.
        OSError: If it cannot be read.
    """
    if path is None:
        return {}
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is no JSON file ({error}).") from error
    if not isinstance(given, dict):
        raise ValueError(f"""'{path}' must hold a JSON object, as {{"name": value}}.""")
    check(given)
    return given
