"""Checkpoints of training code, pickled or not: nothing in them is run, takes memory, or reaches out of its numbers.

The long form: `BIOSCAN_FUZZ_EXAMPLES=20000 pytest tests/fuzz/test_checkpoints.py`.
"""

import io
import json
import os
import pickle
import resource
import struct
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from bioscan_hf.models import bounded as bounds
from bioscan_hf.models.barcodebert.convert_barcodebert import convert_barcodebert
from bioscan_hf.models.bounded import bounded
from bioscan_hf.models.legacy_checkpoints import checked_tensors, read_checkpoint
from tests.fuzz.helpers import tried
from tests.fuzz.mutations import mutated
from tests.made_checkpoints import HEADS, save_training, stock

few = tried(100)
# More than a file of some kilobytes may ask for.
MOST_KILOBYTES = 200_000


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def glob(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def call(name: str, *arguments: bytes) -> bytes:
    return glob(name) + b"(" + b"".join(arguments) + b"tR"


def tensor(numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], kind: str = "Float") -> bytes:
    """As `torch.save` writes one, with these claims about it; its storage holds four numbers."""
    storage = b"(" + text("storage") + glob(f"torch.{kind}Storage") + text("0") + text("cpu") + number(numel) + b"tQ"
    shapes = [b"(" + b"".join(map(number, shape)) + b"t" for shape in (size, stride)]
    return call("torch._utils._rebuild_tensor_v2", storage, number(offset), *shapes, b"\x89", b"}")


def named(value: bytes) -> bytes:
    return b"\x80\x02}" + text("a") + value + b"s."


def zipped(content: bytes, extra: dict[str, bytes] | None = None) -> bytes:
    """A file as `torch.save` writes it, with another pickle."""
    file = io.BytesIO()
    torch.save({"a": torch.arange(4.0)}, file)
    with zipfile.ZipFile(file) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as whole:
        for name, old in [*entries.items(), *(extra or {}).items()]:
            whole.writestr(name, content if name.endswith("data.pkl") else old)
    return new.getvalue()


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def tarred(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as whole:
        for name, content in {"../../owned": b"x", **entries}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            whole.addfile(info, io.BytesIO(content))
    return file.getvalue()


class Calls:
    """Pickles to a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call[0], self.call[1:]


GIGABYTES = call("builtins.bytearray", call("builtins.bytearray", number(8 * 10**9)))
HOSTILE = {
    "memory by bytes": zipped(named(GIGABYTES)),
    "time by counting": zipped(named(call("collections.Counter", GIGABYTES))),
    "memory by a class of tensors": zipped(named(call("torch.Tensor", number(10**5), number(10**5)))),
    "memory by a storage": zipped(named(call("torch.UntypedStorage", number(10**11)))),
    "time by a codec": zipped(named(call("_codecs.encode", text("ü" * 10**5), text("punycode")))),
    "numbers behind the storage": zipped(named(tensor(4, 2, (4,), (1,)))),
    "a stride out of the storage": zipped(named(tensor(4, 0, (4,), (10,)))),
    "a negative offset": zipped(named(tensor(4, -1, (4,), (1,)))),
    "a negative stride": zipped(named(tensor(4, 3, (4,), (-1,)))),
    "one number as many": zipped(named(tensor(4, 0, (10**6, 10**6), (0, 0)))),
    "a product that overflows": zipped(named(tensor(4, 0, (2**40, 2**40), (0, 0)))),
    "no numbers in a huge shape": zipped(named(tensor(4, 0, (0, 2**62), (1, 1)))),
    "a storage that is not there": zipped(named(tensor(10**12, 0, (10**12,), (1,)))),
    "many tensors of one storage": zipped(
        b"\x80\x02}(" + b"".join(text(str(i)) + tensor(4, 0, (4,), (1,)) for i in range(50)) + b"u."
    ),
    "entries with one name": zipped(named(b"N"), {"archive/DATA.PKL": b"x", "archive/data.PKL": b"y"}),
    "a tar file": tarred(pickle=pickle.dumps({}), storages=b"x", tensors=b"", sys_info=b""),
    **{f"os.system by protocol {i}": pickle.dumps(Calls(os.system, "touch owned"), protocol=i) for i in range(6)},
    "eval in a zip": saved({"a": Calls(eval, "open('owned', 'w')")}),
    "eval in the old format": saved({"a": Calls(eval, "open('owned', 'w')")}, _use_new_zipfile_serialization=False),
}


def read(path: Path) -> dict[str, torch.Tensor] | None:
    """What a conversion reads; None if it is refused, in one line that names the file."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        tensors = checked_tensors(read_checkpoint(path), path)
        sums = [tensor.reshape(-1)[:1] for tensor in tensors.values()]
        assert len(sums) == len(tensors)
    except ValueError as error:
        assert path.name in str(error) and "\n" not in str(error)
        tensors = None
    assert time.process_time() - start < 5, "a small file takes a long time"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_KILOBYTES, f"a small file takes {grown:,} kB"
    return tensors


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "in" / "c.pt").write_bytes(content)
    assert read(tmp_path / "in" / "c.pt") is None
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "c.pt"]


def test_the_same_without_the_harm_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_bytes(zipped(named(tensor(4, 1, (3,), (1,)))))
    tensors = read(tmp_path / "c.pt")
    assert tensors is not None and tensors["a"].tolist() == [1.0, 2.0, 3.0]


SEEDS = [
    saved({"model": {"w": torch.arange(6.0).view(2, 3)}, "epoch": 7}),
    saved({"w": torch.arange(6.0)}, _use_new_zipfile_serialization=False),
    zipped(named(tensor(4, 0, (4,), (1,)))),
    pickle.dumps({"a": 1}),
]


@few
@given(content=mutated(SEEDS))
@example(content=b"")
@example(content=b"PK\x03\x04")
def test_damaged_files(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "c.pt"
    path.write_bytes(content)
    read(path)


INSTRUCTIONS = (
    *(b"}", b"]", b")", b"(", b"t", b"R", b"b", b"s", b"u", b"e", b"a", b"Q", b"N", b"\x81", b"\x85", b"\x86", b"0"),
    *(b"q\x00", b"h\x00", b"2", b"\x93", b"\x94", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x95", b"\x97", b"i", b"o"),
    *(text("a"), text("storage"), number(10**9), number(3), tensor(4, 0, (4,), (1,)), GIGABYTES),
    *map(
        glob,
        [
            *("os.system", "builtins.eval", "__builtin__.getattr", "builtins.getattr", "argparse.Namespace"),
            *("torch.load", "torch.FloatStorage", "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"),
            *("builtins.bytearray", "numpy.core.multiarray.scalar", "torch.Tensor", "torch.Size", "subprocess.Popen"),
        ],
    ),
)


@few
@given(parts=st.lists(st.sampled_from(INSTRUCTIONS), max_size=12))
@example(parts=[glob("os.system"), text("touch owned"), b"\x85", b"R"])
@example(parts=[glob("builtins.getattr"), b"(", glob("argparse.Namespace"), text("__init__"), b"t", b"R"])
def test_pickles_of_any_instructions(parts: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("made") / "c.pt"
    path.write_bytes(zipped(named(b"".join(parts))))
    read(path)
    assert not Path("owned").exists()


@few
@given(data=st.data())
def test_damaged_safetensors(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("safe")
    save_file({"a": torch.ones(3), "b": torch.zeros(2, 2)}, folder / "good.safetensors")
    header = {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}}
    written = json.dumps(header).encode()
    seeds = [(folder / "good.safetensors").read_bytes(), struct.pack("<Q", len(written)) + written + bytes(16)]
    path = folder / "c.safetensors"
    path.write_bytes(data.draw(mutated([*seeds, struct.pack("<Q", 2**63) + b"{}"])))
    read(path)


def test_weights_that_are_no_numbers_make_no_model(tmp_path: Path) -> None:
    weights = dict(stock().token_classifier.state_dict())
    weights["bert.encoder.layer.0.output.dense.bias"] = torch.full_like(
        weights["bert.encoder.layer.0.output.dense.bias"], torch.nan
    )
    path = save_training(tmp_path / "c.pt", stock().token_classifier, model=weights)
    with pytest.raises(ValueError, match="bias` holds numbers that are not finite"):
        convert_barcodebert(path)


def test_a_few_numbers_make_no_model_of_many_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_MODULES", 500)
    weights = dict(stock().token_classifier.state_dict())
    weights |= {f"bert.encoder.layer.{i}.attention.self.query.bias": torch.ones(1) for i in range(2, 90)}
    torch.save({"model": weights}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"larger than its weights|more than 500 parts"):
        convert_barcodebert(tmp_path / "c.pt", HEADS)


def test_models_are_bounded_by_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_MODULES", 100)
    with bounded(100):
        torch.nn.Linear(9, 10)
    with pytest.raises(ValueError, match="larger than its weights"), torch.device("meta"), bounded(100):
        torch.nn.Linear(10**6, 10**6)
    with pytest.raises(ValueError, match="more than 100 parts"), bounded(1):
        torch.nn.ModuleList(torch.nn.Identity() for _ in range(101))
    torch.nn.Linear(30, 30)
