from pathlib import Path

import pytest
from datasets import Dataset

from bioscan_hf.evaluation.baselines import vsearch
from bioscan_hf.evaluation.baselines.vsearch import best_hits, is_installed, measured_search, version
from tests.evaluation.baselines.made_queries import BEST, made_keys_and_queries
from tests.evaluation.baselines.test_blast import write_program

needs_vsearch = pytest.mark.skipif(not is_installed(), reason="needs vsearch")

# Accepts the first key with the same first letter.
VSEARCH = """
import shutil, sys
if sys.argv[1:] == ["--version"]:
    print("vsearch v9.8.7_made, 1.0GB RAM, 1 cores", file=sys.stderr)
    raise SystemExit
assert sys.argv[1] == "--quiet"
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if "--makeudb_usearch" in words:
    shutil.copy(words["--makeudb_usearch"], words["--output"])
    raise SystemExit
assert words["--id"] == "0.5" and words["--strand"] == "plus" and words["--maxaccepts"] == "1", words
assert words["--userout"] == "-" and words["--userfields"] == "query+target", words
def records(path):
    lines = open(path).read().split("\\n")
    return [(name[1:], letters) for name, letters in zip(lines[::2], lines[1::2])]
with open(CALLS, "a") as calls:
    print(len(records(words["--usearch_global"])), len(records(words["--db"])), words["--threads"], file=calls)
# Threads end in any order.
for query, letters in reversed(records(words["--usearch_global"])):
    for key, others in records(words["--db"]):
        if others[0] == letters[0]:
            print(query, key, sep="\\t")
            break
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a program that stands in for vsearch, and of `calls`: queries, keys and threads of each search."""
    write_program(tmp_path, "vsearch", f"CALLS = {str(tmp_path / 'calls')!r}\n{VSEARCH}")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_accepted_keys_in_the_order_of_the_queries(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vsearch, "_QUERIES", 2)
    keys, queries = ["TA", "CA", "TA", "AA", "CT"], ["AC", "GG", "CC", "AC", "TC"]
    assert best_hits(keys, queries).tolist() == [3, -1, 1, 3, 0]
    assert (program / "calls").read_text() == "2 4 1\n2 4 1\n"


def test_a_measured_search_is_one_call(program: Path) -> None:
    found = measured_search(["TA", "CA", "TA"], ["AC", "CC", "CC", "TC"], threads=2)
    assert found.hits.tolist() == [-1, 1, 1, 0] and found.usage.seconds > 0
    assert (program / "calls").read_text() == "4 2 2\n"


def test_version_is_that_of_vsearch(program: Path) -> None:
    assert is_installed() and version() == "9.8.7"


def test_a_missing_program_is_named(program: Path) -> None:
    (program / "vsearch").unlink()
    assert not is_installed()
    for call in (version, lambda: best_hits(["ACGT"], ["ACGT"]), lambda: measured_search(["ACGT"], ["ACGT"])):
        with pytest.raises(OSError, match=r"'vsearch' is not installed. Install it .*, or leave this baseline out"):
            call()


@pytest.mark.parametrize(("words", "reason"), [("'Fatal error'", "Fatal error"), ("3", "exit code 3")])
def test_a_failure_is_told(program: Path, words: str, reason: str) -> None:
    write_program(program, "vsearch", f"import sys\nsys.exit({words})")
    for call in (version, lambda: best_hits(["ACGT"], ["ACGT"]), lambda: measured_search(["ACGT"], ["ACGT"])):
        with pytest.raises(OSError, match=f"failed: {reason}"):
            call()


def test_without_keys_there_is_nothing_to_search_in(program: Path) -> None:
    with pytest.raises(ValueError, match="vsearch needs keys to search in; there are none"):
        best_hits([], ["ACGT"])
    assert not (program / "calls").exists()


@needs_vsearch
def test_barcodes_of_the_sample_find_themselves_and_their_variants(sample: Dataset) -> None:
    keys, queries = made_keys_and_queries(sample)
    assert best_hits(keys, queries).tolist() == BEST
    found = measured_search(keys, queries)
    assert found.hits.tolist() == BEST and found.usage.peak_bytes > 2**20


@needs_vsearch
def test_installed_version_is_a_number() -> None:
    assert version().replace(".", "").isdecimal()
