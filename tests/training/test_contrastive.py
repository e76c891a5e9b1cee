"""Alignments from a table to a model in its folder."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from huggingface_hub import HfApi, ModelCard
from transformers import AutoModel, AutoProcessor

from bioscan_hf import ClibdModel, ClibdProcessor, load_specimens
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.clibd import clibd_encoders, load_clibd
from bioscan_hf.evaluation.results import read_results
from bioscan_hf.hub import push as hub_push
from bioscan_hf.hub.uploads import Uploads
from bioscan_hf.training import run as run_module
from bioscan_hf.training.run import Run
from tests.hub_server.fixture import LocalHub
from tests.training.made_alignments import (
    align,
    alignment,
    made_rows,
    save_towers,
    trained,
    without,
    without_pictures,
    write_specimens,
)
from tests.training.made_runs import forget_processes, sha256

Folders = dict[str, str]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_processes()
    yield
    forget_processes()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_specimens(tmp_path_factory.mktemp("data") / "table.parquet")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Specimens without splits, so that nothing is measured."""
    rows = [{**row, "split": None} for row in made_rows(24)]
    return write_specimens(tmp_path_factory.mktemp("bare") / "bare.parquet", rows)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return save_towers(tmp_path_factory.mktemp("towers"))


@pytest.fixture(scope="module")
def written(table: Path, towers: Folders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Run]]:
    """What a run of all three modalities writes."""
    folder = tmp_path_factory.mktemp("written") / "my-clibd"
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        yield folder, align(table, folder, **towers, eval_strategy="steps", eval_steps=2, image_learning_rate=1e-4)


class TestWholeRun:
    """From a table to a folder."""

    def test_the_folder_holds_a_model_that_loads_anywhere(self, written: tuple[Path, Run], table: Path) -> None:
        folder, result = written
        model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
        assert isinstance(model, ClibdModel) and isinstance(processor, ClibdProcessor)
        assert model.config.projection_dim == 16 and model.config.text_form == "clibd"
        assert result.outcome.checkpoint == folder / "checkpoint-4"
        assert sha256(folder / "model.safetensors") == sha256(folder / "checkpoint-4" / "model.safetensors")
        row = load_specimens(table, image=True)[0]
        inputs = processor(images=[row["image"]], dna=[row["dna_barcode"]], text=["Aptera Afam Aus Aus bus"])
        assert ClibdModel.from_pretrained(folder).eval()(**inputs).dna_embeds.shape == (1, 16)

    def test_benchmark_3_is_measured_with_that_model(self, written: tuple[Path, Run]) -> None:
        folder, result = written
        assert read_results(folder / "results.json") == result.results
        assert {r.model for r in result.results} == {"my-clibd"}
        assert {r.split for r in result.results} == {"test", "test_unseen", "test+test_unseen"}
        assert {r.model_revision for r in result.results} == {digest(folder / "model.safetensors")}
        assert {r.command for r in result.results} == {"bioscan align --it"}
        for pair in ("DNA to DNA", "image to image", "image to DNA", "image to text", "joint to DNA"):
            assert any(r.benchmark.startswith(pair) for r in result.results), pair

    def test_the_report_goes_with_it(self, written: tuple[Path, Run]) -> None:
        folder, result = written
        page = (folder / "retrieval" / "README.md").read_text()
        assert "| my-clibd |" in page and "bioscan align --it" in page
        assert read_results(folder / "retrieval" / "results.json") == result.results
        assert (folder / "training.png").stat().st_size > 1000

    def test_the_card_tells_all_of_it(self, written: tuple[Path, Run]) -> None:
        folder, _ = written
        text = (folder / "README.md").read_text()
        for expected in (
            "# my-clibd\n",
            "Contrastive alignment of image, DNA and text, on 50 specimens of table.parquet",
            "8 specimens were compared with each other at a time",
            "**Labels were used: order, family, genus and species.**",
            "(guessing: 2.08)",
            "[retrieval/README.md](retrieval/README.md)",
            f"{ClibdModel.from_pretrained(folder).num_parameters():,} parameters",
            "- Last evaluation, at step 4: image to dna",
            "| `image_learning_rate` | 0.0001 |",
        ):
            assert expected in text, expected
        card: Any = ModelCard(text).data
        assert card.pipeline_tag == "zero-shot-image-classification" and card.eval_results

    def test_evaluations_are_recorded(self, written: tuple[Path, Run]) -> None:
        history = json.loads((written[0] / "history.json").read_text())
        evaluated = [record for record in history if "eval_overall" in record]
        assert [record["step"] for record in evaluated] == [2, 4]
        for record in evaluated:
            values = [record[f"eval_{pair}"] for pair in ("image_to_dna", "image_to_image", "dna_to_dna")]
            assert record["eval_overall"] == pytest.approx(np.mean(values))


@pytest.mark.parametrize(
    ("names", "title", "pair"),
    [
        ("dna,text", "Contrastive alignment of DNA and text", "DNA to DNA"),
        pytest.param("image,dna", "Contrastive alignment of image and DNA", "image to DNA", marks=pytest.mark.slow),
        pytest.param("image,text", "Contrastive alignment of image and text", "image to text", marks=pytest.mark.slow),
    ],
)
def test_two_modalities_are_enough(
    names: str, title: str, pair: str, table: Path, towers: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    result = align(table, tmp_path / "model", **towers, modalities=names, eval_strategy="steps", eval_steps=4)
    config = AutoModel.from_pretrained(tmp_path / "model").config
    assert config.modalities == names.split(",")
    assert title in (tmp_path / "model" / "README.md").read_text()
    assert any(r.benchmark.startswith(pair) for r in result.results)
    assert "eval_overall" in result.outcome.state.history[-1]
    assert load_clibd(tmp_path / "model").keys() == set(names.split(","))


def test_data_without_splits_are_trained_on_and_nothing_is_measured(
    bare: Path, towers: Folders, tmp_path: Path
) -> None:
    result = align(bare, tmp_path / "model", **towers, max_steps=1, eval_strategy="epoch")
    assert not result.results and not (tmp_path / "model" / "retrieval").exists()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "on 24 specimens" in card and "None: the data have no test splits" in card


def test_splits_that_do_not_suffice_for_the_benchmark_give_a_warning(towers: Folders, tmp_path: Path) -> None:
    rows = [{**row, "split": "train"} for row in made_rows(24)]
    table = write_specimens(tmp_path / "t.parquet", rows)
    with pytest.warns(UserWarning, match="Benchmark 3 was not measured"):
        result = align(table, tmp_path / "model", **towers, max_steps=1)
    assert not result.results and (tmp_path / "model" / "model.safetensors").exists()
    assert not (tmp_path / "model" / "retrieval").exists()


def test_a_metric_that_cannot_be_computed_is_refused_first(bare: Path, towers: Folders, tmp_path: Path) -> None:
    wanted = {"eval_strategy": "epoch", "metric_for_best_model": "overall"}
    with pytest.raises(ValueError, match=r"`metric_for_best_model` \('overall'\) needs queries of the split"):
        align(bare, tmp_path / "model", **towers, **wanted)


def test_more_than_there_is_in_a_step_is_refused(bare: Path, towers: Folders, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"A step takes 25 examples .* the data have 24"):
        align(bare, tmp_path / "model", **towers, batch_size=25)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_stream_is_trained_on_with_and_without_a_worker(
    workers: int, table: Path, towers: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    options: dict[str, Any] = {"streaming": True, "shuffle_buffer": 16, "max_test_samples": 8}
    result = align(table, tmp_path / "model", **towers, **options, num_workers=workers)
    assert result.outcome.ended == "finished" and result.results
    assert "on streamed specimens of table.parquet" in (tmp_path / "model" / "README.md").read_text()


def test_the_loss_falls_and_the_modalities_find_each_other(table: Path, towers: Folders) -> None:
    options: dict[str, Any] = {"max_steps": 50, "batch_size": 16, "learning_rate": 1e-2, "augment": False}
    task, losses = trained(alignment(table, Path("o"), **towers, **options))
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    specimens = load_specimens(table, image=True)
    processor: Any = task.tokenizer
    encoders = clibd_encoders(task.model.eval(), processor)  # type: ignore[arg-type]
    vectors = {name: encoder.embed(specimens) for name, encoder in encoders.items()}
    units = {name: own / np.linalg.norm(own, axis=1, keepdims=True) for name, own in vectors.items()}
    species = np.array(specimens["species"])
    seen = species != "Ius jus"
    for a, b in (("image", "dna"), ("image", "text"), ("dna", "text")):
        nearest = (units[a][seen] @ units[b][seen].T).argmax(axis=1)
        assert (species[seen][nearest] == species[seen]).mean() > 0.8, (a, b)


def test_specimens_that_lack_something_take_part(towers: Folders, tmp_path: Path) -> None:
    rows = [without(row, ("image", "dna", "text")[i % 3]) for i, row in enumerate(made_rows(24))]
    table = write_specimens(tmp_path / "t.parquet", [{**row, "split": None} for row in rows])
    task, losses = trained(alignment(table, Path("o"), **towers))
    assert isinstance(task.examples, Dataset) and len(task.examples) == 24 and np.isfinite(losses).all()


@pytest.mark.slow  # pushes five times
def test_model_and_checkpoints_are_pushed_with_all_their_parts(
    table: Path, towers: Folders, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    monkeypatch.setattr(hub_push, "HfApi", partial(HfApi, endpoint=hub.url, token=hub.token))
    monkeypatch.setattr(run_module, "Uploads", partial(Uploads, attempts=2, wait=0.01))
    result = align(table, tmp_path / "model", **towers, push_to_hub="tester/aligned")
    assert result.address is not None and "tester/aligned" in result.address
    api = hub.api()
    files = set(api.list_repo_files("tester/aligned"))
    assert {"model.safetensors", "README.md", "dna_tokenizer/tokenizer.json", "retrieval/README.md"} <= files
    assert {"modeling_clibd.py", "loss_clibd.py", "processing_clibd.py", "processor_config.json"} <= files
    assert not [name for name in files if name.startswith(("checkpoint-", ".partial", "optimizer", "weights"))]
    at_step_2 = set(api.list_repo_files("tester/aligned", revision="checkpoint-2"))
    assert {"model.safetensors", "dna_tokenizer/tokenizer.json"} <= at_step_2 and "weights.safetensors" not in at_step_2
