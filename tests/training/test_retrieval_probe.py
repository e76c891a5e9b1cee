from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from bioscan_hf.evaluation.benchmarks.paper import HARMONIC
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import RetrievalModel, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_run import run_retrieval
from bioscan_hf.evaluation.encoders.clibd import clibd_encoders
from bioscan_hf.training.contrastive import alignment_task
from bioscan_hf.training.retrieval_probe import RetrievalProbe
from tests.training.made_alignments import (
    align,
    alignment,
    made_rows,
    save_towers,
    without,
    without_pictures,
    write_specimens,
)
from tests.training.made_runs import sha256

EACH = {"eval_strategy": "steps", "eval_steps": 1}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Specimens of whom some lack a photograph or a barcode."""
    rows = [without(row, *{4: ["image"], 9: ["dna"]}.get(i % 11, [])) for i, row in enumerate(made_rows(96))]
    return write_specimens(tmp_path_factory.mktemp("data") / "table.parquet", rows)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_towers(tmp_path_factory.mktemp("towers"))


def loaded(table: Path, **changes: Any) -> RetrievalProbe | None:
    return RetrievalProbe.load(alignment(table, Path("o"), **{**EACH, **changes}))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_numbers_are_those_of_benchmark_3(
    method: str, table: Path, towers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    pairs = ("image-dna", "dna-image", "text-dna", "image-image")
    arguments = alignment(table, Path("o"), **towers, **EACH, eval_pairs=",".join(pairs), method=method)
    torch.manual_seed(0)
    task = alignment_task(arguments, Accelerator(cpu=True))
    assert task.evaluate is not None
    found = task.evaluate(task.model.eval())

    model: Any = task.model
    bare = model.get_base_model() if method == "lora" else model
    processor: Any = task.tokenizer
    results = run_retrieval(
        [RetrievalModel("m", clibd_encoders(bare, processor))],
        table,
        RetrievalSettings(queries="val", pairs=pairs),
        cache=tmp_path / "cache",
        output=tmp_path / "report",
        command="c",
        report=lambda *_: None,
        say=lambda message: None,
    )
    of_pair: dict[str, list[float]] = {}
    for result in results:
        if result.metric in ("accuracy", "macro_accuracy") and HARMONIC not in result.benchmark:
            of_pair.setdefault(result.benchmark.split(" retrieval")[0], []).append(result.value)
    names = {"image to DNA": "image_to_dna", "DNA to image": "dna_to_image", "text to DNA": "text_to_dna"}
    names["image to image"] = "image_to_image"
    assert {names[title]: len(values) for title, values in of_pair.items()} == dict.fromkeys(names.values(), 16)
    expected = {names[title]: float(np.mean(values)) for title, values in of_pair.items()}
    assert found == pytest.approx({**expected, "overall": float(np.mean(list(expected.values())))})
    assert 0 < found["overall"] < 1


def test_the_best_checkpoint_becomes_the_model(
    table: Path, towers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.25, 0.75, 0.5, 0.25])
    monkeypatch.setattr(RetrievalProbe, "measure", lambda *_: {"overall": next(values)})
    without_pictures(monkeypatch)
    options: dict[str, Any] = {**towers, **EACH, "metric_for_best_model": "overall"}
    result = align(table, tmp_path / "model", **options, save_total_limit=1)
    assert result.outcome.state.best_step == 2
    assert result.outcome.checkpoint == tmp_path / "model" / "checkpoint-2"
    best, model = tmp_path / "model" / "checkpoint-2" / "model.safetensors", tmp_path / "model" / "model.safetensors"
    assert sha256(best) == sha256(model)


@pytest.mark.slow  # two runs
def test_it_does_not_change_the_training(table: Path, towers: dict[str, str], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        for name, options in {"with": EACH, "without": {}}.items():
            align(table, tmp_path / name, **towers, **options, max_steps=2)
    assert sha256(tmp_path / "with" / "model.safetensors") == sha256(tmp_path / "without" / "model.safetensors")


def test_pairs_are_those_that_model_and_data_allow(table: Path, tmp_path: Path) -> None:
    def names(probe: RetrievalProbe | None) -> list[str]:
        return [] if probe is None else [pair.name for pair in probe.pairs]

    assert names(loaded(table)) == ["image-dna", "image-image", "dna-dna"]
    assert names(loaded(table, modalities="image,text")) == ["image-image"]
    assert names(loaded(table, modalities="dna,text", eval_pairs="text-dna,image-dna")) == ["text-dna"]
    assert names(loaded(table, eval_pairs="joint-dna, dna-all")) == ["joint-dna", "dna-all"]
    rows = [without(row, "image") if row["split"].startswith("val") else row for row in made_rows(96)]
    assert names(loaded(write_specimens(tmp_path / "t.parquet", rows))) == ["dna-dna"]
    with pytest.raises(ValueError, match=r"Expected pairs of query and key; got 'image-sound'. Possible are: "):
        loaded(table, eval_pairs="image-sound")


def test_without_anything_to_evaluate_there_is_none(table: Path, tmp_path: Path) -> None:
    assert loaded(table, eval_strategy="no") is None
    assert loaded(table, modalities="dna,text", eval_pairs="image-dna") is None
    for name, split in (("train", "train"), ("none", None)):
        rows = [{**row, "split": split} for row in made_rows(24)]
        assert loaded(write_specimens(tmp_path / f"{name}.parquet", rows)) is None


def test_keys_and_queries_may_be_fewer_and_are_the_same_each_time(table: Path) -> None:
    def drawn(**changes: Any) -> Dataset:
        probe = loaded(table, **changes)
        assert probe is not None
        return probe.specimens

    every = drawn()
    some = drawn(max_eval_keys=20, max_eval_samples=6)
    queries = [split for split in some["split"] if split.startswith("val")]
    assert (len(some), len(queries)) == (26, 6) and len(every) > 26
    assert some["processid"][:] == drawn(max_eval_keys=20, max_eval_samples=6)["processid"][:]
    assert set(some["processid"]) <= set(every["processid"])
