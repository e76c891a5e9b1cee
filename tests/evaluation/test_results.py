from dataclasses import replace
from pathlib import Path

import pytest

from bioscan_hf.evaluation.results import read_results, results_markdown, write_results
from tests.tiny import RESULT

RESULTS = [RESULT, replace(RESULT, model="baseline", model_revision=None, value=0.5), replace(RESULT, benchmark="b")]


def test_written_results_are_read_back(tmp_path: Path) -> None:
    write_results(RESULTS, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == RESULTS


def test_table_has_a_row_per_benchmark_and_a_column_per_model() -> None:
    assert results_markdown(RESULTS).splitlines() == [
        "|  | queries | A model | baseline |",
        "| --- | ---: | ---: | ---: |",
        "| 1-NN genus, unseen species, accuracy (%) | 1,200 | 62.5 | 50.0 |",
        "| b, accuracy (%) | 1,200 | 62.5 | - |",
    ]


@pytest.mark.parametrize("text", ["", "{", '[{"value": 1}]', "3"])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ValueError, match="is no list of results"):
        read_results(tmp_path / "r.json")
