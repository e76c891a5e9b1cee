from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bioscan_hf.evaluation.baselines.programs import Usage
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.identification import benchmark_programs
from tests.cli.test_program import run

WORDS = ["benchmark", "identification", "--baselines", "kmer:4", "--threads", "1", "--output", "out"]


class InProcess:
    """Runs `bioscan identify` in this process, where all imports are done already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.said = ""
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, Usage]:
        self.said += self._capsys.readouterr().out
        assert command[1:4] == ["-c", "import bioscan_launcher; bioscan_launcher.main()", "identify"]
        assert environment["OMP_NUM_THREADS"] == "1"
        assert run(self._monkeypatch, *command[3:]) == 0
        return self._capsys.readouterr().out, Usage(60.0, 1.0, 10**8)


def check(folder: Path, shown: str) -> dict[str, float]:
    """Look at what was shown and written of 40 queries of each split of the sample; gives the speed of ours."""
    assert "603 keys; queries: 40 of seen species, 40 of unseen species." in shown
    assert "Bars" in shown and "Calibration error" in shown and "Written to out/" in shown
    found = {(r.model, r.benchmark, r.metric): r for r in read_results(folder / "out" / "results.json")}
    ours, counts = "bioscan identify", "4-mer counts, 1-NN"
    assert {model for model, *_ in found} == {ours, counts}
    assert found[ours, "species, seen species", "accuracy"].value > 0.9
    genus = [found[model, "genus, unseen species", "accuracy"] for model in (ours, counts)]
    assert genus[0].value > genus[1].value > 0.5 and genus[0].count == 40
    assert found[ours, "novelty", "auroc"].value > 0.8
    assert {path.name for path in (folder / "out").iterdir()} == {
        *("README.md", "results.json", "settings.json", "speed.png", "reliability.png", "risk.png")
    }
    assert "bioscan benchmark identification --baselines kmer:4" in (folder / "out" / "README.md").read_text()
    return {metric: result.value for (model, name, metric), result in found.items() if (model, name) == (ours, "speed")}


def test_the_sample(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    in_process = InProcess(monkeypatch, capsys)
    monkeypatch.setattr(benchmark_programs, "run_measured", in_process)
    assert run(monkeypatch, *WORDS, "--limit", "40") == 0
    speed = check(folder, in_process.said + capsys.readouterr().out)
    assert speed["queries_per_second"] > speed["queries_per_second_with_start"] == pytest.approx(80 / 60)


@pytest.mark.slow
def test_the_sample_in_a_process_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *WORDS, "--limit", "40") == 0
    speed = check(folder, capsys.readouterr().out)
    assert speed["queries_per_second"] > speed["queries_per_second_with_start"] > 0
    assert 50 < speed["peak_megabytes"] < 4000 and speed["cpu_seconds"] > 0.1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--threads", "0"], 2, "should be greater than or equal to 1"),
        (["--limit", "0"], 2, "should be greater than or equal to 1"),
        (["--max-error", "0"], 1, "`max_error` must be between 0 and 1"),
        (["--baselines", "kmer"], 1, "There is no baseline 'kmer'"),
        (["--queries", "tset"], 1, "Did you mean 'test'?"),
        (["--data", "nothing.csv"], 1, "nothing.csv"),
        (["--data", "a.csv", "--keys", "key_unseen"], 1, "got 0 keys and 12 queries. Choose other splits"),
    ],
)
def test_wrong_arguments(
    words: list[str],
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *WORDS, *words) == code
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split()) and len(shown.splitlines()) == 1
    assert not (folder / "out").exists()


def test_a_program_that_is_not_installed_is_told_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert run(monkeypatch, *WORDS, "--data", "nothing.csv", "--baselines", "vsearch") == 1
    assert "'vsearch' is not installed" in capsys.readouterr().err
