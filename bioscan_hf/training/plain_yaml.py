"""YAML of names and plain values: what a file of settings needs, and nothing that could do more when it is read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

LARGEST_FILE = 1 << 20
"""Letters of a file at most."""

# The whole, a list of values, one of them.
_DEEPEST = 3


class _PlainLoader(yaml.SafeLoader):
    """Refuses references and deep nesting, by which a short text becomes large, and names that stand there twice."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _error("references (`*name`) are not read; write the value again", event)
        if self._depth == _DEEPEST:
            raise _error("values are plain, or lists of plain ones", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise _error(f"'{repeated[0]}' is given more than once", node)
        return dict(super().construct_mapping(node, deep))


def read_plain_yaml(text: str) -> Any:
    """Read YAML of names with plain values, or lists of these.

    Args:
        text: Of a file.

    Returns:
        What is in it; None if there is nothing.

    Raises:
        ValueError: If it is no such YAML; the message says where it is wrong.
    """
    if len(text) > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE:,} letters; expected some lines of settings")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split()).replace(' in "<unicode string>",', ",")) from error
    # What a value with a tag of YAML (`!!bool maybe`) does to its reader is not foreseeable.
    except Exception as error:
        raise ValueError(f"a value is not of its type ({error})") from error


def _error(message: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=place.start_mark)
