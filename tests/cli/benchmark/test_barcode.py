import json
from pathlib import Path

import pytest

from bioscan_hf.evaluation.results import Result, read_results
from bioscan_hf.hub import results_push
from bioscan_hf.tokenization.kmer import build_tokenizer
from tests.cli.test_program import run
from tests.tiny import tiny_masked_lm
from tests.training.made_runs import made_rows, write_table

WORDS = ["benchmark", "barcode", "--data", "a.csv", "--model", "kmer:3", "--neighbours", "3", "--output", "out"]


pytestmark = pytest.mark.usefixtures("folder")


def save_model(folder: Path) -> Path:
    tiny_masked_lm().save_pretrained(folder)
    build_tokenizer(3).save_pretrained(folder)
    return folder


def values(folder: Path, metric: str = "accuracy") -> dict[tuple[str, str], float]:
    return {(r.model, r.benchmark): r.value for r in read_results(folder / "results.json") if r.metric == metric}


def test_table_page_and_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS, "--baselines", "kmer:2") == 0
    shown = capsys.readouterr().out
    assert "24 keys; queries: 12 of seen species." in shown
    ours, published = shown.index("3-mer counts"), shown.index("BarcodeBERT 8-4-4")
    assert ours < shown.index("2-mer counts") < published < shown.index("47.0")
    assert "The last rows are published numbers" in shown
    assert {path.name for path in (folder / "out").iterdir()} == {
        *("README.md", "accuracy.png", "results.json", "settings.json")
    }
    found = values(folder / "out")
    assert found["3-mer counts", "1-NN species, seen species"] == 1
    assert {model for model, _ in found} == {"3-mer counts", "2-mer counts"}
    [command] = {result.command for result in read_results(folder / "out" / "results.json")}
    assert command.startswith("bioscan benchmark barcode --data a.csv")
    settings = json.loads((folder / "out" / "settings.json").read_text())
    assert settings["settings"]["neighbours"] == 3 and "torch" in settings["versions"]


def test_baselines_of_other_kinds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS, "--baselines", "kmer:2, cnn", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((folder / "out" / "results.json").read_text())
    assert "24 keys; queries: 12 of seen species." in err
    assert {model for model, _ in values(folder / "out")} == {"3-mer counts", "2-mer counts", "CNN"}
    monkeypatch.setenv("PATH", str(folder))
    assert run(monkeypatch, *WORDS, "--baselines", "blast") == 1
    assert "'blastn' is not installed. Install BLAST+" in capsys.readouterr().err


def test_linear_probe_and_results_of_another_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS, "--baselines", "none") == 0
    words = ["--model", "kmer:2", "--baselines", "none", "--linear-probe", "--compare", "out/results.json"]
    assert run(monkeypatch, *WORDS[:4], *words, "--output", "both", "--neighbours", "3") == 0
    found = values(folder / "both")
    assert ("2-mer counts", "species, seen species (linear probe)") in found
    assert ("3-mer counts", "species, seen species (linear probe)") not in found
    assert found["3-mer counts", "1-NN species, seen species"] == 1
    assert run(monkeypatch, *WORDS, "--baselines", "none", "--limit", "6", "--compare", "out/results.json") == 1
    assert "must be of the same queries" in capsys.readouterr().err


def test_finetuning_is_done_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(folder / "tiny")
    (folder / "settings.yaml").write_text("max_steps: 3\nbatch_size: 8\neval_strategy: 'no'\n")
    words = [*WORDS[:4], "--model", "tiny", "--baselines", "none", "--neighbours", "3", "--output", "out"]
    words += ["--finetune", "--finetune-config", "settings.yaml"]
    assert run(monkeypatch, *words) == 0
    first = values(folder / "out")["tiny", "species, seen species (full fine-tuning)"]
    model = folder / "out" / "finetuned-tiny" / "model.safetensors"
    written = model.stat().st_mtime_ns
    capsys.readouterr()
    assert run(monkeypatch, *words) == 0
    assert model.stat().st_mtime_ns == written
    assert values(folder / "out")["tiny", "species, seen species (full fine-tuning)"] == first


def test_results_of_the_first_model_are_pushed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed: list[tuple[list[Result], str, bool, bool]] = []

    def push(results: list[Result], repo_id: str, *, tasks: bool, pull_request: bool) -> str:
        pushed.append((results, repo_id, tasks, pull_request))
        return "https://the.hub/commit"

    monkeypatch.setattr(results_push, "push_results", push)
    monkeypatch.setattr(results_push, "check_can_push_results", lambda repo_id: None)
    words = ["--baselines", "kmer:2", "--push-to-hub", "me/model", "--pull-request"]
    assert run(monkeypatch, *WORDS, *words) == 0
    assert run(monkeypatch, *WORDS, *words, "--limit", "20") == 0
    (results, repo_id, tasks, pull_request), limited = pushed
    assert (repo_id, tasks, pull_request) == ("me/model", True, True)
    assert not limited[2], "that is not the paper's protocol"
    assert {result.model for result in results} == {"3-mer counts"}
    assert {result.metric for result in results} == {"accuracy"}
    assert "1-NN species, seen species" in {result.benchmark for result in results}
    assert "Pushed: https://the.hub/commit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--finetune-config", "x.yaml"], 2, "--finetune-config is for --finetune"),
        (["--finetune", "--limit", "3"], 2, "--limit draws specimens, and --finetune takes all"),
        (["--pull-request"], 2, "--pull-request is for --push-to-hub"),
        (["--queries", "tset"], 1, "Did you mean 'test'?"),
        (["--keys", "other_heldout"], 1, "other_heldout"),
        (["--neighbours", "25"], 1, "at most as many as keys, 24; got 25"),
        (["--temperature", "0"], 1, "temperature above 0"),
        (["--compare", "nothing.json"], 1, "nothing.json"),
        (["--splits", "nothing.csv"], 1, "nothing.csv"),
        (["--model", "nothing.parquet"], 1, "No such file"),
    ],
)
def test_wrong_arguments(
    words: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS, "--baselines", "none", *words) == code
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split()) and len(shown.splitlines()) == 1


def test_specimens_without_species_are_not_asked_for_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "species": ""} for row in made_rows()]
    write_table(folder / "a.csv", rows)
    assert run(monkeypatch, *WORDS, "--baselines", "none") == 1
    assert "None of the 24 specimens of the split 'train' has a species" in capsys.readouterr().err


def test_embeddings_of_other_specimens_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(folder / "b.csv", made_rows(30))
    assert run(monkeypatch, "embed", "b.csv", "--model", "kmer:2", "--output", "b.parquet") == 0
    assert run(monkeypatch, *WORDS[:4], "--model", "b.parquet", "--baselines", "none") == 1
    assert "'b.parquet' has no embedding of 'P" in capsys.readouterr().err
