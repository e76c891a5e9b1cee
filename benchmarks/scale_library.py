"""Rehearsals of identification: a library of up to 2 million keys, built, loaded, and asked for 100,000 names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from scale_parts import SPECIMENS, Part, costs

KEYS = (200_000, 632_000, 2_000_000)
TINY_KEYS = 400
QUERIES = (10_000, 31_600, 100_000)
TINY_QUERIES = 60
COMPARED = 2_000  # queries of each kind that are asked of all keys, too

KNOWN, CALIBRATION = ("pretrain", "train"), ("val", "val_unseen", "other_heldout")
# Distinct barcodes of the splits that the library is made of, in BIOSCAN-5M.
_BARCODES = 2_402_283
_CHANGED = {"seen": 0.01, "relative": 0.003}  # share of the letters


def need_specimens(keys: int, folder: Path) -> None:
    """Arrow files of specimens with about so many barcodes, of those to calibrate on, and of others, made once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from scale_data import made_specimens

    target = folder / "library-specimens"
    if target.exists():
        return
    partial = folder / "library-specimens-partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    writers: dict[str, Any] = {}
    for table in made_specimens(max(round(keys * SPECIMENS / _BARCODES), 200)):
        for name, mask in _parts_of(table["split"], pc):
            if name not in writers:
                writers[name] = pa.ipc.new_stream(str(partial / f"{name}.arrow"), table.schema)
            writers[name].write_table(table.filter(mask))
    for writer in writers.values():
        writer.close()
    partial.rename(target)


def _parts_of(splits: Any, pc: Any) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    known, calibration = (pc.is_in(splits, value_set=pa.array(names)) for names in (KNOWN, CALIBRATION))
    yield "known", known
    yield "calibration", calibration
    yield "others", pc.invert(pc.or_(known, calibration))


def _specimens(folder: Path, name: str) -> Any:
    from datasets import Dataset

    return Dataset.from_file(str(folder / "library-specimens" / f"{name}.arrow"))


def _build(folder: Path) -> Any:
    """As `bioscan library build --cells`."""
    from bioscan_hf import Library

    library = Library.build(
        _specimens(folder, "known"),
        calibration=_specimens(folder, "calibration"),
        dtype="float16",
        cells=True,
    )
    library.save(folder / "library")
    return library


def build(size: int, folder: Path) -> dict[str, Any]:
    """From specimens on the disk to a library on the disk."""
    from bioscan_hf.identification.library_files import read_manifest

    import_module("bioscan_hf.identification.library_building")
    shutil.rmtree(folder / "library", ignore_errors=True)
    with costs() as cost:
        library = _build(folder)
    manifest = read_manifest(folder / "library")
    written = sum(manifest["files"].values())
    keys = manifest["counts"]["keys"]
    facts = {
        "keys": keys,
        "specimens": manifest["counts"]["specimens"],
        "species": len(manifest["taxa"]["species"]),
        "GB on disk": round(written / 1e9, 3),
        "bytes per key": round(written / keys),
        "queries calibrated on": len(library.calibration["barcode"].processids),
    }
    return {**cost, "facts": facts}


def need_library(keys: int, folder: Path) -> None:
    """The library, built once."""
    need_specimens(keys, folder)
    if not (folder / "library").exists():
        _build(folder)


def load(size: int, folder: Path) -> dict[str, Any]:
    """Until the first query can be named."""
    from bioscan_hf.identification.identify import Identifier

    import_module("bioscan_hf.identification.library_loading")
    with costs() as cost:
        identifier = Identifier.from_pretrained(folder / "library")
    mapped = ("keys.safetensors", "cells.faiss")
    facts = {
        "keys": len(identifier.library.keys.first),
        "GB of files that are mapped": round(
            sum((folder / "library" / name).stat().st_size for name in mapped) / 1e9, 3
        ),
        "bytes held per key": round(1e9 * (cost["held"] - cost["held_before"]) / len(identifier.library.keys.first)),
    }
    return {**cost, "facts": facts}


def need_queries(count: int, folder: Path, library: Path) -> None:
    """FASTA of `count` queries, made once: half are a library's barcodes with 1 % of the letters changed.

    The others are of splits that the library does not have, one after the other, with two letters changed, so that all
    are distinct.

    Args:
        count: How many.
        folder: Gets `queries.fasta`.
        library: Folder that `need_specimens` has filled.
    """
    path = folder / "queries.fasta"
    if path.exists():
        return
    random = np.random.default_rng(count)
    with path.with_suffix(".partial").open("w", encoding="ascii") as file:
        for kind, name in (("seen", "known"), ("relative", "others")):
            specimens = _specimens(library, name)
            wanted = count // 2 if kind == "seen" else count - count // 2
            rows = np.sort(random.permutation(len(specimens))[:wanted])
            chosen = specimens.select_columns(["processid", "dna_barcode"]).select(rows)[:]
            pairs = list(zip(chosen["processid"], chosen["dna_barcode"], strict=True))
            for number in range(wanted):
                processid, barcode = pairs[number % len(pairs)]
                file.write(f">{kind}-{number}-{processid}\n{_changed(barcode, _CHANGED[kind], random)}\n")
    path.with_suffix(".partial").rename(path)


def _changed(barcode: str, share: float, random: np.random.Generator) -> str:
    """The same with other letters at a share of the places."""
    letters = np.frombuffer(barcode.encode(), np.uint8).copy()
    places = random.choice(len(letters), max(1, round(share * len(letters))), replace=False)
    codes = np.frombuffer(b"ACGT", np.uint8)
    at = np.searchsorted(codes, letters[places])
    letters[places] = codes[(at + random.integers(1, 4, len(places))) % 4]
    return letters.tobytes().decode()


def _identify(library: Path, queries: Path, output: Path) -> tuple[Any, Any]:
    """As `bioscan identify QUERIES --library LIBRARY --output OUTPUT`."""
    from bioscan_hf.identification.identify import Identifier
    from bioscan_hf.identification.queries import read_queries
    from bioscan_hf.identification.results import results_schema
    from bioscan_hf.identification.streaming import identify_all
    from bioscan_hf.identification.writers import result_writer

    with costs() as cost:
        identifier = Identifier.from_pretrained(library)
        with result_writer(output, results_schema(1)) as write:
            for table in identify_all(identifier, read_queries(queries)):
                write(table)
    return cost, identifier


def _facts(output: Path, queries: Path, library: Any, cost: Any) -> dict[str, Any]:
    """What was found, and whether each query has one row, in its place."""
    import pyarrow.parquet as pq

    table = pq.read_table(output)
    ids = [line[1:].strip() for line in queries.open(encoding="ascii") if line.startswith(">")]
    bins = dict(zip(*(column.to_pylist() for column in library.columns(["processid", "dna_bin"]).columns), strict=True))
    seen = [
        (bins[name.split("-", 2)[2]], found)
        for name, found in zip(ids, table["nearest_dna_bin"].to_pylist(), strict=True)
        if name.startswith("seen-")
    ]
    return {
        "every query once, in order": table["processid"].to_pylist() == ids,
        "queries per CPU second": round(len(ids) / cost["cpu"]),
        "seen: nearest is of the same BIN, %": round(100 * float(np.mean([own == found for own, found in seen])), 2),
        "with a safe name, %": round(100 * (1 - table["safe_rank"].null_count / len(table)), 1),
        "flagged as new species, %": round(100 * table["novel"].to_pylist().count(True) / len(table), 1),
    }


def _library_of(queries: int, folder: Path) -> tuple[int, Path]:
    """Keys and folder of the library that so many queries are asked of."""
    keys = KEYS[-1] if queries >= QUERIES[0] else TINY_KEYS
    return keys, folder.parent / str(keys)


def need_identification(queries: int, folder: Path) -> None:
    """The largest library, and queries."""
    keys, library = _library_of(queries, folder)
    library.mkdir(exist_ok=True)
    need_library(keys, library)
    need_queries(queries, folder, library)


def identify(size: int, folder: Path) -> dict[str, Any]:
    """From the start to the table of names, more and more queries of one library."""
    _, library = _library_of(size, folder)
    output = folder / "names.parquet"
    cost, identifier = _identify(library / "library", folder / "queries.fasta", output)
    facts = {"keys": len(identifier.library.keys.first)}
    return {**cost, "facts": facts | _facts(output, folder / "queries.fasta", identifier.library, cost)}


def need_identification_of_keys(keys: int, folder: Path) -> None:
    """A library, and as many queries at each size."""
    need_library(keys, folder)
    need_queries(QUERIES[-1] if keys >= KEYS[0] else TINY_QUERIES, folder, folder)


def identify_in_keys(size: int, folder: Path) -> dict[str, Any]:
    """As many queries of larger and larger libraries; and how often cells find what all keys give."""
    output = folder / "names.parquet"
    cost, identifier = _identify(folder / "library", folder / "queries.fasta", output)
    library = identifier.library
    facts = {"keys": len(library.keys.first), **_facts(output, folder / "queries.fasta", library, cost)}
    return {**cost, "facts": facts | _recall(library, folder / "queries.fasta")}


def _recall(library: Any, queries: Path) -> dict[str, Any]:
    """Cells against all keys, on some queries of each kind."""
    from bioscan_hf.data.fasta import read_fasta
    from bioscan_hf.identification.search import ExactIndex

    by_kind: dict[str, list[str]] = {kind: [] for kind in _CHANGED}
    for batch in read_fasta(queries, ["processid", "dna_barcode"]):
        for name, barcode in zip(*(batch.table[c].to_pylist() for c in ("processid", "dna_barcode")), strict=True):
            own = by_kind[name.decode().split("-")[0]]
            if len(own) < COMPARED:
                own.append(barcode.decode())
    cells, facts = library.index, {}
    for kind, barcodes in by_kind.items():
        library.index = cells
        _, near, evidence = library.ask(barcodes)
        library.index = ExactIndex(library.vectors)
        _, nearest, truth = library.ask(barcodes)
        same = (near.keys[:, 0] == nearest.keys[:, 0]) | np.isclose(
            near.similarities[:, 0], nearest.similarities[:, 0], atol=1e-5
        )
        facts[f"{kind}: recall@1 of cells against all keys, %"] = round(100 * float(same.mean()), 2)
        agree = (evidence.names == truth.names).all(axis=1)
        facts[f"{kind}: the same names at all ranks, %"] = round(100 * float(agree.mean()), 2)
    return facts


PARTS = (
    Part("library_build", "library build --cells", "keys", KEYS, (TINY_KEYS,), need_specimens, build, exponent=1.2),
    Part("library_load", "loading of a library", "keys", KEYS, (TINY_KEYS,), need_library, load),
    Part(
        "identification",
        "identify, of 2,000,000 keys",
        "queries",
        QUERIES,
        (TINY_QUERIES,),
        need_identification,
        identify,
        flat=True,
    ),
    Part(
        "identification_keys",
        "identify, 100,000 queries",
        "keys",
        KEYS,
        (TINY_KEYS,),
        need_identification_of_keys,
        identify_in_keys,
        exponent=0.6,
    ),
)
