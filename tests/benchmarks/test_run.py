"""All comparisons run in their quick form, once; and the command tells what is absent and what fails."""

import ast
import dataclasses
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REQUIRED = {
    "comparison": str,
    "title": str,
    "command": str,
    "date": str,
    "machine": dict,
    "load_average": list,
    "versions": dict,
    "quick": bool,
    "rows": list,
    "checks": dict,
    "notes": list,
}
ROW = {"what", "size", "unit", "better", "ours", "peer", "ratio", "bar"}
Records = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the quick form of all comparisons writes."""
    output = tmp_path_factory.mktemp("results")
    program, options = import_module("run"), import_module("comparison").Options(quick=True)
    assert program.run(import_module("comparison").COMPARISONS, options, output, command="COMMAND") == []
    return output


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def rows(records: Records) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, record in records.items():
        for row in record["rows"]:
            yield name, row


def test_every_program_that_compares_is_among_those_run() -> None:
    found = set()
    for path in BENCHMARKS.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "Comparison":
                found.add(f"{path.stem}:{node.name}")
    assert found - {"run:compare"} == set(import_module("comparison").COMPARISONS.values())


def test_each_comparison_has_a_file_with_every_field(records: Records) -> None:
    assert list(import_module("comparison").COMPARISONS) == sorted(
        records, key=list(import_module("comparison").COMPARISONS).index
    )
    for name, record in records.items():
        assert record["comparison"] == name and record["quick"] and record["command"] == "COMMAND"
        assert all(isinstance(record[key], kind) for key, kind in REQUIRED.items())
        assert {"cores", "cpu", "memory_gb"} <= set(record["machine"]) and record["versions"]["python"]
        assert record["rows"] and record["notes"] and all(record["checks"].values())
    for _, row in rows(records):
        assert set(row) == ROW and row["unit"] and row["ours"]["value"] >= 0


def test_ratios_and_bars_are_those_of_the_figures(records: Records) -> None:
    judged = 0
    for _, row in rows(records):
        ours, theirs = row["ours"]["value"], row["peer"] and row["peer"]["value"]
        if not ours or not theirs:
            assert row["ratio"] is None
        else:
            assert row["ratio"] == pytest.approx(ours / theirs if row["better"] == "higher" else theirs / ours)
        if bar := row["bar"]:
            value = ours if bar["of"] == "ours" else row["ratio"]
            met = None if value is None else value >= bar["at_least"] if "at_least" in bar else value <= bar["at_most"]
            assert bar["met"] == met
            judged += met is not None
    assert judged > 15


def test_table_has_a_row_for_each_way(records: Records, page: str) -> None:
    lines = [line.split(" | ") for line in page.split("## Figures")[1].splitlines() if line.startswith("| ")]
    assert len(lines) - 2 == sum(1 for _ in rows(records))
    for name, row in rows(records):
        shown = [line for line in lines if line[0] == f"| {name}" and line[3] == row["ours"]["way"]]
        peer = row["peer"]["way"] if row["peer"] else ""
        assert any(line[1] == f"{row['what']}: {row['unit']}" and line[5].strip() == peer for line in shown)
    titles = [
        (way if isinstance(way, str) else way[0] if isinstance(way, tuple) else way.title)
        for module, names in {
            "barcodebert_ways": ("TOKENIZING", "EMBEDDING", "TRAINING"),
            "clibd_loss": ("WAYS",),
            "clibd_towers": ("PROCESSORS",),
            "clustering": ("REDUCTIONS", "LINKAGES"),
            "images": ("WAYS",),
            "knn": ("WAYS",),
            "multimodal_loading": ("WAYS",),
        }.items()
        for ways in names
        for way in getattr(import_module(module), ways).values()
    ]
    assert len(titles) > 35 and [title for title in titles if title not in page] == []


def test_absent_peers_are_told(records: Records, page: str) -> None:
    for name in ("dataset", "images"):
        told = import_module("run").absent_peers(records[name])
        assert told and all("absent: give --peer PYTHON" in peer for peer in told)
        assert f"| {told[0].partition(' (')[0]} | absent: give --peer PYTHON |" in page
    peers = {row["peer"]["way"].split()[0] for row in records["identification"]["rows"]}
    assert peers == {"BLAST", "vsearch", "4-mer"}


def test_ways_give_the_same(records: Records) -> None:
    def figures(name: str, unit: str) -> dict[str, float]:
        return {row["ours"]["way"]: row["ours"]["value"] for row in records[name]["rows"] if row["unit"] == unit}

    assert max(figures("embedding", "largest difference from the reference").values()) < 1e-5
    # Other arithmetic is another result; a way that did not use it would be exact.
    cosines = figures("embedding", "smallest cosine to float32").values()
    assert len(cosines) == 2 and all(0 < 1 - cosine < 1e-3 for cosine in cosines)
    assert len(found := figures("contrastive_loss", "largest difference")) == 3 and max(found.values()) < 1e-5
    towers = figures("towers", "smallest cosine to float32")
    assert towers["**SDPA, float32**, as the model comes"] == pytest.approx(1, abs=1e-6)
    assert 1e-6 < 1 - towers["**SDPA, bfloat16**"] < 1e-3
    assert max(figures("ami", "difference from scikit-learn's").values()) < 1e-8
    assert min(figures("knn", "share of faiss's neighbours that it finds").values()) > 0.9


def test_committed_table_is_made_of_the_committed_files() -> None:
    pages, results = import_module("results_page"), BENCHMARKS / "results"
    committed = pages.read_records(results)
    assert {record["comparison"] for record in committed} == set(import_module("comparison").COMPARISONS)
    assert (results / "README.md").read_text(encoding="utf-8") == pages.page(committed)
    for record in committed:
        assert all(isinstance(record[key], kind) for key, kind in REQUIRED.items()) and not record["quick"]
        assert record["commit"] and " /" not in record["command"]
        for row in record["rows"]:
            ours, theirs = row["ours"]["value"], row["peer"] and row["peer"]["value"]
            if row["ratio"]:
                # Those of before `run.py` have been rounded.
                ratio = ours / theirs if row["better"] == "higher" else theirs / ours
                assert row["ratio"] == pytest.approx(ratio, rel=0.02)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A comparison that takes no time, whose peer is there if it is given, and one that fails."""
    program, parts = import_module("run"), import_module("comparison")
    row = parts.Row("sorting", "5 cards", "CPU s", "our way", 2.0, "their way", 8.0, bar=parts.Bar(5))

    def compare(name: str, options: Any) -> Any:
        if name == "broken":
            raise RuntimeError("no cards")
        absent = {} if options.peer else {"theirs": None, "absent": "absent: give --peer PYTHON"}
        return parts.Comparison("cards", [dataclasses.replace(row, **absent)], {"python": "3"}, {"Same": False})

    known = {"cards": "cards:compare", "broken": "broken:compare"}
    monkeypatch.setattr(program, "compare", compare)
    for module in (program, import_module("results_page")):
        monkeypatch.setattr(module, "COMPARISONS", known)
    return program


def call(program: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    program.main()


def test_failing_comparison_is_told_and_stops_no_other(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(made, monkeypatch, "--only", "broken,cards", "--output", tmp_path)
    # A text is written to stderr, with exit code 1.
    assert stopped.value.code == "failed: broken"
    assert "no cards" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("*.json")] == ["cards.json"]


def test_bar_that_is_missed_and_a_difference_are_told(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(made, monkeypatch, "--only", "cards", "--peer", "python", "--output", tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| sorting: CPU s | 5 cards | our way | 2 | their way | 8 | 4x | at least 5x: **not met** |" in page
    assert "0 of 1 bars" in page and "- Same: **no**." in page
    assert f"`python benchmarks/run.py --only cards --peer python --output {tmp_path.name}`" in page


def test_earlier_result_stays_if_its_peer_is_absent_now(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(made, monkeypatch, "--only", "cards", "--output", tmp_path)
    first = json.loads((tmp_path / "cards.json").read_text(encoding="utf-8"))
    assert first["rows"][0]["peer"]["absent"] and "kept" not in first
    call(made, monkeypatch, "--only", "cards", "--peer", "python", "--output", tmp_path)
    second = json.loads((tmp_path / "cards.json").read_text(encoding="utf-8"))
    assert second["rows"][0]["ratio"] == 4
    call(made, monkeypatch, "--only", "cards", "--output", tmp_path)
    third = json.loads((tmp_path / "cards.json").read_text(encoding="utf-8"))
    kept = third.pop("kept")
    assert third == second and kept["absent"] == ["their way (absent: give --peer PYTHON)"]
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"- This is the result of {second['date']}, which stays" in page and "their way (absent: give --peer" in page


def test_labelled_results_stand_beside_the_others(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(made, monkeypatch, "--only", "cards", "--output", tmp_path)
    call(made, monkeypatch, "--only", "cards", "--peer", "python", "--label", "h200", "--output", tmp_path)
    assert {path.name for path in tmp_path.glob("*.json")} == {"cards.json", "cards-h200.json"}
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert page.count("| cards | ") == 2 and page.count("| cards, h200 | ") == 2


def test_unknown_name_is_wrong_usage(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(made, monkeypatch, "--only", "cards,house")
    assert stopped.value.code == 2


@pytest.mark.slow
def test_streams_come_from_a_hub(tmp_path: Path) -> None:
    streaming = import_module("streaming")
    import_module("scale_data").write_metadata(tmp_path / "made.csv", 300)
    found = streaming.measure(tmp_path / "made.csv", 20)
    assert list(found) == list(streaming.STREAMS)
    for stream, result in found.items():
        assert result["rows"] == 17 and (result["bytes"].get("cropped_256", 0) > 0) == ("images and" in stream)


@pytest.mark.slow
def test_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    fresh, ami = import_module("measuring").fresh, import_module("ami")
    found = fresh(False, ami.run, "ours", 900, 80)
    assert found["AMI"] == ami.run("ours", 900, 80)["AMI"] and found["cpu"] > 0
