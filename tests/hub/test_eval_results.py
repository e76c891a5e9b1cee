from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from bioscan_hf.data.release import REPOSITORY
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub.dataset_cards import TASKS
from bioscan_hf.hub.eval_results import save_eval_results
from bioscan_hf.hub.push import push_folder
from tests.hub_server.fixture import LocalHub
from tests.tiny import RESULT

OFFICIAL = replace(RESULT, dataset=REPOSITORY, dataset_revision="5503434ddd753f426f4b38109466949a1217c2bb")
PROBE = replace(OFFICIAL, benchmark="linear probe, species", value=np.float64(0.9), split="test")
TASK_IDS = {
    OFFICIAL.benchmark: "open_world_genus_1nn",
    PROBE.benchmark: "closed_world_species_linear_probe",
}


def test_results_are_read_back_by_huggingface_hub(tmp_path: Path) -> None:
    unknown = replace(OFFICIAL, benchmark="another")
    path = save_eval_results(tmp_path, [OFFICIAL, unknown, PROBE], TASK_IDS)
    assert path == tmp_path / ".eval_results" / "bioscan_hf.yaml" and set(TASK_IDS.values()) <= set(TASKS)
    first, second = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert (first.dataset_id, first.task_id, first.value) == (REPOSITORY, "open_world_genus_1nn", 0.625)
    assert first.dataset_revision == OFFICIAL.dataset_revision
    assert first.date == datetime.now(UTC).date().isoformat()
    assert first.notes == "accuracy, 1,200 queries of test_unseen; `bioscan demo --seed 3`"
    assert (second.task_id, second.value) == ("closed_world_species_linear_probe", 0.9)


@pytest.mark.parametrize("dataset", ["own.parquet", "bioscan_hf sample (simulated specimens)", "a/b/c.csv", "my set/x"])
def test_results_on_other_data_are_left_out_and_an_old_file_is_removed(dataset: str, tmp_path: Path) -> None:
    old = save_eval_results(tmp_path, [OFFICIAL], TASK_IDS)
    assert save_eval_results(tmp_path, [replace(OFFICIAL, dataset=dataset)], TASK_IDS) is None
    assert old and not old.exists()


def test_results_of_two_models_are_refused(tmp_path: Path) -> None:
    baseline = replace(OFFICIAL, model="4-mer counts", value=0.5)
    with pytest.raises(
        ValueError, match=r"One result .* open_world_genus_1nn of .*second \(accuracy of 4-mer counts\)"
    ):
        save_eval_results(tmp_path, [OFFICIAL, baseline], TASK_IDS)


def test_push_of_the_folder_includes_them(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_push, "HfApi", partial(hub_push.HfApi, endpoint=hub.url, token=hub.token))
    save_eval_results(tmp_path, [OFFICIAL], TASK_IDS)
    push_folder(tmp_path, "tester/measured")
    assert ".eval_results/bioscan_hf.yaml" in hub.api().list_repo_files("tester/measured")
