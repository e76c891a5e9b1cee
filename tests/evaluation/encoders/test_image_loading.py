import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, CLIPImageProcessorPil, ViTImageProcessorPil

from bioscan_hf import ImageEncoder, PixelEncoder, Precomputed, load_encoder, load_image_encoder
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.image_inputs import Preprocessing
from tests.evaluation.encoders.made_vision_models import LAYERS, SIZE, specimens, vision_model
from tests.evaluation.encoders.test_images import unmasked
from tests.hub_server.fixture import LocalHub

SPECIMENS = specimens()
HALF = (0.5, 0.5, 0.5)
PROCESSOR = {"size": SIZE, "image_mean": list(HALF), "image_std": list(HALF)}
PREPARED = Preprocessing(SIZE, HALF, HALF)


def saved(folder: Path, kind: str, **options: Any) -> Path:
    vision_model(kind).save_pretrained(folder, **options)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.mark.parametrize(
    "kind", ["vit", "clip", "clip-projection", "siglip", "registers", "resnet", "convnext", "beit"]
)
def test_a_folder_gives_what_the_model_gives(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "tiny", kind)
    encoder = load_image_encoder(str(folder), device="cpu", batch_size=3)
    assert isinstance(encoder, ImageEncoder) and not encoder.model.training
    assert (encoder.name, encoder.revision) == ("tiny", digest(folder / "model.safetensors"))
    assert encoder.preprocessing.source == "preprocessor_config.json"
    expected = ImageEncoder(vision_model(kind), PREPARED)
    assert encoder.pooling == expected.pooling
    np.testing.assert_allclose(encoder.embed(SPECIMENS), expected.embed(SPECIMENS), atol=1e-5)


def test_heads_are_left_out(tmp_path: Path) -> None:
    classifier: Any = vision_model("vit-classifier")
    encoder = load_image_encoder(saved(tmp_path / "a", "vit-classifier"), device="cpu")
    np.testing.assert_allclose(
        encoder.embed(SPECIMENS), ImageEncoder(classifier.vit, PREPARED).embed(SPECIMENS), atol=1e-5
    )
    encoder = load_image_encoder(saved(tmp_path / "b", "mae"), device="cpu")
    vit = ImageEncoder(unmasked(vision_model("mae")), PREPARED, pooling="mean")
    np.testing.assert_allclose(encoder.embed(SPECIMENS), vit.embed(SPECIMENS), atol=1e-5)


def test_weights_of_pickle_and_of_older_layouts(tmp_path: Path) -> None:
    """`pytorch_model.bin`; the names of layers of transformers 4; buffers that newer models do not have."""
    folder = saved(tmp_path / "clip", "clip")
    weights = load_file(folder / "model.safetensors")
    expected = load_image_encoder(folder, device="cpu").embed(SPECIMENS)
    weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    encoder = load_image_encoder(folder, device="cpu")
    assert encoder.revision == digest(folder / "pytorch_model.bin")
    np.testing.assert_allclose(encoder.embed(SPECIMENS), expected, atol=1e-5)

    folder = saved(tmp_path / "vit", "vit")
    names = load_file(folder / "model.safetensors")
    assert "encoder.layer.1.attention.attention.query.weight" in names, "as facebook/dino-vitb16 names it"


def test_missing_and_surplus_weights_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vit", "vit")
    weights = load_file(folder / "model.safetensors")
    without_pooler = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    changes: list[tuple[dict[str, Any], str | None]] = [
        (without_pooler, None),
        ({k: v for k, v in weights.items() if k != "layernorm.bias"}, r"1 \(layernorm.bias\) missing, none surplus"),
        (weights | {"embeddings.more": torch.ones(2)}, r"none missing, 1 \(embeddings.more\) surplus"),
        (weights | {"layernorm.bias": torch.ones(3)}, "cannot be loaded"),
    ]
    for changed, message in changes:
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        if message is None:
            load_image_encoder(folder, device="cpu")
            continue
        with pytest.raises(ValueError, match=message):
            load_image_encoder(folder)
    folder = saved(tmp_path / "beit", "beit")
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "pooler" not in k}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"2 \(pooler.layernorm.bias, pooler.layernorm.weight\) missing"):
        load_image_encoder(folder)


def test_preparation_is_that_of_the_model(tmp_path: Path) -> None:
    folder = saved(tmp_path / "clip", "clip")
    (folder / "preprocessor_config.json").unlink()
    encoder: Any = load_image_encoder(folder, device="cpu")
    assert encoder.preprocessing.size == SIZE and "no image processor" in encoder.preprocessing.source
    assert encoder.description["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    nested = {"image_processor": CLIPImageProcessorPil(crop_size=SIZE, size={"shortest_edge": 40}).to_dict()}
    (folder / "processor_config.json").write_text(json.dumps(nested, default=str))
    encoder = load_image_encoder(folder, device="cpu")
    assert encoder.preprocessing.source == "processor_config.json"
    assert encoder.preprocessing.size == SIZE and encoder.preprocessing.mean[0] == pytest.approx(0.48145466)
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    encoder = load_image_encoder(folder, device="cpu")
    assert encoder.preprocessing == Preprocessing(SIZE, HALF, HALF, "preprocessor_config.json")


def test_options(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vit", "vit")
    encoder: Any = load_image_encoder(folder, pooling="mean", precision="bfloat16", batch_size=3, device="cpu")
    assert (encoder.pooling, encoder.precision, encoder.batch_size) == ("mean", "bfloat16", 3)


def test_baseline_and_files(tmp_path: Path) -> None:
    encoder = load_image_encoder("pixels:8")
    assert isinstance(encoder, PixelEncoder) and encoder.dimension == 192
    np.savez(tmp_path / "a.npz", processids=["a"], embeddings=np.ones((1, 2)))
    assert isinstance(load_image_encoder(tmp_path / "a.npz"), Precomputed)
    wrong: list[dict[str, Any]] = [{"pooling": "mean"}, {"precision": "bfloat16"}]
    for spec in ("pixels:16", tmp_path / "a.npz"):
        for options in wrong:
            with pytest.raises(ValueError, match="`pooling` and `precision` are for models"):
                load_image_encoder(spec, **options)


@pytest.mark.parametrize("spec", ["pixels:", "pixels:x", "pixels:-1", "pixels:4.0", "a b", "x/y/z", ""])
def test_what_is_no_encoder_is_refused(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"(is no encoder|has no config.json).*expected 'pixels:16' for 16 x 16"):
        load_image_encoder(spec)


@pytest.mark.parametrize("spec", ["./x", "/no/such/model", "a.parquet", Path("x")])
def test_a_path_without_anything_is_not_sought_on_the_hub(spec: str | Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or folder.*'pixels:16'"):
        load_image_encoder(spec)


def test_checkpoints_of_other_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dino.pth").touch()
    for spec in (tmp_path / "dino.pth", "mae_pretrain_vit_base.pth"):
        with pytest.raises(ValueError, match=r"timm and torch.hub are not read here.*facebook/dino-vitb16.*the file"):
            load_image_encoder(spec)
    folder = saved(tmp_path / "timm", "vit")
    for config in ({"architecture": "vit_base_patch16_224"}, {"model_type": "timm_wrapper"}):
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=r"is none of transformers: weights of timm"):
            load_image_encoder(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(ValueError, match=r"needs code of its own \(code.Model\).*trust_remote_code=True"):
        load_image_encoder(folder)


def test_models_for_dna_and_for_images_are_told_apart(tmp_path: Path, masked_lm: Any) -> None:
    masked_lm.save_pretrained(tmp_path / "dna")
    BertModel(BertConfig(**LAYERS, intermediate_size=32, vocab_size=9)).save_pretrained(tmp_path / "text")
    for name, kind in (("dna", "barcodebert"), ("text", "bert")):
        with pytest.raises(ValueError, match=f"{name}' is no model for images, but of the type '{kind}'"):
            load_image_encoder(tmp_path / name)
    for kind in ("vit", "clip", "resnet", "mae"):
        with pytest.raises(ValueError, match=r"is a model for images \(.*\), not for DNA; .*`load_image_encoder`"):
            load_encoder(saved(tmp_path / kind, kind))


FROM_THE_HUB = """
import json, sys
from bioscan_hf import load_image_encoder
from tests.evaluation.encoders.made_vision_models import specimens

found = []
for revision in (None, "first"):
    encoder = load_image_encoder("tester/tiny-vit", revision=revision, device="cpu")
    found.append([encoder.name, encoder.revision, encoder.preprocessing.size, encoder.embed(specimens()).tolist()])
try:
    load_image_encoder("tester/no-such-vit")
except OSError as error:
    print(error)
print(json.dumps(found))
"""


def test_a_model_of_the_hub(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api, folder = hub.api(), saved(tmp_path / "vit", "vit")
    api.create_repo("tester/tiny-vit")
    commits = [api.upload_folder(repo_id="tester/tiny-vit", folder_path=folder).oid]
    api.create_tag("tester/tiny-vit", tag="first")
    expected = [load_image_encoder(folder, device="cpu").embed(SPECIMENS)]
    # The newest revision has another image processor.
    (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, "image_mean": 0.0}))
    commits.insert(0, api.upload_folder(repo_id="tester/tiny-vit", folder_path=folder).oid)
    expected.insert(0, load_image_encoder(folder, device="cpu").embed(SPECIMENS))

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    error, found = hub.run(FROM_THE_HUB, tmp_path).stdout.splitlines()[-2:]
    assert "'tester/no-such-vit' is no folder, and cannot be loaded from the Hub" in error
    names, revisions, sizes, vectors = zip(*json.loads(found), strict=True)
    assert set(names) == {"tester/tiny-vit"} and list(revisions) == commits and set(sizes) == {SIZE}
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert abs(expected[0] - expected[1]).max() > 1e-3
