"""Records of a JSON or JSON-LD list, read one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from bioscan_hf.data.features import COLUMN_NAMES
from bioscan_hf.data.messages import shown

CHUNK_CHARACTERS = 1 << 20
LONGEST_RECORD = 1 << 24
_SHOWN = 40
_BETWEEN = re.compile(r"[\s,]*")


def json_records(file: TextIO, name: str) -> Iterator[dict[str, Any]]:
    """Read the objects of a list without loading the whole list.

    Args:
        file: A list of objects, or a JSON-LD object whose `@graph` is such a list.
        name: Names the file in errors.

    Yields:
        The objects, in their order.

    Raises:
        ValueError: If the text is something else, breaks off, is nested too deeply, or has a number of absurd length.
    """
    decoder = json.JSONDecoder()
    buffer = file.read(CHUNK_CHARACTERS)
    opening = re.match(r'\s*(\[|\{(?:.(?!"@graph"))*?."@graph"\s*:\s*\[)', buffer, re.DOTALL)
    if opening is None:
        raise ValueError(f"{name} is not a list of records; expected '[' or an object with '@graph'.")
    at, number = opening.end(), 0
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
        if buffer.startswith("]", at):
            return
        try:
            record, end = decoder.raw_decode(buffer, at)
        except json.JSONDecodeError as error:
            more = file.read(CHUNK_CHARACTERS)
            if not more or len(buffer) - at > LONGEST_RECORD:
                raise ValueError(f"{name}, record {number + 1}: broken off or not JSON ({error.msg}).") from error
            buffer, at = buffer[at:] + more, 0
            continue
        except RecursionError as error:
            raise ValueError(f"{name}, record {number + 1}: lists or objects nested too deeply.") from error
        except ValueError as error:
            raise ValueError(f"{name}, record {number + 1}: {shown(error)}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{name}, record {number + 1}: expected an object; got '{shown(record, 40)}'.")
        yield record
        number, at = number + 1, end


def record_fields(record: Mapping[str, object]) -> list[bytes | None]:
    """Texts of the columns of the schema, as bytes; None where a record has none.

    Args:
        record: Has all columns.

    Raises:
        ValueError: If one is missing, or no text.
    """
    if missing := [name for name in COLUMN_NAMES if name not in record]:
        raise ValueError(f"lacks {missing}.")
    return [_text(name, record[name]) for name in COLUMN_NAMES]


def _text(name: str, value: object) -> bytes | None:
    # pandas writes NaN for what is missing.
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name!r} must be a text or a number; got '{shown(value, _SHOWN)}'.")
    try:
        return str(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} must be text in UTF-8; got '{shown(value, _SHOWN)}'.") from error
