import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.results import results_schema
from tests.cli.test_program import run
from tests.identification.made_library import library, non_coi, picture, save_clibd, specimens, with_images

TEST = specimens("test", 60)
WORDS = ["identify", "q.fasta", "--library", "lib"]


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library") / "lib"
    library().save(folder)
    return folder


@pytest.fixture(autouse=True)
def folder(lib: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "lib").symlink_to(lib)
    write_fasta("q.fasta", TEST["processid"], TEST["dna_barcode"])
    return tmp_path


def write_fasta(name: str, ids: Sequence[str], barcodes: Sequence[str]) -> None:
    Path(name).write_text("".join(f">{own}\n{barcode}\n" for own, barcode in zip(ids, barcodes, strict=True)))


def test_on_the_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *WORDS, "--max-error", "0.05") == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if line.strip()]
    found = [line.split()[0] for line in lines if line.split()[0].startswith("SIM")]
    assert found == TEST["processid"][:50]
    text = " ".join(shown.out.split())
    assert "... and 10 more; --output FILE writes all." in text
    assert "60 queries in" in text and "with a safe name (at most 5 % wrong)" in text and not shown.err
    table = Identifier(library(), max_error=0.05)(TEST["dna_barcode"][:])
    safe = table["safe_rank"].to_pylist()
    assert f"{60 - safe.count(None)} with a safe name" in text and f"{safe.count('species')} of them to species" in text


def test_names_with_brackets_are_shown_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ["[bold]A", "B[/x]", "C[red]"]
    write_fasta("q.fasta", ids, [*TEST["dna_barcode"][:2], non_coi()])
    assert run(monkeypatch, *WORDS, "--output", "names[/1].csv") == 0
    assert "Written: names[/1].csv" in capsys.readouterr().out
    assert run(monkeypatch, *WORDS) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ids) and "not like the barcodes of the library" in " ".join(shown.split())


@pytest.mark.parametrize("name", ["n.csv", "n.tsv.gz", "n.jsonl", "n.parquet"])
def test_files(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--output", f"new/{name}", "--max-error", "0.05", "--nearest", "2", "--threads", "2"]
    assert run(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert "60 queries in" in " ".join(shown.split()) and shown.splitlines()[-1] == f"Written: new/{name}"
    path = folder / "new" / name
    assert [file.name for file in path.parent.iterdir()] == [name]
    expected = Identifier(library(), max_error=0.05, nearest=2)(TEST["dna_barcode"][:], TEST["processid"][:])
    if name.endswith(".parquet"):
        assert pq.read_table(path).equals(expected) and pq.read_schema(path).equals(results_schema(2))
        return
    if name.endswith(".jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        Path("plain").write_bytes(text)
        options = pacsv.ParseOptions(delimiter="\t" if "tsv" in name else ",")
        convert = pacsv.ConvertOptions(strings_can_be_null=True, column_types=results_schema(2))
        rows = pacsv.read_csv("plain", parse_options=options, convert_options=convert).to_pylist()
    for row, own in zip(rows, expected.to_pylist(), strict=True):
        assert row == pytest.approx(own, abs=1e-4)


def test_one_line_of_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *WORDS, "--output", "n.csv", "--json") == 0
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 1 and not shown.err
    told = json.loads(shown.out)
    assert set(told) == {"queries", "seconds", "start_seconds"} and told["queries"] == 60
    assert told["start_seconds"] > 0 < told["seconds"]
    assert len(Path("n.csv").read_text().splitlines()) == 61


def test_several_sources_and_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = specimens("test_unseen", 20)
    unseen.to_csv("u.csv")
    words = ["identify", "q.fasta", "u.csv", "q.fasta", "--library", "lib", "--output", "n.parquet"]
    assert run(monkeypatch, *words) == 0
    expected = [*TEST["processid"], *unseen["processid"], *TEST["processid"]]
    assert pq.read_table("n.parquet")["processid"].to_pylist() == expected
    Path("s.csv").write_text("processid,split\n" + "".join(f"{name},val\n" for name in unseen["processid"][:7]))
    chosen = ["identify", "u.csv", "--library", "lib", "--split", "val", "--splits", "s.csv", "--output", "n.parquet"]
    assert run(monkeypatch, *chosen) == 0
    assert pq.read_table("n.parquet")["processid"].to_pylist() == unseen["processid"][:7]


def test_bad_records_get_a_note_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = TEST["dna_barcode"][:2]
    ids = ["good", "random", "protein", "empty", "good", "low"]
    write_fasta("q.fasta", ids, [good[0], non_coi(), "MSLLPEFKIVLDLSGW", "", good[1], f"--{good[1].lower()}"])
    assert run(monkeypatch, *WORDS, "--output", "n.parquet") == 0
    assert "4 with notes" in " ".join(capsys.readouterr().out.split())
    rows = pq.read_table("n.parquet").to_pylist()
    assert [row["processid"] for row in rows] == ids
    notes = [row["notes"] or "" for row in rows]
    for note, part in zip(
        notes, ["", "not like", "looks like a protein", "is empty", "more than once", ""], strict=True
    ):
        assert part in note and bool(part) == bool(note)
    named = [row["genus"] for row in rows]
    assert named == [TEST[0]["genus"], None, None, None, TEST[1]["genus"], TEST[1]["genus"]]
    assert {rows[1][rank] for rank in RANKS} == {None}


def test_a_page(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *WORDS, "--output", "n.csv", "--summary", "new/page.html") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Written: new/page.html"
    page = (folder / "new" / "page.html").read_text()
    assert "bioscan identify q.fasta --library lib" in page and "603" in page and "q.fasta" in page


def test_what_is_not_calibrated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Library.build(specimens("train", 5)).save("few")
    assert run(monkeypatch, "identify", "q.fasta", "--library", "few") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "0 with a safe name" in text and "The library is not calibrated, so that no name is called safe" in text


def test_images_without_a_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Path("photos/P0.png").write_bytes(picture("Aus", 0))
    assert run(monkeypatch, "identify", "photos", "--library", "lib") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the library has no model for images" in text and "1 with notes" in text
    assert "not calibrated" not in text


def test_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_clibd(folder / "clibd")
    given = specimens("train", 20)
    Library.build(with_images(given), calibration=specimens("val", 2), model=str(model)).save("pictured")
    Path("photos").mkdir()
    for row in range(3):
        Path(f"photos/P{row}.png").write_bytes(picture(given[row]["genus"], row))
    Path("photos/P9.png").write_bytes(picture("Aus", 0)[:70])
    words = ["identify", "photos", "q.fasta", "--library", "pictured", "--output", "n.parquet", "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    rows = pq.read_table("n.parquet").to_pylist()
    assert [row["processid"] for row in rows[:4]] == ["P0", "P1", "P2", "P9"]
    assert [row["evidence"] for row in rows] == ["image"] * 3 + [None] + ["barcode"] * 60
    assert [row["nearest_processid"] for row in rows[:3]] == given["processid"][:3]
    assert "cannot be decoded" in rows[3]["notes"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["identify", "q.fasta"], 2, "Missing option '--library'"),
        (["identify", "--library", "lib"], 2, "Missing argument 'QUERIES'"),
        ([*WORDS, "--nearest", "21"], 2, "--nearest"),
        ([*WORDS, "--threads", "0"], 2, "--threads"),
        ([*WORDS, "--summary", "page.txt"], 2, "--summary must be a file *.html; got 'page.txt'"),
        ([*WORDS, "--max-error", "0"], 1, "`max_error` must be between 0 and 1"),
        ([*WORDS, "--output", "n.xlsx"], 1, "'n.xlsx' has none of the endings"),
        ([*WORDS, "--split", "test"], 1, "'q.fasta' has no specimens of the split 'test'"),
        (["identify", "q.fasta", "--library", "nothing"], 1, "No such library: 'nothing'"),
        (["identify", "q.fasta", "--library", "q.fasta"], 1, "'q.fasta' is a file; a library is a folder"),
        (["identify", "q.fasta", "--library", "."], 1, "is no library: it has no library.json"),
        (["identify", "empty.fasta", "--library", "lib"], 1, "empty.fasta"),
        (
            ["identify", "q.fasta", "no.fasta", "--library", "lib", "--output", "n.csv"],
            1,
            "No such file or folder: 'no.fasta'",
        ),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("empty.fasta").write_text("")
    assert run(monkeypatch, *words) == code
    shown = capsys.readouterr()
    error = shown.err.strip()
    assert error.startswith("bioscan: ") and message in " ".join(error.split()) and "\n" not in error
    assert not shown.out and not (folder / "n.csv").exists()
