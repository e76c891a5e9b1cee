"""A run from its arguments to the model in its folder and on the Hub."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError
from transformers import AutoModel, AutoTokenizer

from bioscan_hf.evaluation.results import read_results, write_results
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub.uploads import Uploads
from bioscan_hf.training import run as run_module
from bioscan_hf.training.checkpoints import find_checkpoints, step_of
from bioscan_hf.training.masked_lm import pretraining_task
from bioscan_hf.training.run import Run, run
from tests.hub_server.fixture import LocalHub
from tests.tiny import RESULT
from tests.training.made_runs import forget_processes, pretraining, sha256, write_table


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_processes()
    yield
    forget_processes()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


@pytest.fixture
def local(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The local Hub, to which this process pushes, without long waits between attempts."""
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    monkeypatch.setattr(run_module, "Uploads", partial(Uploads, attempts=2, wait=0.01))
    return hub


def pretrain(table: Path, output: Path, **changes: Any) -> Run:
    return run(pretraining_task, pretraining(table, output, **changes), command="bioscan pretrain --it")


@pytest.fixture(scope="module")
def written(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """What a run writes."""
    folder = tmp_path_factory.mktemp("written") / "my-model"
    forget_processes()
    return folder, pretrain(table, folder, eval_strategy="steps", eval_steps=3, ema_decay=0.9)


def test_folder_holds_a_model_that_loads_and_all_that_is_known_of_it(written: tuple[Path, Run]) -> None:
    folder, result = written
    assert AutoModel.from_pretrained(folder).config.kmer_size == 3
    assert AutoTokenizer.from_pretrained(folder)("ACGT")["input_ids"]
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "results.json", "training.png", "history.json", "run.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.startswith((".", "ema", "optimizer", "weights", "trainer_state"))]
    assert read_results(folder / "results.json") == result.results
    description = json.loads((folder / "run.json").read_text())
    assert description["finished"] and description["command"] == "bioscan pretrain --it"
    assert description["arguments"]["seed"] == 0 and description["data"]["name"] == "table.csv"
    assert result.outcome.state.history == json.loads((folder / "history.json").read_text())


def test_final_model_is_the_last_checkpoint_and_the_average(written: tuple[Path, Run]) -> None:
    folder, _ = written
    assert sha256(folder / "model.safetensors") == sha256(folder / "checkpoint-6" / "model.safetensors")
    assert (folder / "checkpoint-6" / "weights.safetensors").exists(), "what is trained lies beside the average"


def test_results_are_of_the_model_by_its_name_and_of_a_baseline(written: tuple[Path, Run]) -> None:
    folder, result = written
    assert [found.model for found in result.results] == ["my-model", "4-mer counts"]
    assert {found.command for found in result.results} == {"bioscan pretrain --it"}
    card = ModelCard.load(folder / "README.md")
    (own,) = card.data.eval_results
    assert card.data.model_name == "my-model" and own.metric_value == result.results[0].value
    assert "bioscan pretrain --it" in card.text and str(folder.parent) not in card.text


def test_checkpoint_loads_like_a_model(written: tuple[Path, Run]) -> None:
    folder, _ = written
    for checkpoint in find_checkpoints(folder):
        assert AutoModel.from_pretrained(checkpoint).config.hidden_size == 16
        kinds = {path.suffix for path in checkpoint.rglob("*") if path.is_file()}
        assert kinds <= {".safetensors", ".json", ".py"}, "nothing is a pickle"


def test_streamed_data_give_a_model_and_a_card(table: Path, tmp_path: Path) -> None:
    result = pretrain(table, tmp_path / "model", streaming=True, shuffle_buffer=10)
    assert result.results and (tmp_path / "model" / "README.md").exists()


def test_barcodemae_is_trained_by_the_same_loop(table: Path, tmp_path: Path) -> None:
    result = pretrain(table, tmp_path / "model", objective="mae", max_steps=2)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["BarcodeMAE"] and result.results


def test_results_of_other_runs_stand_in_the_card_and_nowhere_else(table: Path, tmp_path: Path) -> None:
    write_results([replace(RESULT, model="another-model", value=0.123)], tmp_path / "results.json")
    arguments = pretraining(table, tmp_path / "out", compare=str(tmp_path / "results.json"), max_steps=1)
    results = run(pretraining_task, arguments, command="c").results
    card = (tmp_path / "out" / "README.md").read_text()
    assert "another-model" in card and "12.3" in card and "`bioscan demo --seed 3`" in card
    assert "another-model" not in {result.model for result in results}
    assert read_results(tmp_path / "out" / "results.json") == results
    missing = replace(arguments, compare="no.json", output=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        run(pretraining_task, missing, command="c")
    assert not (tmp_path / "none").exists()


def test_without_checkpoints_only_the_model_is_left(table: Path, tmp_path: Path) -> None:
    pretrain(table, tmp_path / "model", save_strategy="no", max_steps=2)
    assert not find_checkpoints(tmp_path / "model") and (tmp_path / "model" / "model.safetensors").exists()


def test_best_checkpoint_becomes_the_model(table: Path, tmp_path: Path) -> None:
    changes = {"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "eval_loss", "learning_rate": 5.0}
    result = pretrain(table, tmp_path / "model", **changes, greater_is_better=True, lr_scheduler_type="constant")
    values = {r["step"]: r["eval_loss"] for r in result.outcome.state.history if "eval_loss" in r}
    best = max(values, key=lambda step: values[step])
    assert result.outcome.checkpoint == tmp_path / "model" / f"checkpoint-{best}"
    assert sha256(tmp_path / "model" / "model.safetensors") == sha256(result.outcome.checkpoint / "model.safetensors")


def test_metric_without_specimens_to_evaluate_with_is_refused_first(table: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table.read_text().replace(",val\n", ",train\n"))
    with pytest.raises(ValueError, match=r"`metric_for_best_model` .* needs specimens to evaluate with"):
        pretrain(tmp_path / "t.csv", tmp_path / "m", metric_for_best_model="eval_loss", eval_strategy="epoch")
    assert not find_checkpoints(tmp_path / "m")


def test_checkpoints_and_model_are_pushed(table: Path, local: LocalHub, tmp_path: Path) -> None:
    result = pretrain(table, tmp_path / "model", push_to_hub="tester/pushed-run", private=True)
    assert result.address is not None and "tester/pushed-run" in result.address
    api = local.api()
    branches = {branch.name for branch in api.list_repo_refs("tester/pushed-run").branches}
    assert branches == {"main", "checkpoint-2", "checkpoint-4", "checkpoint-6"}
    assert api.repo_info("tester/pushed-run").private
    files = set(api.list_repo_files("tester/pushed-run"))
    assert {"model.safetensors", "config.json", "README.md", "results.json", "training.png"} <= files
    assert not [name for name in files if name.startswith(("checkpoint-", ".partial", ".upload", "optimizer", "run."))]
    for step in (2, 6):
        loaded = api.hf_hub_download(
            "tester/pushed-run", "model.safetensors", revision=f"checkpoint-{step}", cache_dir=tmp_path / "cache"
        )
        assert sha256(Path(loaded)) == sha256(tmp_path / "model" / f"checkpoint-{step}" / "model.safetensors")


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 401}, {"status": 412}, {"cut": True}])
def test_a_hub_that_fails_in_the_middle_loses_nothing(
    fault: dict[str, Any], table: Path, local: LocalHub, tmp_path: Path
) -> None:
    repo = f"tester/failing-{fault.get('status', 'cut')}"
    local.fail("POST", "/api/(repos/create|models/.*/(commit|preupload|branch))", times=999, **fault)
    with warnings.catch_warnings(record=True) as caught, pytest.raises(OSError, match="hf upload") as failure:
        warnings.simplefilter("always")
        pretrain(table, tmp_path / "model", push_to_hub=repo)
    assert "The model is complete in" in str(failure.value) and "\n" not in str(failure.value)
    messages = [str(warning.message) for warning in caught]
    assert any("checkpoint-2 was not uploaded" in message for message in messages)
    assert any("checkpoint-6 was not uploaded" in message for message in messages)
    folder = tmp_path / "model"
    assert [step_of(path) for path in find_checkpoints(folder)] == [2, 4, 6]
    assert json.loads((folder / "run.json").read_text())["finished"] and (folder / "README.md").exists()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".upload")]
    local.heal()
    assert "tester" in hub_push.push_folder(folder, repo)


def test_a_hub_that_recovers_gets_what_comes_later(table: Path, local: LocalHub, tmp_path: Path) -> None:
    local.fail("POST", "/api/repos/create", times=2)
    with pytest.warns(UserWarning, match="checkpoint-2 was not uploaded"):
        result = pretrain(table, tmp_path / "model", push_to_hub="tester/recovering")
    branches = {branch.name for branch in local.api().list_repo_refs("tester/recovering").branches}
    assert branches == {"main", "checkpoint-4", "checkpoint-6"} and result.address is not None


def test_a_refused_token_is_told_before_the_training(table: Path, local: LocalHub, tmp_path: Path) -> None:
    local.fail("GET", "/api/whoami", status=401, times=9)
    with pytest.raises(OSError, match=r"401|token|Unauthorized"):
        pretrain(table, tmp_path / "model", push_to_hub="tester/refused")
    assert not find_checkpoints(tmp_path / "model")
    with pytest.raises((RepositoryNotFoundError, HfHubHTTPError)):
        local.api().repo_info("tester/refused")


def test_runs_in_one_process_have_nothing_to_do_with_each_other(table: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pretrain(table, tmp_path / name, max_steps=2)
        torch.rand(3)
    assert sha256(tmp_path / "a" / "model.safetensors") == sha256(tmp_path / "b" / "model.safetensors")
    pretrain(table, tmp_path / "c", max_steps=2, seed=1)
    assert sha256(tmp_path / "a" / "model.safetensors") != sha256(tmp_path / "c" / "model.safetensors")


def test_data_without_splits_are_trained_on_and_nothing_is_measured(tmp_path: Path) -> None:
    rows = Dataset.from_csv(str(write_table(tmp_path / "t.csv"))).remove_columns("split")
    rows.to_csv(tmp_path / "u.csv")
    result = pretrain(tmp_path / "u.csv", tmp_path / "model")
    assert not result.results and json.loads((tmp_path / "model" / "results.json").read_text()) == []
