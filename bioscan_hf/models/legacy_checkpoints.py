"""Checkpoint files of training code: pickles of `torch.save`, opened without running anything they ask for.

A pickle names functions and classes that its reader calls. Checkpoints of BarcodeBERT and CLIBD name a few beside
tensors: the arguments of the training script (`argparse.Namespace`), a method of the learning rate scheduler
(`getattr`), a number of numpy. Here each of these names means a stand-in that only keeps what it is given. Torch's
restricted reader (`weights_only=True`) refuses every other name, and everything that is no tensor or plain value.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bioscan_hf.models.pickle_names import surplus_names

_SCHEDULERS = (
    *("ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LambdaLR"),
    *("LinearLR", "MultiStepLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"),
)
_NAMESPACE = "argparse.Namespace"
_KEPT_AS_STAND_INS = (
    "builtins.getattr",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    *(f"torch.optim.lr_scheduler.{name}" for name in _SCHEDULERS),
)
_STAND_IN_NAMES = frozenset((_NAMESPACE, *_KEPT_AS_STAND_INS))
_ZIP_START = b"PK\x03\x04"
# Tensors may share their numbers, as a decoder those of the embeddings; each gets its own in a model.
_MOST_SHARED = 4
_SHOWN = 6
_REFUSED = (
    "'{}' is refused: {}. Nothing of it was run. If you trust it, save its tensors with safetensors.torch.save_file "
    "where it was made, and convert that file."
)


class StandIn:
    """Stands in a checkpoint's content for an object that is not made, and for the result of a call that is not run.

    Attributes:
        arguments: What the object would have been made of.
        state: What its attributes would have been.
    """

    # No `__dict__`: a pickle can set nothing else.
    __slots__ = ("arguments", "state")

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> StandIn:
        """Keep the arguments; both ways in which a pickle makes an object end here."""
        self = super().__new__(cls)
        self.arguments, self.state = arguments, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Namespace(StandIn):
    """Stands for the arguments of a training script."""

    __slots__ = ()


_ALLOWED: list[Any] = [(_Namespace, _NAMESPACE), *((StandIn, name) for name in _KEPT_AS_STAND_INS)]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything.

    Tensors are mapped from the file where its format allows, not copied: the file must stay as it is while they are
    used.

    Args:
        path: File of `torch.save`, in the format of today or of torch before 1.6, or a `.safetensors` file.

    Returns:
        The dict in the file. A Namespace at its first level is a dict, too; any other object is a `StandIn`.

    Raises:
        ValueError: If the file asks for anything but tensors, plain values and what has a stand-in; or if it is no
            checkpoint, is damaged, or holds no dict.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_ZIP_START))
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"'{path}' is no safetensors file, or is damaged ({error}).") from error
    content = _unpickled(path, is_zip=start == _ZIP_START)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"'{path}' holds no dict of named values, so it is no checkpoint.")
    return {key: _arguments(value) if isinstance(value, _Namespace) else value for key, value in content.items()}


def checked_tensors(content: object, path: Path) -> dict[str, torch.Tensor]:
    """Make sure that a state dict holds nothing but tensors that are what they seem.

    Args:
        content: What should be a state dict.
        path: Where it was read, for the error.

    Returns:
        Its tensors, detached, by name.

    Raises:
        ValueError: If there is anything else in it, or a tensor that is not plain: sparse, or larger than what the
            file holds for it; or if they share so much that the model would be far larger than the file.
    """
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"'{path}' holds no state dict (names and tensors), so it is no checkpoint of a model.")
    held: dict[int, int] = {}
    total = 0
    for name, tensor in content.items():
        if not isinstance(name, str):
            raise ValueError(f"In the state dict in '{path}' names must be text; got {name!r}.")
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise ValueError(f"'{name}' in '{path}' must be a tensor; got {type(tensor).__name__}.")
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"'{name}' in '{path}' must be a plain tensor; it is sparse or without values.")
        if not tensor.numel():
            raise ValueError(f"'{name}' in '{path}' has the shape {tuple(tensor.shape)}: there are no numbers in it.")
        storage = tensor.untyped_storage()
        if storage.nbytes() < tensor.nbytes:
            raise ValueError(f"'{path}' is damaged: it holds fewer numbers than the shape of '{name}' needs.")
        held[storage.data_ptr()] = storage.nbytes()
        total += tensor.nbytes
    if total > _MOST_SHARED * sum(held.values()):
        raise ValueError(
            f"The tensors in '{path}' have {total:,} bytes, but share {sum(held.values()):,} of them; those of a model "
            "are each its own."
        )
    return {name: tensor.detach() for name, tensor in content.items()}


def _unpickled(path: Path, *, is_zip: bool) -> Any:
    if is_zip:
        _check_zip(path)
    if names := [name for name in surplus_names(path, is_zip=is_zip) if name not in _STAND_IN_NAMES]:
        asked = f"it asks for {', '.join(names[:_SHOWN])}, which the tensors of a model do not need"
        raise ValueError(_REFUSED.format(path, asked))
    with _only_stand_ins(), warnings.catch_warnings():
        # Of other versions of pickle; whatever comes of it is said below.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        except UnpicklingError as error:
            raise ValueError(_REFUSED.format(path, "it holds more than tensors and plain values")) from error
        # What bytes that are no pickle do to the reader is not foreseeable.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"'{path}' is no checkpoint of torch.save, or is damaged ({reason}); download it again."
            ) from error


@contextmanager
def _only_stand_ins() -> Iterator[None]:
    """Let torch's reader know our stand-ins and no class that another library has allowed."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(_ALLOWED)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _check_zip(path: Path) -> None:
    """Refuse what `torch.save` does not write: compressed entries are read as numbers, or fill the memory."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            comment = file.comment
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is damaged, or was not downloaded to its end ({error}).") from error
    if compressed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(f"'{path}' is no checkpoint of torch.save: {compressed[0]!r} in it is compressed.")
    # Readers differ in which of several entries they take for one.
    names = {entry.filename.lower() for entry in entries}
    if comment or len(names) < len(entries) or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError(f"'{path}' is no checkpoint of torch.save: its entries overlap, or there is more than those.")


def _arguments(namespace: _Namespace) -> dict[str, Any]:
    return dict(namespace.state) if isinstance(namespace.state, Mapping) else {}
