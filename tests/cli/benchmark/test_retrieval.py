from pathlib import Path
from typing import Any

import pytest

from bioscan_hf.evaluation.results import Result, read_results
from bioscan_hf.hub import results_push
from tests.cli.test_program import run
from tests.evaluation.benchmarks.made_retrieval import aligned_model, blank_picture, made_rows, write_photos
from tests.made_release import make_release
from tests.tiny import tiny_clibd, tiny_clibd_processor
from tests.training.made_runs import write_table

OUTPUT = "bioscan-benchmark-retrieval"

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def photos(folder: Path) -> Path:
    """Photographs, and beside them a table of the same specimens without any."""
    write_table(folder / "b.csv", made_rows())
    return write_photos(folder / "photos", made_rows())


@pytest.fixture
def clibd(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What was asked to be loaded; it is made encoders."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def load_clibd(spec: str, **options: Any) -> dict[str, Any]:
        asked.append((spec, options))
        encoders = aligned_model(spec).encoders
        for encoder in encoders.values():
            encoder.name = spec  # type: ignore[misc]
        return dict(encoders)

    monkeypatch.setattr("bioscan_hf.evaluation.encoders.clibd.load_clibd", load_clibd)
    return asked


def macro(path: Path) -> dict[tuple[str, str], float]:
    return {
        (r.model, r.benchmark): r.value for r in read_results(path / "results.json") if r.metric.startswith("macro")
    }


def test_models_of_all_kinds(
    photos: Path,
    clibd: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--model", "me/clibd", "--dna", "kmer:2", "--image", "pixels:2", "--data", "photos", "--show", "2"]
    assert run(monkeypatch, "benchmark", "retrieval", *words, "--batch-size", "7", "--device", "cpu") == 0
    assert clibd == [("me/clibd", {"batch_size": 7, "device": "cpu"})]
    shown = capsys.readouterr().out
    assert "joint-dna: 4 queries of seen species, 2 queries of unseen species, 18 keys." in shown
    assert "image to DNA: taxon of the nearest key" in shown and "CLIBD (not aligned)" in shown
    found = macro(photos.parent / OUTPUT)
    assert {model for model, _ in found} == {"me/clibd", "2-mer counts", "2x2 pixels"}
    assert found["me/clibd", "image to text retrieval, species, unseen species"] == 1
    assert (photos.parent / OUTPUT / "keys_3_image-image.png").exists()


def test_a_clibd_of_a_folder(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_clibd().save_pretrained(folder / "tiny")
    tiny_clibd_processor().save_pretrained(folder / "tiny")
    words = ["--model", "tiny", "--data", "photos", "--pairs", "image-dna,text-all", "--show", "0"]
    assert run(monkeypatch, "benchmark", "retrieval", *words) == 0
    results = read_results(folder / OUTPUT / "results.json")
    assert {r.model for r in results} == {"tiny"} and all(r.model_revision for r in results)
    asked = {r.benchmark for r in results if r.benchmark.endswith("species, harmonic mean")}
    assert asked == {f"{pair} retrieval, species, harmonic mean" for pair in ("image to DNA", "text to all")}
    # The command, given once more, computes none of the images again.
    kept = sorted((folder / "hf").rglob("*.npy"))
    before = [path.stat().st_mtime_ns for path in kept]
    assert kept and run(monkeypatch, "benchmark", "retrieval", *words) == 0
    assert before == [path.stat().st_mtime_ns for path in kept]
    assert read_results(folder / OUTPUT / "results.json") == results


def test_released_archives(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(folder / "release")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder / "datasets"))
    words = ["--dna", "kmer:4", "--image", "pixels:2", "--data", "release", "--show", "2"]
    assert run(monkeypatch, "benchmark", "retrieval", *words) == 0
    counts = "20 queries of seen species, 20 queries of unseen species, 40 keys."
    shown = capsys.readouterr().out
    assert f"dna-dna: {counts}" in shown and f"image-image: {counts}" in shown
    assert {r.dataset for r in read_results(folder / OUTPUT / "results.json")} == {"release"}
    assert (folder / OUTPUT / "keys_2_image-image.png").exists()


def test_pairs_and_queries_of_choice(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**row, "split": row["split"].replace("test", "val")} for row in made_rows()]
    write_table(folder / "c.csv", rows)
    words = ["--dna", "kmer:2", "--dna", "kmer:3", "--data", "c.csv", "--queries", "val", "--pairs", "dna-dna, "]
    assert run(monkeypatch, "benchmark", "retrieval", *words, "--show", "0", "--output", "out") == 0
    results = read_results(folder / "out" / "results.json")
    assert {r.model for r in results} == {"2-mer counts", "3-mer counts"}
    assert {r.split for r in results} == {"val", "val_unseen", "val+val_unseen"}
    assert not list((folder / "out").glob("keys*.png"))


def test_by_default_the_packaged_model_and_counts_are_asked(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "benchmark", "retrieval", "--data", "b.csv", "--show", "1") == 0
    assert {model for model, _ in macro(folder / OUTPUT)} == {"barcodebert-small", "4-mer counts"}


def test_the_papers_numbers_of_the_first_model_are_pushed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[list[Result], bool]] = []

    def push(results: list[Result], repo_id: str, *, tasks: bool, pull_request: bool) -> str:
        pushed.append((results, tasks))
        return "https://the.hub/commit"

    monkeypatch.setattr("bioscan_hf.evaluation.benchmarks.retrieval_run.accuracy_by_rank", blank_picture)
    monkeypatch.setattr(results_push, "push_results", push)
    monkeypatch.setattr(results_push, "check_can_push_results", lambda repo_id: None)
    words = ["--dna", "kmer:2", "--image", "pixels:2", "--data", "photos", "--push-to-hub", "me/model", "--show", "0"]
    for more in ([], ["--limit", "6"], ["--queries", "test", "--keys", "train+key_unseen"], ["--keys", "train"]):
        assert run(monkeypatch, "benchmark", "retrieval", *words, *more) == 0
    assert [by_protocol for _, by_protocol in pushed] == [True, False, True, False]
    results = pushed[0][0]
    assert {r.model for r in results} == {"2-mer counts"} and {r.metric for r in results} == {"macro_accuracy"}
    assert "DNA to DNA retrieval, order, harmonic mean" in {r.benchmark for r in results}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--pull-request"], 2, "--pull-request is for --push-to-hub"),
        (["--queries", "train"], 2, "--queries"),
        (["--show", "-1"], 2, "--show"),
        (["--pairs", "dna-dna,dna-rna"], 1, "got 'dna-rna'. Possible are: image-image, image-dna"),
        (["--pairs", ","], 1, "at least one pair, such as dna-dna; got none"),
        (["--pairs", "dna-text"], 1, "dna-text needs one model of dna and text; '2-mer counts' embeds dna"),
        (["--keys", "trian"], 1, "Did you mean 'train'?"),
        (["--keys", "train+test"], 1, "Keys must be of other splits than queries"),
        (["--limit", "1"], 1, "5 keys are needed, and 2 have barcode"),
        (["--dna", "kmer:2"], 1, "Two models have the name '2-mer counts'"),
        (["--image", "pixels:2"], 1, "has no images"),
        (["--dna", "nothing.npz"], 1, "nothing.npz"),
    ],
)
def test_wrong_arguments(
    words: list[str],
    code: int,
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "benchmark", "retrieval", "--dna", "kmer:2", "--data", "b.csv", *words) == code
    captured = capsys.readouterr().err
    assert message in " ".join(captured.split()) and len(captured.splitlines()) == 1
