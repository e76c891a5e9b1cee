import argparse
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from bioscan_hf.models.legacy_checkpoints import StandIn, checked_tensors, read_checkpoint

PROTO, STOP = b"\x80\x02", b"."


class Calls:
    """Pickles to a call."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.call


def training_content() -> dict[str, Any]:
    return {
        "model": {"weight": torch.arange(6.0).view(2, 3)},
        # Before torch 2.4 a scheduler's state held a method, which is a call of `getattr`.
        "scheduler": {"anneal_func": Calls(getattr, OneCycleLR, "_annealing_cos"), "last_epoch": 3},
        "epoch": 7,
        "max_accuracy": np.float64(1.5),
        "config": argparse.Namespace(k_mer=4, run_name="a run"),
    }


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def archive(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file as `torch.save` writes it, with this pickle."""
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, pickled if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_training_checkpoint_is_read(zipped: bool, tmp_path: Path) -> None:
    torch.save(training_content(), tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(tmp_path / "c.pt")
    assert torch.equal(checked_tensors(read["model"], tmp_path)["weight"], torch.arange(6.0).view(2, 3))
    assert read["config"] == {"k_mer": 4, "run_name": "a run"} and read["epoch"] == 7
    method = read["scheduler"]["anneal_func"]
    assert type(method) is StandIn and method.arguments[1] == "_annealing_cos"
    assert type(read["max_accuracy"]) is StandIn and not callable(method)


def test_files_of_the_reference(shared: Path) -> None:
    files = sorted((shared / "parity" / "barcodebert").glob("small_checkpoint_*.pt"))
    assert len(files) == 3
    for file in files:
        read = read_checkpoint(file)
        assert read["config"]["k_mer"] == 4 and read["bert_config"]["vocab_size"] == 258
        assert len(checked_tensors(read["model"], file)) == 39


def test_safetensors(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "c.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "c.safetensors")["a"], torch.ones(2))
    (tmp_path / "c.safetensors").write_bytes(b"no header at all")
    with pytest.raises(ValueError, match=r"c\.safetensors' is no safetensors file"):
        read_checkpoint(tmp_path / "c.safetensors")


def test_tensors_are_mapped_not_copied(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "c.pt")
    before = read_checkpoint(tmp_path / "c.pt")["a"]
    with (tmp_path / "c.pt").open("r+b") as file:
        content = file.read()
        file.seek(content.index(bytes(1 << 20)))
        file.write(b"1" * 1024)
    assert before.any()


HOSTILE: dict[str, Callable[[str], Any]] = {
    "posix.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "builtins.eval": lambda mark: Calls(eval, f"open({mark!r}, 'w')"),
    "builtins.exec": lambda mark: {"model": {}, "config": Calls(exec, f"open({mark!r}, 'w')")},
    "io.open": lambda mark: Calls(open, mark, "w"),
    "argparse.FileType": lambda mark: Calls(argparse.FileType, "w"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zipped", [True, False])
def test_more_than_a_checkpoint_needs_is_refused_by_name(name: str, zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save(HOSTILE[name](str(mark)), tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    short = name.removeprefix("builtins.")  # as torch's reader writes it
    with pytest.raises(
        ValueError, match=rf"c\.pt' is refused: it asks for \S*{short}, .* Nothing of it was run"
    ) as error:
        read_checkpoint(tmp_path / "c.pt")
    assert not mark.exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_pickle_is_refused(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "c.pt").write_bytes(pickle.dumps(Calls(os.system, f"touch {mark}"), protocol=protocol))
    with pytest.raises(ValueError, match=r"c\.pt' is"):
        read_checkpoint(tmp_path / "c.pt")
    assert not mark.exists()


GETATTR, NAMESPACE = glob("__builtin__", "getattr"), glob("argparse", "Namespace")
TRICKS = {
    # getattr(Namespace, "__init__").__globals__ is the way to everything, if `getattr` is the real one.
    "real getattr": call(call(GETATTR, NAMESPACE, text("__init__"))),
    "class of a stand-in": call(GETATTR, call(NAMESPACE), text("__class__")) + b"(t\x81",
    "name by STACK_GLOBAL": text("posix") + text("system") + b"\x93" + b"(" + text("touch mark") + b"tR",
    "dotted name": call(glob("argparse", "Namespace.__init__.__globals__"), text("a")),
    "module that a stand-in comes from": call(glob("bioscan_hf.models.legacy_checkpoints", "read_checkpoint")),
    "items of a stand-in": call(NAMESPACE) + text("a") + text("b") + b"s",
    "appended to a stand-in": call(NAMESPACE) + text("a") + b"a",
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_stand_ins_cannot_be_used(trick: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive(tmp_path / "c.pt", PROTO + trick + STOP)
    with pytest.raises(ValueError, match=r"c\.pt' is"):
        read_checkpoint(tmp_path / "c.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_state_of_a_stand_in_is_only_kept(tmp_path: Path) -> None:
    # {"a": Namespace()}, built with a state that names what it would overwrite.
    state = b"}(" + text("__class__") + text("x") + text("__setstate__") + text("y") + b"u"
    archive(tmp_path / "c.pt", PROTO + b"}" + text("a") + NAMESPACE + b")\x81" + state + b"bs" + STOP)
    assert read_checkpoint(tmp_path / "c.pt") == {"a": {"__class__": "x", "__setstate__": "y"}}
    state = b"}" + text("a") + text("x") + b"s"
    archive(tmp_path / "c.pt", PROTO + b"}" + text("a") + call(GETATTR) + b"N" + state + b"\x86bs" + STOP)
    kept = read_checkpoint(tmp_path / "c.pt")["a"]
    assert kept.state == (None, {"a": "x"}) and not hasattr(kept, "a") and not hasattr(kept, "__dict__")


def test_what_others_allow_is_not_allowed_here(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save(Calls(open, str(mark), "w"), tmp_path / "c.pt")
    with torch.serialization.safe_globals([open, (dict, "argparse.Namespace")]):
        allowed = set(torch.serialization.get_safe_globals())
        with pytest.raises(ValueError, match=r" io\.open"):
            read_checkpoint(tmp_path / "c.pt")
        assert set(torch.serialization.get_safe_globals()) == allowed
    assert not mark.exists()


def test_reading_is_restricted_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(Calls(open, str(tmp_path / "mark"), "w"), tmp_path / "c.pt")
    with pytest.raises(ValueError, match="Nothing of it was run"):
        read_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1", b"\x80", bytes(600)],
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.pt' is") as error:
        read_checkpoint(tmp_path / "c.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_files_are_refused(zipped: bool, tmp_path: Path) -> None:
    torch.save(training_content(), tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "c.pt").read_bytes()
    for size in range(0, len(whole), 97):
        (tmp_path / "c.pt").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"c\.pt' is"):
            checked_tensors(read_checkpoint(tmp_path / "c.pt")["model"], tmp_path / "c.pt")


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    archive(tmp_path / "c.pt", b"\x80\x02}.", zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {1: torch.ones(2)}, argparse.Namespace(a=1)])
def test_other_content_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="no dict of named values"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no state dict"),
        ([torch.ones(1)], "no state dict"),
        ({}, "no state dict"),
        ({1: torch.ones(1)}, "names must be text"),
        ({"a": "b"}, "'a' in 'f' must be a tensor; got str"),
        ({"a": torch.eye(2).to_sparse()}, "sparse"),
        ({"a": torch.ones(2, device="meta")}, "without values"),
        ({"a": torch.ones(1).expand(1 << 40)}, "fewer numbers than the shape of 'a' needs"),
    ],
)
def test_state_dict_must_hold_plain_tensors(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_tensors(content, Path("f"))


def test_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "c.pt")
    content = (tmp_path / "c.pt").read_bytes()
    # 1,000 = 0x3e8 stands as BININT2 in the number of elements and in the shape.
    (tmp_path / "c.pt").write_bytes(content.replace(b"M\xe8\x03", b"M\xe8\xff"))
    with pytest.raises(ValueError, match=r"c\.pt' is"):
        checked_tensors(read_checkpoint(tmp_path / "c.pt"), tmp_path / "c.pt")


def test_parameters_are_detached(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, tmp_path / "c.pt")
    tensor = checked_tensors(read_checkpoint(tmp_path / "c.pt"), tmp_path)["a"]
    assert type(tensor) is Tensor and not tensor.requires_grad


@pytest.mark.parametrize("name", ["missing.pt", "."])
def test_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        read_checkpoint(tmp_path / name)
