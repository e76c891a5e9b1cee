import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders import embedding_files
from bioscan_hf.evaluation.encoders.precomputed import Precomputed

NAMES = [f"P{i}" for i in range(7)]
VECTORS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def save_parquet(path: Path, names: list[str] = NAMES, vectors: np.ndarray = VECTORS, size: int | None = 3) -> None:
    numbers = pa.array(vectors.ravel().tolist(), pa.from_numpy_dtype(vectors.dtype))
    lists = (
        pa.FixedSizeListArray.from_arrays(numbers, size)
        if size
        else pa.ListArray.from_arrays(pa.array(range(0, vectors.size + 1, 3), pa.int32()), numbers)
    )
    pq.write_table(pa.table({"processid": names, "embedding": lists, "other": names}), path, row_group_size=3)


def save_lists(path: Path) -> None:
    save_parquet(path, size=None)


def save_npz(path: Path) -> None:
    np.savez_compressed(path, processids=np.array(NAMES), embeddings=VECTORS)


def save_safetensors(path: Path) -> None:
    save_file({"embeddings": VECTORS}, path, {"processids": json.dumps(NAMES)})


WRITERS = {"a.parquet": save_parquet, "lists.parquet": save_lists, "a.npz": save_npz, "a.safetensors": save_safetensors}


def specimens(names: list[str]) -> Dataset:
    return Dataset.from_dict({"processid": names})


@pytest.mark.parametrize("name", WRITERS)
def test_specimens_are_found_in_any_order(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_files, "_ROWS_AT_A_TIME", 2)
    WRITERS[name](tmp_path / name)
    encoder = Precomputed(tmp_path / name)
    assert (encoder.name, encoder.dimension) == (Path(name).stem, 3)
    assert encoder.revision == digest(tmp_path / name)
    for rows in ([0, 1, 2, 3, 4, 5, 6], [6, 0, 3], [5], [2, 2, 1, 2]):
        vectors = encoder.embed(specimens([NAMES[row] for row in rows]))
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, VECTORS[rows])
    normalised = embed(tmp_path / name, specimens(NAMES[:2])).vectors
    np.testing.assert_allclose(np.linalg.norm(normalised, axis=1), 1, atol=1e-6)


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_files, "_ROWS_AT_A_TIME", 4)
    save_safetensors(tmp_path / "a.safetensors")
    done: list[tuple[int, int]] = []
    Precomputed(tmp_path / "a.safetensors").embed(specimens(["P1"]), report=lambda *counts: done.append(counts))
    assert done == [(4, 7), (7, 7)]


def test_shards_of_a_folder(tmp_path: Path) -> None:
    save_parquet(tmp_path / "embeddings-00001-of-00002.parquet", NAMES[4:], VECTORS[4:])
    save_parquet(tmp_path / "embeddings-00000-of-00002.parquet", NAMES[:4], VECTORS[:4])
    encoder = Precomputed(str(tmp_path))
    np.testing.assert_array_equal(encoder.embed(specimens(NAMES[::-1])), VECTORS[::-1])
    revision = encoder.revision
    save_parquet(tmp_path / "embeddings-00001-of-00002.parquet", NAMES[4:], VECTORS[4:] + 1)
    assert Precomputed(tmp_path).revision != revision


def test_half_precision(tmp_path: Path) -> None:
    save_parquet(tmp_path / "a.parquet", vectors=VECTORS.astype(np.float16))
    save_tensors(
        {"embeddings": torch.from_numpy(VECTORS).bfloat16()},
        tmp_path / "a.safetensors",
        {"processids": json.dumps(NAMES)},
    )
    for name, dtype in (("a.parquet", torch.float16), ("a.safetensors", torch.bfloat16)):
        vectors = Precomputed(tmp_path / name).embed(specimens(NAMES))
        np.testing.assert_array_equal(vectors, torch.from_numpy(VECTORS).to(dtype).float().numpy())


def test_missing_specimens_are_named(tmp_path: Path) -> None:
    save_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"has no embedding of 'Q0', 'Q1', 'Q2', 'Q3', 'Q4' and 2 more; compute"):
        Precomputed(tmp_path / "a.parquet").embed(specimens(["P1", *(f"Q{i}" for i in range(7))]))
    with pytest.raises(ValueError, match="need the column 'processid'"):
        Precomputed(tmp_path / "a.parquet").embed(Dataset.from_dict({"dna_barcode": ["A"]}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_where_they_are_used(bad: float, tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[3, 1] = bad
    save_parquet(tmp_path / "a.parquet", vectors=vectors)
    encoder = Precomputed(tmp_path / "a.parquet")
    encoder.embed(specimens(["P1", "P2"]))
    with pytest.raises(ValueError, match=r"a.parquet' cannot be used: .*finite, unlike that of 'P3'"):
        encoder.embed(specimens(["P1", "P3", "P3"]))


def test_a_missing_number_is_refused(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 2.0], [None, 1.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"processid": ["a", "b"], "embedding": lists}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="finite, unlike that of 'b'"):
        Precomputed(tmp_path / "a.parquet").embed(specimens(["a", "b"]))


@pytest.mark.parametrize("lists", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_lists_that_are_missing_or_of_other_lengths_are_refused(lists: pa.DataType, tmp_path: Path) -> None:
    others: list[Any] = [None] if lists.num_fields and pa.types.is_fixed_size_list(lists) else [None, [1.0]]
    for other in others:
        table = pa.table({"processid": ["a", "b"], "embedding": pa.array([[1.0, 2.0], other], lists)})
        pq.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(ValueError, match=r"of one length; expected 2, got \{-?1\}"):
            Precomputed(tmp_path / "a.parquet").embed(specimens(["a"]))


def npz(**arrays: Any) -> Any:
    return lambda path: np.savez(path.with_suffix(".npz"), **arrays)


def parquet(**columns: Any) -> Any:
    return lambda path: pq.write_table(pa.table(columns), path.with_suffix(".parquet"))


def safetensors(tensor: np.ndarray, **metadata: str) -> Any:
    return lambda path: save_file({"embeddings": tensor}, path.with_suffix(".safetensors"), metadata)


TWO = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (npz(ids=NAMES), r"expected the arrays 'processids' and 'embeddings'; found \['ids'\]"),
        (npz(processids=np.array(["a", None]), embeddings=TWO), "(?i)pickle"),
        (npz(processids=np.arange(2), embeddings=TWO), "'processids' must be texts"),
        (npz(processids=["a", "b"], embeddings=np.zeros((2, 3), int)), "'embeddings' must be floating-point"),
        (npz(processids=["a", "b"], embeddings=TWO[0]), "'embeddings' must be floating-point"),
        (npz(processids=["a", "b", "c"], embeddings=TWO), "for each process id; got 2 and 3"),
        (npz(processids=["a", "a"], embeddings=TWO), "more than one embedding of 'a'"),
        (npz(processids=np.array([], str), embeddings=TWO[:0]), "no embeddings in it"),
        (parquet(processid=["a"], vector=[[1.0]]), r"expected the columns .* found \['processid', 'vector'\]"),
        (parquet(processid=["a"], embedding=[1.0]), "must hold lists of numbers; it holds double"),
        (parquet(processid=["a"], embedding=[["x"]]), "floating-point numbers; these are of string"),
        (parquet(processid=["a", None], embedding=[[1.0], [2.0]]), "row 1 has no process id"),
        (parquet(processid=["a", "b", "b"], embedding=[[1.0]] * 3), "more than one embedding of 'b'"),
        (safetensors(TWO), "the metadata need 'processids'"),
        (safetensors(TWO, processids='["a"]'), "for each process id; got 2 and 1"),
        (safetensors(TWO, processids="{"), "Expecting property name"),
        (safetensors(TWO[0], processids='["a"]'), r"must be numbers \(N, D\); got the shape \(3,\)"),
        (lambda path: save_file({"x": TWO}, path.with_suffix(".safetensors")), r"tensor 'embeddings'; found \['x'\]"),
    ],
)
def test_files_that_are_laid_out_otherwise_are_refused(write: Any, reason: str, tmp_path: Path) -> None:
    write(tmp_path / "file")
    (path,) = tmp_path.iterdir()
    with pytest.raises(ValueError, match=reason) as error:
        Precomputed(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("ending", embedding_files.EMBEDDING_ENDINGS)
def test_damaged_files_are_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    WRITERS[path.name](path)
    content = path.read_bytes()
    for damaged in (b"", b"no such thing", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"'{path}' cannot be used"):
            Precomputed(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        Precomputed(tmp_path / "a.npz")
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"unknown kind; expected a file with one of the endings .parquet"):
        Precomputed(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="unknown kind"):
        Precomputed(tmp_path)


def test_shards_of_different_lengths_are_refused(tmp_path: Path) -> None:
    save_parquet(tmp_path / "a.parquet", NAMES[:2], VECTORS[:2])
    save_parquet(tmp_path / "b.parquet", NAMES[2:5], VECTORS[:3, :2].copy(), 2)
    with pytest.raises(ValueError, match=r"of one length; there are \[2, 3\]"):
        Precomputed(tmp_path)
