"""A folder of either class loads as both, by every Auto class and pipeline, with the package and without."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    pipeline,
)

from bioscan_hf import ClibdConfig, ClibdForImageClassification, ClibdModel, ClibdProcessor
from tests.hub_server.fixture import LocalHub
from tests.models.clibd.made_specimens import made_batch
from tests.tiny import tiny_clibd, tiny_clibd_config, tiny_clibd_processor

TAXA = ["Aptera Aus bus", "Bptera Cus dus", "Bptera Cus eus"]
WITHOUT_THE_PACKAGE = """
import json
import sys
sys.modules["bioscan_hf"] = None  # any import of the package now fails
import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoModelForImageClassification, AutoProcessor, pipeline

name = sys.argv[1]
model = AutoModel.from_pretrained(name, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(name, trust_remote_code=True)
classifier = AutoModelForImageClassification.from_pretrained(name, trust_remote_code=True)
image = Image.fromarray(np.arange(12 * 14 * 3, dtype=np.uint8).reshape(12, 14, 3))
inputs = processor(images=image, text="Aptera Aus bus", dna="ACGTACGTACGTTTG")
with torch.no_grad():
    outputs = model(**inputs)
    logits = classifier(inputs["pixel_values"]).logits
found = pipeline("zero-shot-image-classification", model=name, trust_remote_code=True)(
    image, candidate_labels=["Aptera Aus bus", "Bptera Cus dus"], hypothesis_template="{}"
)
print(json.dumps({
    "modules": [type(part).__module__.split(".")[0] for part in (model, processor, classifier)],
    "embeds": [outputs[name][0].tolist() for name in ("image_embeds", "dna_embeds", "text_embeds")],
    "logits": logits[0].tolist(),
    "scores": [one["score"] for one in found],
}))
"""


def image() -> Image.Image:
    return Image.fromarray(np.arange(12 * 14 * 3, dtype=np.uint8).reshape(12, 14, 3))


def loaded(auto: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, set]]:
    model, report = auto.from_pretrained(folder, output_loading_info=True, **options)
    return model, {name: keys for name, keys in report.items() if keys}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with its processor."""
    path = tmp_path_factory.mktemp("clibd") / "model"
    torch.manual_seed(0)
    model = ClibdForImageClassification(tiny_clibd_config()).eval()
    processor = tiny_clibd_processor()
    model.set_taxa(TAXA, processor)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@torch.no_grad()
@pytest.mark.parametrize("fields", [{}, {"dna_head": "mlm", "loss_type": "sigmoid"}, {"modalities": ["image", "dna"]}])
def test_round_trip(fields: dict[str, Any], tmp_path: Path) -> None:
    model = tiny_clibd(**fields)
    model.logit_scale.log_scale.fill_(1.5)
    model.save_pretrained(tmp_path)
    again, report = loaded(AutoModel, tmp_path)
    assert type(again) is ClibdModel and not report and not again.training
    batch = made_batch()
    if "text" not in model.config.modalities:
        batch = {name: batch[name] for name in ("pixel_values", "dna_input_ids", "dna_attention_mask")}
    for found, expected in zip(again(**batch).to_tuple(), model(**batch).to_tuple(), strict=True):
        assert torch.equal(found, expected)
    half, _ = loaded(AutoModel, tmp_path, dtype=torch.bfloat16)
    kinds = {name: parameter.dtype for name, parameter in half.named_parameters()}
    assert kinds.pop("logit_scale.log_scale") == torch.float32
    kinds.pop("logit_scale.bias", None)
    assert set(kinds.values()) == {torch.bfloat16}


def test_auto_classes_find_the_classes(folder: Path) -> None:
    assert type(AutoConfig.from_pretrained(folder)) is ClibdConfig
    assert type(AutoModel.from_pretrained(folder)) is ClibdModel
    assert type(AutoModelForZeroShotImageClassification.from_pretrained(folder)) is ClibdModel
    assert type(AutoModelForImageClassification.from_pretrained(folder)) is ClibdForImageClassification
    assert type(AutoProcessor.from_pretrained(folder)) is ClibdProcessor


@torch.no_grad()
def test_each_class_loads_a_folder_of_the_other(folder: Path, tmp_path: Path) -> None:
    classifier, report = loaded(ClibdForImageClassification, folder)
    assert not report and classifier.config.taxa == TAXA
    logits = classifier(made_batch()["pixel_values"]).logits
    assert logits.std() > 0.1
    model, report = loaded(ClibdModel, folder)
    assert not report
    assert torch.equal(model(**made_batch()).loss, classifier.clibd(**made_batch()).loss)
    model.config.taxa = None
    model.save_pretrained(tmp_path)
    again, _ = loaded(ClibdForImageClassification, tmp_path)
    again.set_taxa(TAXA, tiny_clibd_processor())
    torch.testing.assert_close(again(made_batch()["pixel_values"]).logits, logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_factor_that_a_folder_lacks_gets_its_first_value(dtype: torch.dtype, tmp_path: Path) -> None:
    tiny_clibd(loss_type="sigmoid").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file({k: v for k, v in weights.items() if "logit_scale" not in k}, path, metadata={"format": "pt"})
    model, report = loaded(ClibdModel, tmp_path, dtype=dtype)
    assert report == {"missing_keys": {"logit_scale.log_scale", "logit_scale.bias"}}
    scale = model.logit_scale()
    assert scale.dtype == torch.float32 and model.logit_scale.bias == -10
    torch.testing.assert_close(scale.item(), 1 / 0.07, rtol=1e-5 if dtype == torch.float32 else 0.01, atol=0)


def test_misshapen_and_surplus_tensors_are_reported(tmp_path: Path) -> None:
    tiny_clibd().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    key = "vision_projection.weight"
    moved = {"vision_proj.weight": weights[key]}
    save_file({**{k: v for k, v in weights.items() if k != key}, **moved}, path, metadata={"format": "pt"})
    _, report = loaded(ClibdModel, tmp_path)
    assert report == {"missing_keys": {key}, "unexpected_keys": {"vision_proj.weight"}}
    save_file({**weights, key: torch.zeros(3, 3)}, path, metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        ClibdModel.from_pretrained(tmp_path)


def test_pipelines(folder: Path) -> None:
    named: Any = pipeline("image-classification", model=str(folder))
    found = named([image(), image()], top_k=3)
    classifier = ClibdForImageClassification.from_pretrained(folder)
    inputs = tiny_clibd_processor()(images=image())
    with torch.no_grad():
        expected = classifier(inputs["pixel_values"]).logits[0].softmax(dim=-1)
    for one in found:
        assert {entry["label"] for entry in one} == set(TAXA)
        for entry in one:
            assert entry["score"] == pytest.approx(float(expected[TAXA.index(entry["label"])]), abs=1e-4)
    compared: Any = pipeline("zero-shot-image-classification", model=str(folder))
    # The very texts that the classifier holds.
    found = compared(image(), candidate_labels=TAXA, hypothesis_template="{}")
    for entry in found:
        assert entry["score"] == pytest.approx(float(expected[TAXA.index(entry["label"])]), abs=1e-4)
    assert compared(image(), candidate_labels=["Aptera"])[0]["score"] == pytest.approx(1)


def check_found(answer: str, folder: Path) -> None:
    found = json.loads(answer.splitlines()[-1])
    assert found["modules"] == ["transformers_modules"] * 3
    inputs = tiny_clibd_processor()(images=image(), text="Aptera Aus bus", dna="ACGTACGTACGTTTG")
    with torch.no_grad():
        outputs = ClibdModel.from_pretrained(folder)(**inputs)
        logits = ClibdForImageClassification.from_pretrained(folder)(inputs["pixel_values"]).logits[0]
    expected = [outputs[name][0] for name in ("image_embeds", "dna_embeds", "text_embeds")]
    torch.testing.assert_close(torch.tensor(found["embeds"]), torch.stack(expected))
    torch.testing.assert_close(torch.tensor(found["logits"]), logits)
    assert sum(found["scores"]) == pytest.approx(1)


def test_folder_works_without_the_package(hub: LocalHub, folder: Path, tmp_path: Path) -> None:
    check_found(hub.run(WITHOUT_THE_PACKAGE, tmp_path, str(folder)).stdout, folder)


@pytest.mark.slow
def test_pushed_model_loads_without_the_package(hub: LocalHub, folder: Path, tmp_path: Path) -> None:
    hub.api().create_repo("tester/clibd", exist_ok=True)
    hub.api().upload_folder(repo_id="tester/clibd", folder_path=folder)
    check_found(hub.run(WITHOUT_THE_PACKAGE, tmp_path, "tester/clibd").stdout, folder)
