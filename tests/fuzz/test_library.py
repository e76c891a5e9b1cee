"""Folders of libraries that somebody changed: refused in words, or they name as before; nothing outside is read.

The long form: `BIOSCAN_FUZZ_EXAMPLES=5000 pytest tests/fuzz/test_library.py`.
"""

import copy
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bioscan_hf.data.features import RANKS
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.search import CellIndex
from tests.fuzz.helpers import tried
from tests.fuzz.mutations import mutated
from tests.identification.made_library import specimens

few = tried(40)
VECTORS = torch.nn.functional.normalize(torch.from_numpy(np.random.default_rng(0).normal(size=(200, 8))).float())
ASKED = specimens("test", 5)["dna_barcode"][:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library as somebody may write one who knows the format: without digests, which only tell of accidents."""
    folder = tmp_path_factory.mktemp("library") / "lib"
    Library.build(specimens("train", 60), calibration=specimens("val", 30)).save(folder)
    described = json.loads((folder / "library.json").read_text())
    (folder / "library.json").write_text(
        json.dumps({name: entry for name, entry in described.items() if name not in ("digest", "digests")})
    )
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "lib")


def manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "library.json").read_text()))


def write(folder: Path, changed: dict[str, Any]) -> None:
    """Write a description whose sizes fit the files."""
    if isinstance(files := changed.get("files"), dict):
        for name in files:
            if (folder / name).is_file():
                files[name] = (folder / name).stat().st_size
    (folder / "library.json").write_text(json.dumps(changed))


def names(folder: Path) -> list[Any]:
    """What the library says of some queries."""
    table = Identifier(Library.load(folder), nearest=3)(ASKED)
    assert table.num_rows == len(ASKED)
    return [table[rank].to_pylist() for rank in RANKS]


def check(folder: Path) -> None:
    """Names, or an error of ours that tells what is wrong."""
    try:
        names(folder)
    except (ValueError, OSError) as error:
        told = str(error)
        assert type(error) in (ValueError, OSError, FileNotFoundError) and "\n" not in told and len(told) < 500, told
        assert "librar" in told or "No such file" in told, told


def test_without_digests_it_is_the_same(whole: Path) -> None:
    assert len(names(whole)) == len(RANKS)


VALUES: tuple[Any, ...] = (None, -1, 10**30, 1.5, float("nan"), "x", "../../x", "/etc/passwd", [], {}, [1], ["x"])
HOSTILE_ENTRIES: dict[str, Any] = {
    "a file above the folder": {"files": {"../outside": 1}},
    "a file elsewhere": {"files": {"/etc/passwd": 1}},
    "sizes that are words": {"files": {"keys.safetensors": "x"}},
    "a model elsewhere": {"model": "/etc", "model_revision": "x"},
    "a model above the folder": {"model": "../model", "model_revision": "x"},
    "a calibration elsewhere": {"calibration": {"../../x": {}}},
    "no taxa": {"taxa": {}},
    "names that are numbers": {"taxa": {rank: [1] * 100 for rank in RANKS}},
    "fewer taxa than labels": {"taxa": {rank: ["x"] for rank in RANKS}},
    "offsets far away": {"profile": {"usual": [10**30], "frame": 0}},
    "many offsets": {"profile": {"usual": [0] * 100_000, "frame": 0}},
    "another reading frame": {"profile": {"usual": [0], "frame": 99}},
    "other counts": {"counts": {"specimens": 10**12, "keys": 1, "dimension": 1}},
    "a model without revision": {"image_model": "clibd-small"},
    "weights that are not finite": {
        "calibration": {"barcode": {name: {"weights": [float("nan")] * 5, "bias": 0.0} for name in [*RANKS, "novelty"]}}
    },
    "weights of other features": {
        "calibration": {"barcode": {name: {"weights": [1.0] * 999, "bias": 0.0} for name in [*RANKS, "novelty"]}}
    },
}


@pytest.mark.parametrize("changes", HOSTILE_ENTRIES.values(), ids=HOSTILE_ENTRIES)
def test_entries_that_make_no_sense_are_refused(changes: dict[str, Any], folder: Path) -> None:
    (folder.parent / "outside").write_text("x")
    described = manifest(folder)
    for name, value in changes.items():
        described[name] = {**described[name], **value} if name == "files" else value
    (folder / "library.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"library\.json|is damaged"):
        Library.load(folder)


@few
@given(data=st.data())
def test_any_entry(data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = shutil.copytree(whole, tmp_path_factory.mktemp("entries") / "lib")
    described = manifest(folder)
    entry: Any = described
    path = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    for place in path[:-1]:
        inner = [name for name, value in entry.items() if isinstance(value, dict) and value]
        if inner:
            entry = entry[inner[place % len(inner)]]
    entry[list(entry)[path[-1] % len(entry)]] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    (folder / "library.json").write_text(json.dumps(described))
    check(folder)


@few
@given(data=st.data())
def test_any_bytes(data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = shutil.copytree(whole, tmp_path_factory.mktemp("bytes") / "lib")
    name = data.draw(st.sampled_from(sorted(path.name for path in whole.iterdir())))
    seeds = [(whole / name).read_bytes(), b"[" * 50_000]
    (folder / name).write_bytes(data.draw(mutated(seeds)))
    if name != "library.json":
        write(folder, manifest(folder))
    check(folder)


Change = Callable[[torch.Tensor], torch.Tensor]
CHANGES: dict[str, Change] = {
    "fewer": lambda tensor: tensor[:-3].clone(),
    "more": lambda tensor: torch.cat([tensor, tensor]),
    "another type": lambda tensor: tensor.double() if tensor.dtype != torch.float64 else tensor.int(),
    "flat": lambda tensor: tensor.reshape(-1).clone() if tensor.ndim > 1 else tensor[:, None].clone(),
}
VALUES_CHANGED: dict[tuple[str, str], Change] = {
    ("keys", "labels"): lambda labels: labels + 10**6,
    ("keys", "first"): lambda first: first - 10**6,
    ("keys", "specimens"): lambda counts: counts * 0,
    ("keys", "vectors"): lambda vectors: vectors * float("nan"),
    ("space", "profile"): lambda profile: profile * float("inf"),
    ("space", "metric"): lambda metric: metric[:, :, :3].clone(),
}


def change(folder: Path, part: str, name: str, by: Change | None) -> None:
    tensors = {key: tensor.clone() for key, tensor in load_file(folder / f"{part}.safetensors").items()}
    tensor = tensors.pop(name)
    if by is not None:
        tensors[name] = by(tensor).contiguous()
    save_file(tensors, folder / f"{part}.safetensors")
    write(folder, manifest(folder))


def test_tensors_that_do_not_fit_are_refused(whole: Path, tmp_path: Path) -> None:
    cases: list[tuple[str, str, Change | None]] = [(*which, by) for which, by in VALUES_CHANGED.items()]
    for part in ("keys", "space"):
        for name in load_file(whole / f"{part}.safetensors"):
            cases += [(part, name, by) for by in (None, *CHANGES.values())]
    assert len(cases) > 40
    for number, (part, name, by) in enumerate(cases):
        folder = shutil.copytree(whole, tmp_path / str(number))
        change(folder, part, name, by)
        if part == "space" and name == "metric" and by is None:
            continue  # then the encoder is missing, which is told elsewhere
        with pytest.raises(ValueError, match=r"(keys|space)\.safetensors' is damaged"):
            Library.load(folder)


@pytest.mark.parametrize(
    "keys",
    [[10**6] * 60, [-1] * 60, [None] * 60, ["x"] * 60, [[1]] * 60, [0] * 59, [0] * 1_000_000],
    ids=["beyond", "negative", "null", "text", "lists", "fewer", "a million in some bytes"],
)
def test_specimens_without_their_keys_are_refused(keys: list[Any], folder: Path) -> None:
    path = folder / "specimens.parquet"
    values = pa.array(np.zeros(len(keys), np.int32)) if len(keys) > 60 else pa.array(keys)
    pq.write_table(pa.table({"key": values, "processid": pa.nulls(len(keys), pa.string())}), path, compression="zstd")
    write(folder, manifest(folder))
    with pytest.raises(ValueError, match=r"specimens\.parquet' is damaged"):
        Library.load(folder)


def test_links_lead_to_files_only(folder: Path) -> None:
    for name in ("keys.safetensors", "library.json"):
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        with pytest.raises(ValueError, match=r"is missing|has no library\.json"):
            Library.load(folder)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("faiss")
    folder = tmp_path_factory.mktemp("cells")
    CellIndex.build(VECTORS).save(folder / "good.faiss")
    return folder


@few
@given(data=st.data())
def test_an_index_of_cells(data: st.DataObject, cells: Path) -> None:
    (cells / "c.faiss").write_bytes(data.draw(mutated([(cells / "good.faiss").read_bytes()])))
    try:
        index = CellIndex.load(cells / "c.faiss")
        if index.shape != tuple(VECTORS.shape):
            return
        found, cosines = index.search(VECTORS[:9].numpy(), 5)
    except (OSError, ValueError) as error:
        assert "c.faiss" in str(error) and "\n" not in str(error)
    else:
        assert found.shape == cosines.shape == (9, 5) and found.min() >= 0 and found.max() < 200


def test_an_index_of_another_kind_or_of_other_keys(folder: Path) -> None:
    faiss = pytest.importorskip("faiss")
    faiss.write_index(faiss.IndexFlatIP(8), str(folder / "cells.faiss"))
    described = manifest(folder)
    described["files"]["cells.faiss"] = 0
    write(folder, described)
    with pytest.raises(ValueError, match=r"cells\.faiss' is no index of cells, but IndexFlat"):
        Library.load(folder)
    CellIndex.build(torch.nn.functional.normalize(torch.rand(300, 8))).save(folder / "cells.faiss")
    write(folder, described)
    with pytest.raises(ValueError, match=r"cells\.faiss' is damaged \(it is of \(300, 8\) numbers"):
        Library.load(folder)


@few
@given(content=mutated([b'[{"benchmark": "b", "metric": "m", "value": 0.5, "count": 1}]', b"[" * 50_000, b"[[]]"]))
@example(content=b"{}")
def test_results(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("results") / "r.json"
    path.write_bytes(content)
    try:
        read_results(path)
    except ValueError as error:
        assert "r.json" in str(error)


def test_a_header_that_claims_more_than_there_is(folder: Path) -> None:
    header = json.dumps({"first": {"dtype": "I64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}}).encode()
    (folder / "keys.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    write(folder, manifest(folder))
    with pytest.raises(ValueError, match=r"keys\.safetensors' is damaged"):
        Library.load(folder)
