import stat
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from bioscan_hf.evaluation.baselines import blast
from bioscan_hf.evaluation.baselines.blast import best_hits, is_installed, measured_search, version
from tests.evaluation.baselines.made_queries import BEST, made_keys_and_queries

TASKS: list[blast.Task] = ["megablast", "blastn"]
needs_blast = pytest.mark.skipif(not is_installed(), reason="needs BLAST+ (makeblastdb, blastn)")

# Keeps the keys as they are.
MAKEBLASTDB = """
import shutil, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert words["-dbtype"] == "nucl"
shutil.copy(words["-in"], words["-out"])
"""
# Bit score: places at which a query and a key have the same letter; a hit has three or more. Hits come in any order.
BLASTN = """
import sys
if sys.argv[1:] == ["-version"]:
    print("blastn: 9.8.7+\\n Package: blast 9.8.7")
    raise SystemExit
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert words["-outfmt"] == "6 qseqid sseqid bitscore" and words["-strand"] == "plus", words
def records(path):
    lines = open(path).read().split("\\n")
    return [(name[1:], letters) for name, letters in zip(lines[::2], lines[1::2])]
with open(CALLS, "a") as calls:
    print(len(records(words["-query"])), len(records(words["-db"])), file=calls)
for query, letters in records(words["-query"]):
    for key, others in reversed(records(words["-db"])):
        score = sum(a == b for a, b in zip(letters, others))
        if score >= 3:
            print(query, key, f"{score}.0", sep="\\t")
"""


def write_program(folder: Path, name: str, code: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of programs that stand in for BLAST, and of `calls`: the queries and keys of each search."""
    write_program(tmp_path, "makeblastdb", MAKEBLASTDB)
    write_program(tmp_path, "blastn", f"CALLS = {str(tmp_path / 'calls')!r}\n{BLASTN}")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_best_hit_wins_and_the_lowest_of_equals(programs: Path) -> None:
    keys = ["AAAATT", "AAAAAA", "CCCCCC", "AAAATT", "AAAAAA"]
    queries = ["AAAAAA", "AAAATA", "GGGGGG", "CCCGGG", "AAAAAA"]
    # AAAATA has five letters in common with both of the first keys.
    assert best_hits(keys, queries).tolist() == [1, 0, -1, 2, 1]
    assert (programs / "calls").read_text() == "4 3\n"  # equal ones are searched once


def test_queries_are_searched_in_parts(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blast, "_QUERIES", 2)
    done: list[tuple[int, int]] = []
    queries = ["AAA", "CCC", "AAA", "GGG", "TTT", "CCA"]
    hits = best_hits(["TTT", "GGG", "CCC", "AAA"], queries, report=lambda *counts: done.append(counts))
    assert hits.tolist() == [3, 2, 3, 1, 0, -1]
    assert done == [(2, 5), (4, 5), (5, 5)]
    assert (programs / "calls").read_text() == "2 4\n2 4\n1 4\n"
    assert best_hits(["TTT"], []).tolist() == []


def test_a_measured_search_is_one_call(programs: Path) -> None:
    found = measured_search(
        ["AAAATT", "AAAAAA", "CCCCCC", "AAAATT"], ["AAAAAA", "GGGGGG", "AAAATA", "AAAAAA"], threads=3
    )
    assert found.hits.tolist() == [1, -1, 0, 1] and found.usage.seconds > 0
    assert (programs / "calls").read_text() == "4 3\n"


def test_version_is_that_of_blastn(programs: Path) -> None:
    assert is_installed() and version() == "9.8.7+"


@pytest.mark.parametrize("name", ["makeblastdb", "blastn"])
def test_a_missing_program_is_named(programs: Path, name: str) -> None:
    (programs / name).unlink()
    assert not is_installed()
    with pytest.raises(OSError, match=f"'{name}' is not installed. Install BLAST\\+ .*, or leave this baseline out"):
        best_hits(["ACGT"], ["ACGT"])


@pytest.mark.parametrize("name", ["makeblastdb", "blastn"])
@pytest.mark.parametrize(("words", "reason"), [("'no memory'", "no memory"), ("3", "exit code 3")])
def test_a_failure_is_told(programs: Path, name: str, words: str, reason: str) -> None:
    write_program(programs, name, f"import sys\nsys.exit({words})")
    with pytest.raises(OSError, match=f"'{name}' failed: {reason}"):
        best_hits(["ACGT"], ["ACGT"])


def test_without_keys_there_is_nothing_to_search_in(programs: Path) -> None:
    with pytest.raises(ValueError, match="needs keys to search in; there are none"):
        best_hits([], ["ACGT"])
    assert not (programs / "calls").exists()


@needs_blast
def test_barcodes_of_the_sample_find_themselves_and_their_variants(
    sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BLAST takes a path with a space for two.
    (tmp_path / "a folder").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a folder"))
    keys, queries = made_keys_and_queries(sample)
    assert best_hits(keys, queries).tolist() == BEST
    for task in TASKS:
        found = measured_search(keys, queries, task=task)
        assert found.hits.tolist() == BEST and found.usage.peak_bytes > 2**20
    assert not list((tmp_path / "a folder").iterdir())


@needs_blast
def test_installed_version_is_a_number() -> None:
    assert version()[0].isdecimal() and "." in version()
