from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from bioscan_hf import select_split
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.training.demo import run_demo


def test_writes_what_it_returns_and_reports_progress(sample: Dataset, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, str]] = []
    specimens = select_split(sample, "train+test").select(range(200, 785))
    results = run_demo(
        specimens,
        tmp_path,
        source=("a name", "a revision"),
        simulated=True,
        max_steps=2,
        seed=0,
        command="a command",
        model_id="me/model",
        report=lambda *progress: seen.append(progress),
    )
    assert read_results(tmp_path / "results.json") == results
    assert [result.split for result in results] == ["test", "test"], "there is no specimen in test_unseen"
    assert {(result.dataset, result.dataset_revision, result.command) for result in results} == {
        ("a name", "a revision", "a command")
    }
    assert [entry[:3] for entry in seen[:2]] == [("pretraining", 1, 2), ("pretraining", 2, 2)]
    assert seen[-1][0] == "embedding" and seen[-1][1] == seen[-1][2]
    assert "simulated" in (tmp_path / "model" / "README.md").read_text()


def test_a_barcode_that_cannot_be_embedded_is_an_error_before_the_training(sample: Dataset, tmp_path: Path) -> None:
    def cut(specimen: dict[str, Any], row: int) -> dict[str, Any]:
        return {"dna_barcode": "ACGT"} if row == 7 else {}

    def fail(*progress: object) -> None:
        raise AssertionError(f"the training has begun: {progress}")

    specimens = sample.select(range(64)).map(cut, with_indices=True)
    with pytest.raises(ValueError, match=f"barcode of '{specimens['processid'][7]}' cannot be embedded: .* 4 letters"):
        run_demo(
            specimens,
            tmp_path,
            source=("a name", "a revision"),
            simulated=True,
            max_steps=2,
            seed=0,
            command="a command",
            model_id="me/model",
            report=fail,
        )
    assert not any(tmp_path.iterdir())
