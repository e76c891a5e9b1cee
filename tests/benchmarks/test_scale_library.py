"""The rehearsals of embedding and identification run, and what they say is so."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

Facts = dict[str, dict[str, Any]]


def _interrupted(folder: Path, output: Path, chunks: int) -> None:
    """As `kill_at`, but in this process, and interrupted instead of killed."""
    embedding = import_module("scale_embedding")

    def report(done: int, total: int) -> None:
        if embedding.finished(output) == chunks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedding.embed(folder, output, report)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Of each part, at its tiny size."""
    pytest.importorskip("faiss")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        scale, embedding, library = map(import_module, ("scale", "scale_embedding", "scale_library"))
        patch.setattr(embedding, "kill_at", _interrupted)
        found = {}
        for part in (*embedding.PARTS, *library.PARTS):
            (result,) = scale.rehearse(part, tmp_path_factory.getbasetemp() / "scale-library", quick=True)
            assert result["cpu"] > 0 and 0 < result["held_before"] <= result["held"], part.name
            found[part.name] = result["facts"]
        yield found


def test_each_specimen_is_embedded_once_killed_or_not(facts: Facts) -> None:
    found = facts["embedding"]
    assert found["every specimen once, in order"] and found["killed and resumed: the same bytes"]
    assert found["specimens"] > found["distinct barcodes"] > 3 * found["barcodes of a chunk, the most that is lost"]
    assert 0 < found["barcodes computed after the kill"] < found["distinct barcodes"]


def test_a_library_holds_all_keys(facts: Facts) -> None:
    found = facts["library_build"]
    assert found["specimens"] > found["keys"] > 300 and found["queries calibrated on"] > 0
    assert facts["library_load"]["keys"] == found["keys"]


@pytest.mark.parametrize("part", ["identification", "identification_keys"])
def test_each_query_is_named_once_and_found_where_it_is_from(part: str, facts: Facts) -> None:
    found = facts[part]
    assert found["every query once, in order"]
    assert found["seen: nearest is of the same BIN, %"] > 90


def test_cells_find_what_all_keys_give(facts: Facts) -> None:
    found = facts["identification_keys"]
    for kind in ("seen", "relative"):
        assert found[f"{kind}: recall@1 of cells against all keys, %"] >= 90
        assert found[f"{kind}: the same names at all ranks, %"] >= 90
