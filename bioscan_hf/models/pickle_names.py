"""The names of functions and classes that a pickle asks for, found without reading it: its reader would call them."""

from __future__ import annotations

import io
import pickletools
import re
from pathlib import Path
from typing import IO

import torch

# In front of its storages, a file of torch before 1.6 has these pickles: a magic number, a version, the system, the
# content, the names of the storages.
_PICKLES_BEFORE_STORAGES = 5
# What `torch.save` writes for tensors, and for the state of optimisers and schedulers. Torch's restricted reader allows
# more, such as `bytearray` and classes of tensors, by which a few bytes ask for any amount of memory.
_NEEDED = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|complex)"
    r"|torch\.(Size|device|[A-Z][A-Za-z0-9]*Storage|bool|(b?float|u?int|complex)\w*)"
    r"|torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
)
_UNTYPED = "torch.UntypedStorage"
# Some codecs take a time that grows with the square of a text; the numbers of numpy have a few letters.
_ENCODE, _LONGEST_ENCODED = "_codecs.encode", 10_000


def surplus_names(path: Path, *, is_zip: bool) -> list[str]:
    """Names that a file of `torch.save` asks for and that tensors and plain values do not need, sorted.

    Args:
        path: The file.
        is_zip: Whether it is of torch 1.6 or newer.

    Raises:
        ValueError: If it is damaged, or of another kind.
        OSError: If it cannot be read.
    """
    names: set[str] = set()
    longest = 0
    try:
        if is_zip:
            # As torch finds it: another reader may find another entry of this name.
            record: bytes = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
            longest = _scan(io.BytesIO(record), names)
        else:
            with path.open("rb") as file:
                longest = max(_scan(file, names) for _ in range(_PICKLES_BEFORE_STORAGES))
    except (RuntimeError, ValueError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"'{path}' is no checkpoint of torch.save, or is damaged ({reason}); download it again."
        ) from error
    if _ENCODE in names and longest > _LONGEST_ENCODED:
        return [_ENCODE]
    return sorted(name for name in names if not _NEEDED.fullmatch(name) or name == _UNTYPED)


def _scan(file: IO[bytes], names: set[str]) -> int:
    """Add the names in a pickle; returns the letters of its longest text."""
    longest = 0
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            # The name that Python 2 had, and that pickles of protocol 2 have to this day.
            names.add(str(argument).replace(" ", ".").replace("__builtin__.", "builtins."))
        elif opcode.name == "STACK_GLOBAL":
            names.add("a name that is made while it is read")
        elif isinstance(argument, str):
            longest = max(longest, len(argument))
    return longest
