import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, parse_eval_result_entries
from huggingface_hub.errors import RevisionNotFoundError

from bioscan_hf.data.release import REPOSITORY
from bioscan_hf.evaluation.benchmarks.paper import NEAREST_GENUS, clustering_name
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub import results_push
from bioscan_hf.hub.results_push import check_can_push_results, push_results
from tests.hub_server.fixture import LocalHub
from tests.tiny import RESULT

GENUS = replace(RESULT, benchmark=NEAREST_GENUS, dataset=REPOSITORY, dataset_revision="a" * 40, model="me/a-model")
SPECIES = replace(GENUS, benchmark="20-NN genus, unseen species", value=0.375)
MACRO = replace(GENUS, metric="macro_accuracy", value=0.5)
CLUSTERS = replace(
    GENUS, benchmark=clustering_name("DNA", "species"), metric="ami_arithmetic", value=0.7, split="test+test_unseen"
)
CARD = """---
license: cc-by-4.0
model-index:
- name: A model
  results:
  - task: {type: feature-extraction, name: something else}
    dataset: {type: me/other, name: other}
    metrics: [{type: accuracy, value: 0.25}]
---
# A model

Text by its author.
"""


@pytest.fixture(autouse=True)
def api(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    for module in (hub_push, results_push):
        monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    return hub.api()


@pytest.fixture
def empty(api: HfApi) -> str:
    return str(api.create_repo(f"tester/measured-{uuid.uuid4().hex[:8]}").repo_id)


@pytest.fixture
def repo(api: HfApi, empty: str) -> str:
    api.create_commit(empty, [CommitOperationAdd("README.md", CARD.encode())], commit_message="A card")
    return empty


def read(api: HfApi, repo: str, path: str, revision: str | None = None) -> str:
    return Path(api.hf_hub_download(repo, path, revision=revision)).read_text(encoding="utf-8")


def card_values(api: HfApi, repo: str) -> dict[tuple[str, str], float]:
    data: Any = ModelCard(read(api, repo, "README.md")).data
    return {
        (
            (result.metric_name or "another").rsplit(f", {result.metric_type}")[0],
            result.metric_type,
        ): result.metric_value
        for result in data.eval_results
    }


def task_values(api: HfApi, repo: str) -> dict[str, float]:
    entries = parse_eval_result_entries(yaml.safe_load(read(api, repo, ".eval_results/bioscan_hf.yaml")))
    return {entry.task_id: entry.value for entry in entries}


def test_results_are_added_and_what_was_there_stays(api: HfApi, repo: str) -> None:
    address = push_results([GENUS, MACRO], repo)
    assert address.endswith(str(api.model_info(repo).sha))
    card = read(api, repo, "README.md")
    assert "Text by its author." in card and "license: cc-by-4.0" in card
    assert card_values(api, repo) == {
        ("another", "accuracy"): 0.25,
        (NEAREST_GENUS, "accuracy"): 0.625,
        (NEAREST_GENUS, "macro_accuracy"): 0.5,
    }
    assert task_values(api, repo) == {"open_world_genus_1nn": 0.625}, "a task has one metric"


def test_newer_results_replace_those_of_the_same_question_only(api: HfApi, repo: str) -> None:
    push_results([GENUS, MACRO, SPECIES], repo)
    push_results([replace(GENUS, value=0.75, dataset_revision="b" * 40), CLUSTERS], repo)
    values = card_values(api, repo)
    assert values[NEAREST_GENUS, "accuracy"] == 0.75
    assert values[SPECIES.benchmark, "accuracy"] == 0.375, "which a card has in one group with the other"
    assert len(values) == 5
    assert task_values(api, repo) == {"open_world_genus_1nn": 0.75, "clustering_dna": 0.7}
    push_results([replace(GENUS, value=0.75, dataset_revision="b" * 40), CLUSTERS], repo)
    assert len(card_values(api, repo)) == 5, "pushed twice, they are there once"


def test_results_on_data_of_ones_own_go_to_the_card_only(api: HfApi, repo: str) -> None:
    push_results([replace(GENUS, dataset="my.parquet")], repo)
    push_results([replace(MACRO, metric="accuracy", split="val_unseen")], repo, tasks=False)
    assert card_values(api, repo)[NEAREST_GENUS, "accuracy"] in (0.5, 0.625)
    assert not any(path.startswith(".eval_results") for path in api.list_repo_files(repo))


def test_a_repository_without_card_gets_one(api: HfApi, empty: str) -> None:
    push_results([GENUS], empty)
    assert card_values(api, empty) == {(NEAREST_GENUS, "accuracy"): 0.625}


def test_pull_request_leaves_the_main_branch_as_it_is(api: HfApi, repo: str) -> None:
    before = api.model_info(repo).sha
    address = push_results([GENUS], repo, pull_request=True)
    assert address.endswith(f"{repo}/discussions/1")
    assert api.model_info(repo).sha == before
    assert "0.625" in read(api, repo, "README.md", revision="refs/pr/1")


def test_a_hub_that_fails_is_asked_again_and_in_the_end_it_is_said_what_to_do(
    hub: LocalHub, api: HfApi, repo: str
) -> None:
    hub.fail("POST", f"{repo}/commit/", status=503, times=1)
    push_results([GENUS], repo, attempts=2, wait=0)
    assert task_values(api, repo) == {"open_world_genus_1nn": 0.625}
    hub.fail("POST", f"{repo}/commit/", status=503, times=5)
    with pytest.raises(OSError, match=r"push of 1 results to tester/measured-\w+ failed \(.*503.*results\.json"):
        push_results([MACRO], repo, attempts=2, wait=0)


@pytest.mark.parametrize("fault", [{"cut": True}, {"status": 504, "done": True}])
def test_no_second_pull_request_is_opened(fault: dict[str, Any], hub: LocalHub, api: HfApi, repo: str) -> None:
    hub.fail("POST", f"{repo}/commit/", **fault)
    with pytest.raises(OSError, match=r"does not say whether it has opened the pull request .* Look at"):
        push_results([GENUS], repo, pull_request=True, attempts=3, wait=0)
    assert "0.625" in read(api, repo, "README.md", revision="refs/pr/1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="refs/pr/2")


def test_without_results_or_repository_nothing_is_pushed(repo: str) -> None:
    results: list[Result] = []
    with pytest.raises(ValueError, match="no results to push"):
        push_results(results, repo)
    check_can_push_results(repo)
    with pytest.raises(OSError, match=r"no model 'tester/nowhere'.*Push the model first"):
        check_can_push_results("tester/nowhere")
    with pytest.raises(ValueError, match="Repo id"):
        check_can_push_results("not a name")
