import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.queries import Queries, read_queries
from bioscan_hf.identification.streaming import identify_all
from tests.identification.made_library import library, non_coi, specimens

BARCODES: list[str] = [*specimens("test")["dna_barcode"], non_coi(), *specimens("test_unseen")["dna_barcode"]]


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return Identifier(library())


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "queries.fasta"
    path.write_text("".join(f">Q{row}\n{barcode}\n" for row, barcode in enumerate(BARCODES)))
    return path


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_threads_and_sizes_of_batches_do_not_matter(identifier: Identifier, fasta: Path, threads: int | None) -> None:
    before = torch.get_num_threads()
    expected = identifier(BARCODES, [f"Q{row}" for row in range(len(BARCODES))])
    tables = list(identify_all(identifier, read_queries(fasta, batch_size=64), threads=threads))
    assert [len(table) for table in tables] == [64] * 6 + [len(BARCODES) - 64 * 6]
    found = pa.concat_tables(tables)
    assert found["processid"].to_pylist() == expected["processid"].to_pylist()
    for name in ("species", "safe_rank", "nearest_processid", "notes"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    mine, theirs = (np.array(table["species_probability"].to_pylist(), float) for table in (found, expected))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert torch.get_num_threads() == before


def batch(row: int) -> Queries:
    return Queries([str(row)], [BARCODES[row]], None, [None], np.full(1, np.nan), np.full(1, np.nan))


def test_few_batches_are_held_at_a_time(identifier: Identifier) -> None:
    read: list[int] = []

    def batches() -> Iterator[Queries]:
        for row in range(40):
            read.append(row)
            yield batch(row)

    for done, _ in enumerate(identify_all(identifier, batches(), threads=3), 1):
        assert len(read) <= done + 3
    assert len(read) == 40


def test_an_error_of_the_input_comes_when_what_was_before_is_lost_or_told(identifier: Identifier) -> None:
    before = torch.get_num_threads()

    def batches() -> Iterator[Queries]:
        yield from map(batch, range(5))
        raise ValueError("the file ends too early")

    told = []
    with pytest.raises(ValueError, match="the file ends too early"):
        for table in identify_all(identifier, batches(), threads=2):
            told.append(table["processid"][0].as_py())
    assert told == [str(row) for row in range(len(told))]
    assert torch.get_num_threads() == before


def test_who_stops_early_leaves_no_thread_behind(identifier: Identifier) -> None:
    before, running = torch.get_num_threads(), threading.active_count()
    tables = identify_all(identifier, map(batch, range(100)), threads=2)
    first, second = next(tables), next(tables)
    tables.close()  # type: ignore[attr-defined]
    assert [table["processid"][0].as_py() for table in (first, second)] == ["0", "1"]
    assert torch.get_num_threads() == before and threading.active_count() == running


def test_nothing_and_no_threads(identifier: Identifier) -> None:
    assert list(identify_all(identifier, [])) == []
    for threads in (0, -1):
        with pytest.raises(ValueError, match=f"`threads` must be at least 1; got {threads}"):
            next(identify_all(identifier, [batch(0)], threads=threads))
    assert all(one != other for one, other in pairwise(BARCODES[:2]))
