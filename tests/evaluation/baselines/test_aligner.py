import sys
from pathlib import Path

import pytest

from bioscan_hf.evaluation.baselines.aligner import KEYS, QUERIES, Aligner

# Prints for each query the keys that begin with the same letter, and tells how it was called.
SEARCH = f"""
import sys
def records(path):
    words = open(path).read().split()
    return list(zip(words[::2], words[1::2]))
print(sys.argv[1], len(records({QUERIES!r})), len(records("library")), file=open(CALLS, "a"))
for query, letters in records({QUERIES!r}):
    print(*(query[1:], *(key[1:] for key, others in records("library") if others[0] == letters[0])))
"""


def first_named(printed: str) -> dict[int, int]:
    found = [line.split() for line in printed.splitlines()]
    return {int(query): int(keys[0]) for query, *keys in found if keys}


def aligner(calls: Path, library: str = f"import shutil; shutil.copy({KEYS!r}, 'library')") -> Aligner:
    code = f"CALLS = {str(calls)!r}\n{SEARCH}"
    return Aligner(
        name="Fake",
        programs=[sys.executable],
        install="Fake (by hand)",
        library=[sys.executable, "-c", library],
        search=lambda threads: [sys.executable, "-c", code, str(threads)],
        parse=first_named,
    )


def test_equal_barcodes_are_searched_once_in_parts(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    done: list[tuple[int, int]] = []
    hits = aligner(calls).best_hits(
        ["TA", "CA", "TA", "AA"],
        ["AC", "GG", "AC", "TC", "CC"],
        threads=3,
        block=3,
        report=lambda *counts: done.append(counts),
    )
    assert hits.tolist() == [3, -1, 3, 0, 1]
    assert calls.read_text() == "3 3 3\n3 1 3\n" and done == [(3, 4), (4, 4)]


def test_a_measured_search_sees_all_queries_at_once(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    queries = ["AC", "GG", "AC", "TC", "CC"]
    # Making the library must not count.
    slow = f"import shutil, time; shutil.copy({KEYS!r}, 'library'); time.sleep(2)"
    found = aligner(calls, slow).measured_search(["TA", "CA", "TA", "AA"], queries, threads=1)
    assert found.hits.tolist() == [3, -1, 3, 0, 1]
    assert calls.read_text() == "1 5 3\n"
    assert 0 < found.usage.seconds < 2 and found.usage.peak_bytes > 2**20


def test_nothing_to_search_for(tmp_path: Path) -> None:
    fake = aligner(tmp_path / "calls")
    assert fake.best_hits(["A"], [], threads=1, block=2).tolist() == []
    assert fake.measured_search(["A"], [], threads=1).hits.tolist() == []
    with pytest.raises(ValueError, match="Fake needs keys to search in; there are none"):
        fake.measured_search([], ["A"], threads=1)


def test_a_missing_program_is_named_with_how_to_install_it() -> None:
    absent = Aligner("Fake", ["no-such"], "Fake (by hand)", ["no-such"], lambda threads: ["no-such"], first_named)
    assert not absent.is_installed()
    with pytest.raises(OSError, match=r"'no-such' is not installed\. Install Fake \(by hand\), or leave this baseline"):
        absent.measured_search(["A"], ["A"], threads=1)
