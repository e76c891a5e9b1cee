import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from bioscan_hf import ClibdConfig
from bioscan_hf.hub.clibd_conversion import clibd_processor, convert_clibd_to_folder
from bioscan_hf.hub.conversion import Source, find_file
from bioscan_hf.models.clibd.convert_clibd import ClibdConversion
from bioscan_hf.tokenization.taxonomy import taxonomy_text
from tests.hub_server.fixture import LocalHub
from tests.made_clibd import DNA, HEADS, TEXT, make_text_tokenizer, reference, save_clibd, without

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
IMAGES = Path(__file__).parents[1] / "data" / "parity" / "image_transform.safetensors"
LABELS = {"order": "Diptera", "family": "Sciaridae"}


@pytest.fixture(scope="module")
def text_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_text_tokenizer(tmp_path_factory.mktemp("text") / "bert-small")


def convert(folder: Path, text_tokenizer: str, *left_out: str, name: str = "lora", **options: Any) -> ClibdConversion:
    """Convert a checkpoint of the reference, without some towers, into a folder."""
    path = save_clibd(folder.parent / f"{folder.name}.pth", without(reference(name).state, *left_out))
    absent = {TEXT: "text_config", DNA: "dna_config"}
    given = {key: own for key, own in HEADS.items() if key not in [absent[part] for part in left_out]}
    return convert_clibd_to_folder(find_file(str(path)), folder, given=given, text_tokenizer=text_tokenizer, **options)


def run_alone(hub: LocalHub, folders: Sequence[Path]) -> list[torch.Tensor]:
    """What the code in the cards computes in a process without the package."""
    program = "import os, sys\nsys.modules['bioscan_hf'] = None\n"
    for folder in folders:
        program += f"os.chdir('{folder}')\n{code_of(folder)}\nprint(similarities.tolist())\n"
    return [torch.tensor(json.loads(line)) for line in hub.run(program, folders[0].parent).stdout.splitlines()]


def code_of(folder: Path) -> str:
    found = BLOCK.search((folder / "README.md").read_text())
    assert found
    return found[1]


def test_code_in_the_cards_runs_with_and_without_the_package(
    hub: LocalHub, tmp_path: Path, text_tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases: dict[str, tuple[tuple[str, ...], dict[str, Any], int]] = {
        "whole": ((), {}, 2),
        "apart": ((), {"adapter": True}, 2),
        "image_dna": ((TEXT,), {}, 1),
        "image_text": ((DNA,), {}, 2),
    }
    folders, ours = [tmp_path / name for name in cases], []
    for folder, (left_out, options, others) in zip(folders, cases.values(), strict=True):
        convert(folder, text_tokenizer, *left_out, **options)
        Image.effect_noise((60, 40), 99).save(folder / "specimen.jpg")
        monkeypatch.chdir(folder)
        names: dict[str, Any] = {}
        exec(code_of(folder).replace(", trust_remote_code=True", ""), names)
        assert names["similarities"].shape == (1, others)
        ours.append(names["similarities"])
    for alone, expected in zip(run_alone(hub, folders), ours, strict=True):
        torch.testing.assert_close(alone, expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_adapter_on_the_base_is_the_merged_model(tmp_path: Path, text_tokenizer: str) -> None:
    from peft import PeftModel

    convert(tmp_path / "apart", text_tokenizer, adapter=True)
    convert(tmp_path / "merged", text_tokenizer)
    base, merged = AutoModel.from_pretrained(tmp_path / "apart"), AutoModel.from_pretrained(tmp_path / "merged")
    inputs: dict[str, Any] = {key: own for key, own in reference("lora").inputs.items() if not key.startswith("text_")}
    inputs["input_ids"] = reference("lora").inputs["text_input_ids"]
    before = base(**inputs)
    adapted = PeftModel.from_pretrained(base, tmp_path / "apart" / "adapter").eval()
    expected, found = merged(**inputs), adapted(**inputs)
    whole = adapted.merge_and_unload()(**inputs)
    for name in ("image_embeds", "dna_embeds", "text_embeds"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(whole[name], expected[name], atol=1e-6, rtol=0)
        assert (before[name] - expected[name]).abs().max() > 1e-4
    config = json.loads((tmp_path / "apart" / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 4 and config["lora_dropout"] == 0
    assert config["base_model_name_or_path"] is None and isinstance(config["target_modules"], str)


def test_processor_makes_what_the_reference_makes(tmp_path: Path, text_tokenizer: str) -> None:
    convert(tmp_path / "model", text_tokenizer)
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    text = taxonomy_text(LABELS, form="clibd")
    inputs = processor(images=[Image.new("RGB", (80, 60), "white")], dna=["ACGTN" * 200], text=[text, text * 9])
    assert inputs["pixel_values"].shape == (1, 3, 32, 32) and inputs["pixel_values"].unique().tolist() == [1.0]
    assert inputs["dna_input_ids"].tolist() == [[0, *[2] * 132]]
    assert inputs["input_ids"].shape == (2, 20) and inputs["attention_mask"].sum(1).tolist()[1] == 20
    assert processor.image_processor.size["shortest_edge"] == 37


def test_images_at_the_published_size_are_those_of_the_reference() -> None:
    config = ClibdConfig(modalities=["image", "dna"])
    processor, images = clibd_processor(config, None), load_file(IMAGES)
    for name in ("img0", "img1"):
        ours = processor(images=Image.fromarray(images[f"{name}.uint8_hwc"].numpy()))["pixel_values"][0]
        # The reference resizes floating point numbers, Pillow rounds to bytes.
        torch.testing.assert_close(ours, images[f"{name}.resize256_crop224"].float(), atol=1 / 255 + 1e-3, rtol=0)
    assert processor.tokenizer.get_vocab() == processor.dna_tokenizer.get_vocab()


def test_card_says_what_it_is_and_where_it_comes_from(tmp_path: Path, text_tokenizer: str) -> None:
    convert(tmp_path / "model", text_tokenizer, name="full")
    text = (tmp_path / "model" / "README.md").read_text()
    for expected in (
        "# CLIBD, image + dna + text",
        "3 towers that embed specimens in one\nspace of 18 dimensions",
        "| dna | BERT, 5-mers of the first 660 letters; 2 layers, 2 heads, hidden size 20 |",
        "| source | `model.pth` |",
        hashlib.sha256((tmp_path / "model.pth").read_bytes()).hexdigest(),
        "| kind of checkpoint | with LoRA in the tower for images alone, where the reference leaves it in full "
        "fine-tuning; here it is in the weights |",
        "| `vision_config.num_attention_heads` | 3 (given by whoever converted it) |",
        "- `dna_pooling` is head_softmax_mean: as in all published checkpoints",
        "issue 33 of bioscan-ml/clibd",
        "- BERT's pooler, which CLIBD does not use",
        "resized to 37 pixels on their shorter side and cut to\n32 x 32",
        "fills texts up to 20 tokens by itself",
        "arXiv 2405.17537",
        "arXiv 2406.12723",
    ):
        assert expected in text
    for unwanted in (str(tmp_path), "{{ ", "{%", "\n\n\n", "adapter", "stands in"):
        assert unwanted not in text
    data: Any = ModelCard(text).data
    assert data.license == "unknown" and data.library_name == "transformers"
    assert data.pipeline_tag == "zero-shot-image-classification" and "CLIBD" in data.tags


def test_card_of_an_adapter_and_of_two_towers(tmp_path: Path, text_tokenizer: str) -> None:
    convert(tmp_path / "apart", text_tokenizer, adapter=True, model_id="me/clibd")
    text = (tmp_path / "apart" / "README.md").read_text()
    assert 'PeftModel.from_pretrained(model, "me/clibd", subfolder="adapter")' in text
    assert "LoRA of rank\n4, unscaled" in text and "here it is in the weights" not in text
    config = json.loads((tmp_path / "apart" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "me/clibd"

    convert(tmp_path / "two", text_tokenizer, TEXT)
    text = (tmp_path / "two" / "README.md").read_text()
    assert "The model has no tower for text." in text and "a tokenizer for DNA stands in" in text
    assert "similarities = outputs.image_embeds @ outputs.dna_embeds.T" in text and "not_classified" not in text
    assert "\n\n\n" not in text and ModelCard(text).data.to_dict()["pipeline_tag"] == "feature-extraction"


def test_folder_holds_a_model_and_no_pickle(tmp_path: Path, text_tokenizer: str) -> None:
    convert(tmp_path / "model", text_tokenizer)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        *("README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "dna_tokenizer", "configuration_clibd.py", "loss_clibd.py", "modeling_clibd.py"),
        *("processing_clibd.py", "similarities_clibd.py", "targets_clibd.py", "towers_clibd.py"),
    }
    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "model").rglob("*.json"))


def test_tokenizer_of_another_text_tower(tmp_path: Path) -> None:
    other = make_text_tokenizer(tmp_path / "other", 200)
    with pytest.raises(ValueError, match="has 200 tokens, but the tower for text 300; name its own"):
        convert(tmp_path / "model", other)
    with pytest.raises(OSError, match=r"The text tokenizer '.*absent' cannot be loaded"):
        convert(tmp_path / "model", str(tmp_path / "absent"))
    assert not (tmp_path / "model").exists()
    # Nobody asks for it where there is no tower for text.
    convert(tmp_path / "model", str(tmp_path / "absent"), TEXT)


def test_nothing_is_overwritten_and_nothing_half_written_stays(
    tmp_path: Path, text_tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="choose a new folder"):
        convert(tmp_path / "full", text_tokenizer)

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("bioscan_hf.hub.clibd_conversion.save_card", fail)
    with pytest.raises(OSError, match="the disk is full"):
        convert(tmp_path / "model", text_tokenizer)
    assert not (tmp_path / "model").exists()


def test_an_adapter_needs_peft(tmp_path: Path, text_tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioscan_hf.hub.clibd_conversion.find_spec", lambda _: None)
    with pytest.raises(ImportError, match="An adapter needs peft"):
        convert(tmp_path / "model", text_tokenizer, adapter=True)
    convert(tmp_path / "model", text_tokenizer)


def test_a_file_on_the_disk_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("bioscan-ml") / "clibd:best.pth"
    path.parent.mkdir()
    path.write_bytes(b"0")
    assert find_file(str(path)) == Source(path, "clibd:best.pth", hashlib.sha256(b"0").hexdigest())
    for wrong in ("bioscan-ml", "absent.pth", "absent.pth:"):
        with pytest.raises(FileNotFoundError, match="give a file, or REPO:PATH/IN/REPO for one on the Hub"):
            find_file(wrong)


FETCH = """
import sys
from bioscan_hf.hub.conversion import find_file
for name in sys.argv[1:]:
    try:
        source = find_file(name)
        print(source.name, len(source.path.read_bytes()), source.sha256)
    except FileNotFoundError as error:
        print(error)
"""


def test_a_file_on_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1000)
    (tmp_path / "best.pth").write_bytes(content)
    hub.api().create_repo("bioscan-ml/some-clibd")
    for place in ("ckpt/5m/best.pth", "ckpt/1m/best.pth"):
        hub.api().upload_file(
            repo_id="bioscan-ml/some-clibd", path_or_fileobj=tmp_path / "best.pth", path_in_repo=place
        )
    names = ("bioscan-ml/some-clibd:ckpt/5m/best.pth", "bioscan-ml/some-clibd:absent.pth", "bioscan-ml/absent:best.pth")
    found, *absent = hub.run(FETCH, tmp_path, *names, token=False).stdout.splitlines()
    sha256 = hashlib.sha256(content).hexdigest()
    assert re.fullmatch(f"bioscan-ml/some-clibd@[0-9a-f]{{12}}/ckpt/5m/best.pth 1000 {sha256}", found)
    assert [line.split(" is no file or folder, and the Hub does not give it")[0] for line in absent] == [
        f"'{name}'" for name in names[1:]
    ]
    assert not hub.requests("some-clibd/resolve/.*/ckpt/1m/best.pth")
