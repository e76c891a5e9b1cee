"""Both benchmarks on a local BIOSCAN-5M, and on a repository on the Hub."""

from pathlib import Path

import pytest

from bioscan_hf.data.release import REPOSITORY
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.hub.dataset_cards import save_dataset_card
from tests.cli.test_program import run
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import make_release

BARCODE = ["benchmark", "barcode", "--model", "kmer:4", "--baselines", "none", "--neighbours", "1", "--output", "b"]
CLUSTERING = ["benchmark", "clustering", "--dna", "kmer:4", "--reduction", "none", "--output", "c"]


@pytest.mark.usefixtures("folder")
def test_released_archives(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(Path("release"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(Path("cache").absolute()))
    assert run(monkeypatch, *BARCODE, "--data", "release") == 0
    assert "20 keys; queries: 20 of seen species, 20 of unseen species." in capsys.readouterr().out
    assert {result.dataset for result in read_results(Path("b/results.json"))} == {"release"}
    assert run(monkeypatch, *CLUSTERING, "--image", "pixels:2", "--data", "release") == 0
    assert "40 specimens" in capsys.readouterr().out
    asked = {result.benchmark for result in read_results(Path("c/results.json"))}
    assert {f"zero-shot clustering of {name}, species" for name in ("DNA", "images", "images + DNA")} <= asked


def test_repository_on_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    make_conversion(tmp_path / "converted")
    save_dataset_card(tmp_path / "converted")
    api = hub.api()
    api.create_repo(REPOSITORY, repo_type="dataset", exist_ok=True)
    api.upload_folder(repo_id=REPOSITORY, folder_path=tmp_path / "converted", repo_type="dataset", delete_patterns="*")
    program = "import sys; from bioscan_hf.cli.program import main; sys.argv[0] = 'bioscan'; main()"
    done = hub.run(program, tmp_path, *BARCODE, "--data", REPOSITORY)
    assert " keys; queries: " in done.stdout
    results = read_results(tmp_path / "b" / "results.json")
    commit = str(api.dataset_info(REPOSITORY).sha)
    assert {(result.dataset, result.dataset_revision) for result in results} == {(REPOSITORY, commit)}
