import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
)

from bioscan_hf.hub.conversion import Source, check_is_new, convert_to_folder, find_source
from tests.hub_server.fixture import LocalHub
from tests.made_checkpoints import HEADS, K, arguments, save_bare, save_training, stock

STOCK = stock()
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOWNLOAD = """
import sys
from pathlib import Path
from bioscan_hf.hub.conversion import convert_to_folder, find_source
for name in sys.argv[1:]:
    source = find_source(name)
    print(source.name)
    convert_to_folder(source, Path("out") / name)
try:
    find_source("bioscan-ml/absent")
except FileNotFoundError as error:
    print(error)
"""


def convert(path: Path, folder: Path, **given: Any) -> Path:
    convert_to_folder(find_source(str(path)), folder, given=given)
    return folder


class Parity:
    """The reference's inputs and outputs."""

    def __init__(self, shared: Path) -> None:
        self.folder = shared / "parity" / "barcodebert"
        self.barcodes = [record["seq"] for record in self.json("inputs")]
        self.tokens = load_file(self.folder / "tokens.safetensors")
        self.sample = self.json("meta")["sample_rows"]

    def json(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())

    def outputs(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / f"{name}_outputs.safetensors")

    def inputs(self, folder: Path, variant: str, *, masked: bool) -> dict[str, torch.Tensor]:
        """Inputs by the tokenizer in `folder`, which must be the reference's."""
        tokenizer = AutoTokenizer.from_pretrained(folder)
        # Two of the inputs hold the text "[MASK]" and "[UNK]", which is no token to the reference.
        options: dict[str, Any] = {"padding": "max_length", "truncation": True, "split_special_tokens": True}
        inputs = dict(tokenizer(self.barcodes, **options, return_tensors="pt"))
        assert torch.equal(inputs["input_ids"], self.tokens[f"ids/{variant}"].long())
        if masked:
            assert torch.equal(inputs["attention_mask"], self.tokens[f"mask/{variant}"].long())
        return inputs


@pytest.fixture(scope="module")
def parity(shared: Path) -> Parity:
    return Parity(shared)


def close(ours: torch.Tensor, reference: torch.Tensor, atol: float = 1e-5) -> None:
    """Equal where the reference is defined: it has no embedding for a barcode without a k-mer."""
    defined = ~reference.isnan()
    assert defined.any()
    torch.testing.assert_close(ours[defined], reference[defined], atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("file", "given"),
    [
        ("small_checkpoint_pretraining.pt", {}),
        ("small_checkpoint_pretraining_ddp.pt", {}),
        ("small_checkpoint_pretraining_ddp_torch2.3_transformers4.46.pt", {}),
        ("small_weights.safetensors", HEADS),
    ],
)
@torch.no_grad()
def test_generation_3_equals_the_reference(file: str, given: dict, parity: Parity, tmp_path: Path) -> None:
    folder = convert(parity.folder / file, tmp_path / "model", **given)
    reference, inputs = parity.outputs("small"), parity.inputs(folder, "gen3_k4", masked=True)
    outputs = AutoModel.from_pretrained(folder)(**inputs, output_hidden_states=True)
    for layer, hidden in enumerate(outputs.hidden_states):
        some = [row for row in range(len(parity.sample)) if inputs["attention_mask"][parity.sample[row]].any()]
        ours, theirs = hidden[parity.sample], reference[f"hidden_layer{layer}/masked_sample"]
        close(ours[some], theirs[some])
    close(outputs.pooler_output, reference["pooled/gen3_masked_mean_one_by_one"])

    model = AutoModelForMaskedLM.from_pretrained(folder)
    inputs["input_ids"] = reference["mlm/input_ids"].long()
    labels = torch.where(reference["mlm/special_ok"].bool(), reference["mlm/targets"].long() + 2, -100)
    close(model(**inputs, labels=labels).loss[None], reference["mlm/loss_gen3"])


@torch.no_grad()
def test_generation_2_equals_the_reference(parity: Parity, tmp_path: Path) -> None:
    folder = convert(parity.folder / "small_weights.safetensors", tmp_path / "model", **HEADS, generation=2)
    reference, inputs = parity.outputs("small"), parity.inputs(folder, "gen2_k4", masked=False)
    outputs = AutoModel.from_pretrained(folder)(**inputs)
    close(outputs.pooler_output, reference["pooled/gen2_no_mask_plain_mean"])
    close(outputs.last_hidden_state[parity.sample], reference["last_hidden/no_mask_sample"])
    # However the batch is padded.
    one = AutoTokenizer.from_pretrained(folder)(parity.barcodes[14], return_tensors="pt")
    assert one["input_ids"].shape[1] < 165
    close(AutoModel.from_pretrained(folder)(**one).pooler_output, reference["pooled/gen2_no_mask_plain_mean"][14:15])

    inputs["input_ids"] = reference["mlm/input_ids"].long()
    loss = AutoModelForMaskedLM.from_pretrained(folder)(**inputs, labels=reference["mlm/targets"].long() + 2).loss
    close(loss[None], reference["mlm/gen2_loss"])


@pytest.mark.parametrize("file", ["gen1_small_model.pth", "gen1_small_weights.safetensors"])
@torch.no_grad()
def test_generation_1_equals_the_reference(file: str, parity: Parity, tmp_path: Path) -> None:
    folder = convert(parity.folder / file, tmp_path / "model", **HEADS)
    reference, inputs = parity.outputs("gen1"), parity.inputs(folder, "gen1_k5", masked=False)
    outputs = AutoModel.from_pretrained(folder)(**inputs)
    close(outputs.pooler_output, reference["gen1_k5/pooled_plain_mean"])
    close(outputs.last_hidden_state[parity.sample[:4]], reference["gen1_k5/last_hidden_sample4"])

    ids = inputs["input_ids"]
    inputs["input_ids"] = torch.where((reference["gen1_k5/uniform_draw"] < 0.5) & (ids != 2), 1, ids)
    close(
        AutoModelForMaskedLM.from_pretrained(folder)(**inputs, labels=ids).loss[None],
        reference["gen1_k5/loss"],
    )


@torch.no_grad()
def test_barcodebert_of_clibd_equals_the_reference(parity: Parity, tmp_path: Path) -> None:
    folder = convert(parity.folder / "gen1_small_model.pth", tmp_path / "model", **HEADS, cls_token_id=0)
    reference, inputs = parity.outputs("gen1"), parity.inputs(folder, "clibd_k5", masked=False)
    close(AutoModel.from_pretrained(folder)(**inputs).pooler_output, reference["clibd_k5/hidden_mean"])
    logits = AutoModelForMaskedLM.from_pretrained(folder)(**inputs).logits
    close(logits.softmax(-1).mean(1)[parity.sample], reference["clibd_k5/mean_softmax_logits_sample"])


@torch.no_grad()
def test_encoder_of_barcodemae_equals_the_reference(parity: Parity, tmp_path: Path) -> None:
    folder = convert(parity.folder / "mae_small_weights.safetensors", tmp_path / "model", **HEADS)
    reference, inputs = parity.outputs("mae"), parity.inputs(folder, "gen3_k4", masked=True)
    pooled = AutoModel.from_pretrained(folder)(**inputs).pooler_output
    close(pooled[reference["rows"].long()], reference["encoder/pooled_masked_mean"])
    assert "arXiv 2502.18405" in (folder / "README.md").read_text()


@torch.no_grad()
def test_fine_tuned_model_equals_the_reference(parity: Parity, tmp_path: Path) -> None:
    reference, weights = parity.outputs("small"), load_file(parity.folder / "small_weights.safetensors")
    content = {f"base_model.{name}": tensor for name, tensor in weights.items() if name.startswith("bert.")}
    content |= {f"classifier.{name}": reference[f"finetune/head_{name}"] for name in ("weight", "bias")}
    torch.save({"model": content, "bert_config": parity.json("small_config")}, tmp_path / "c.pt")
    folder = convert(tmp_path / "c.pt", tmp_path / "model")
    inputs = parity.inputs(folder, "gen3_k4", masked=True)
    outputs = AutoModelForSequenceClassification.from_pretrained(folder)(**inputs)
    close(outputs.logits, reference["finetune/logits"])
    close(AutoModel.from_pretrained(folder)(**inputs).pooler_output, reference["pooled/finetune_gap_unmasked_mean"])


def recipe(tag: str, name: str, shape: torch.Size) -> torch.Tensor:
    """Weights that the parity vectors were made with, by name (their README)."""
    random = np.random.RandomState(zlib.crc32(f"{tag}|{name}".encode()) & 0x7FFFFFFF)
    values = random.standard_normal(tuple(shape)).astype(np.float32)
    if name.endswith("LayerNorm.weight"):
        return torch.from_numpy(1 + np.float32(0.1) * values)
    scale = 0.1 if name.endswith("bias") or "embeddings" in name else 0.05
    values *= np.float32(scale)
    if name.endswith("word_embeddings.weight"):
        values[0] = 0
    return torch.from_numpy(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["k4_h4_l4", "k4_h6_l6", "k4_h12_l12", "k8_h4_l4"])
@torch.no_grad()
def test_published_sizes_equal_the_reference(name: str, parity: Parity, tmp_path: Path) -> None:
    full = parity.json("meta")["full"][name]
    told: dict[str, Any] = {
        "vocab_size": full["vocab_size"],
        "num_hidden_layers": full["layers"],
        "num_attention_heads": full["heads"],
        "num_labels": full["num_labels"],
    }
    config = BertConfig(**told)
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in BertForTokenClassification(config).state_dict().items()}
    weights = {key: recipe(full["weight_tag"], key, shape) for key, shape in shapes.items()}
    total = sum(tensor.double().abs().sum().item() for tensor in weights.values())
    assert total == pytest.approx(full["sum_abs_all_weights"], rel=1e-6)
    options = arguments(k_mer=full["k"], stride=full["k"], n_layers=full["layers"], n_heads=full["heads"])
    content = {"model": weights, "config": options, "bert_config": config.to_dict()}
    torch.save(content, tmp_path / "c.pt")
    folder = convert(tmp_path / "c.pt", tmp_path / "model")

    reference = parity.outputs("full")
    inputs = parity.inputs(folder, f"gen3_k{full['k']}", masked=True)
    rows = reference["rows"].long()
    inputs = {key: tensor[rows] for key, tensor in inputs.items()}
    model = AutoModelForMaskedLM.from_pretrained(folder)
    outputs = model.bert(**inputs)
    close(outputs.pooler_output, reference[f"{name}/pooled_masked_mean"])
    ours = outputs.last_hidden_state[:2, :24]
    close(ours, reference[f"{name}/last_hidden_rows_first2_positions_first24"])

    ids = inputs["input_ids"][:8]
    draw = torch.from_numpy(np.random.RandomState(11 + 8).random_sample(tuple(ids.shape)).astype(np.float32))
    labels = torch.where(ids > 1, ids, -100)
    masked = torch.where((draw < 0.5) & (ids > 1), 0, ids)
    loss = model(masked, attention_mask=inputs["attention_mask"][:8], labels=labels).loss
    close(loss[None], reference[f"{name}/mlm_loss_first8"])


def test_card_tells_where_the_model_comes_from(tmp_path: Path) -> None:
    path = save_training(tmp_path / "best_pretraining.pt", STOCK.token_classifier)
    folder = convert(path, tmp_path / "model", pooling="mean")
    text = (folder / "README.md").read_text()
    for expected in (
        "# BarcodeBERT 3-4-2\n",
        "| source | `best_pretraining.pt` |",
        f"| SHA-256 of the weights | `{hashlib.sha256(path.read_bytes()).hexdigest()}` |",
        "| kind of checkpoint | pretraining model (BertForTokenClassification) |",
        "| code it was trained with | generation 3 (since August 2024) |",
        "| `num_attention_heads` | 4 (from bert_config) |",
        "| `kmer_size` | 3 (from tensors) |",
        "| `pooling` | mean (from --config) |",
        "mean of the last hidden states of all 220 positions, padding included",
        "Nothing was assumed",
        "`AutoModelForMaskedLM` loads the pretraining head",
        "arXiv 2311.02401",
        "arXiv 2406.12723",
    ):
        assert expected in text
    assert str(tmp_path) not in text and "{{ " not in text and "{%" not in text and "Left out" not in text
    assert "\n\n\n" not in text
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData) and data.license == "mit" and data.library_name == "transformers"
    assert data.pipeline_tag == "feature-extraction" and "BarcodeBERT" in (data.tags or [])


def test_card_tells_what_was_assumed_and_left_out(tmp_path: Path) -> None:
    path = save_bare(tmp_path / "c.pth", STOCK.masked_lm, bert__embeddings__position_ids=torch.arange(256)[None])
    text = (convert(path, tmp_path / "model", **HEADS) / "README.md").read_text()
    assert "it was assumed:\n\n- `max_nucleotides` is 660: as in all scripts of the reference\n- k-mers" in text
    assert "Left out:\n\n- position_ids" in text and "generation 1 (workshop paper, 2023)" in text
    assert "reads padding as if it were k-mers" in text
    assert "\n\n\n" not in text


def test_code_in_the_cards_runs_with_and_without_the_package(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(save_bare(tmp_path / "c.pt", STOCK.masked_lm), tmp_path / "embeddings", **HEADS)
    convert(save_training(tmp_path / "c.pt", STOCK.classifier), tmp_path / "scores")
    alone = "import os, sys\nsys.modules['bioscan_hf'] = None\n"
    ours = {}
    for name, width in {"embeddings": 16, "scores": 5}.items():
        found = BLOCK.search((tmp_path / name / "README.md").read_text())
        assert found
        monkeypatch.chdir(tmp_path / name)
        names: dict[str, Any] = {}
        exec(found[1].replace(", trust_remote_code=True", ""), names)
        ours[name] = names[name].detach()
        assert ours[name].shape == (1, width)
        alone += f"os.chdir('{tmp_path / name}')\n{found[1]}\nprint({name}.tolist())\n"
    result = hub.run(alone, tmp_path)
    for line, expected in zip(result.stdout.splitlines(), ours.values(), strict=True):
        torch.testing.assert_close(torch.tensor(json.loads(line)), expected, atol=1e-6, rtol=0)


def test_folder_holds_a_model_and_no_pickle(tmp_path: Path) -> None:
    folder = convert(save_training(tmp_path / "c.pt", STOCK.token_classifier), tmp_path / "model")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".pth"))]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "barcodebert"


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_training(tmp_path / "c.pt", STOCK.token_classifier)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    for taken in (tmp_path / "full", path):
        with pytest.raises(FileExistsError, match="choose a new folder"):
            convert(path, taken)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".partial-killed").mkdir()
    check_is_new(tmp_path / "new")

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("bioscan_hf.hub.conversion.save_card", fail)
    with pytest.raises(OSError, match="the disk is full"):
        convert(path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_existing_path_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    STOCK.token_classifier.save_pretrained(tmp_path / "bioscan-ml" / "BarcodeBERT")
    weights = tmp_path / "bioscan-ml" / "BarcodeBERT" / "model.safetensors"
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert find_source("bioscan-ml/BarcodeBERT") == Source(
        Path("bioscan-ml/BarcodeBERT"), "BarcodeBERT/model.safetensors", sha256
    )


def test_models_on_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    # As published: one with safetensors, code and more; one with a pickle alone.
    STOCK.token_classifier.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "tokenizer.py").write_text("raise RuntimeError('not to be downloaded')")
    (tmp_path / "a" / "pytorch_model.bin").write_bytes(b"not to be downloaded")
    STOCK.masked_lm.save_pretrained(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").unlink()
    torch.save(STOCK.masked_lm.state_dict(), tmp_path / "b" / "pytorch_model.bin")
    for name in ("a", "b"):
        hub.api().create_repo(f"bioscan-ml/old-{name}")
        hub.api().upload_folder(repo_id=f"bioscan-ml/old-{name}", folder_path=tmp_path / name)
    (tmp_path / "here").mkdir()
    result = hub.run(DOWNLOAD, tmp_path / "here", "bioscan-ml/old-a", "bioscan-ml/old-b", token=False)
    first, second, absent = result.stdout.splitlines()
    assert re.fullmatch("bioscan-ml/old-a@[0-9a-f]{12}/model.safetensors", first)
    assert re.fullmatch("bioscan-ml/old-b@[0-9a-f]{12}/pytorch_model.bin", second)
    assert absent.startswith("'bioscan-ml/absent' is no file or folder, and the Hub does not give it")
    assert AutoModel.from_pretrained(tmp_path / "here" / "out" / "bioscan-ml" / "old-b").config.kmer_size == K
    assert hub.requests("old-a/resolve/.*/model.safetensors")
    assert not hub.requests("old-./resolve/.*/tokenizer.py") and not hub.requests("old-a/resolve/.*/pytorch_model.bin")
