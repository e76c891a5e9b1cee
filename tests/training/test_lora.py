import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import AutoPeftModelForSequenceClassification
from transformers import (
    BertConfig,
    BertModel,
    EsmConfig,
    EsmModel,
    GPT2Config,
    GPT2Model,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from bioscan_hf import (
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    build_tokenizer,
)
from bioscan_hf.hub.push import save_model
from bioscan_hf.training import lora
from bioscan_hf.training.classification import finetuning_task
from bioscan_hf.training.lora import (
    TARGET_MODULES,
    add_lora,
    align_lora,
    four_bits,
    is_adapter,
    load_classifier,
    merge_adapter,
)
from bioscan_hf.training.run import run
from tests.hub_server.fixture import LocalHub
from tests.tiny import TAXONOMY, tiny_clibd, tiny_config, tiny_masked_lm
from tests.training.made_runs import finetuning, write_table

SMALL: dict[str, Any] = {
    **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "vocab_size": 40,
}
IDS = torch.arange(2, 34).reshape(4, 8)


def made(kind: str) -> PreTrainedModel:
    """A tiny model of a type of transformers."""
    if kind == "barcodebert":
        return BarcodeBertForSequenceClassification(tiny_config(num_labels=5))
    if kind == "vit":
        return ViTModel(ViTConfig(**{**SMALL, "image_size": 8, "patch_size": 4}))
    if kind == "esm":
        return EsmModel(EsmConfig(**SMALL, pad_token_id=0, mask_token_id=1))
    if kind == "modernbert":
        return ModernBertModel(ModernBertConfig(**SMALL, pad_token_id=0, cls_token_id=1, sep_token_id=2))
    return BertModel(BertConfig(**SMALL))


@pytest.mark.parametrize("kind", TARGET_MODULES)
def test_known_types_get_adapters_in_each_layer_that_is_named(kind: str) -> None:
    model = made(kind)
    assert model.config.model_type == kind
    adapted = add_lora(model, r=2)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    assert len(adapters) == 2 * len(TARGET_MODULES[kind])
    assert all(any(f".{target}." in name for target in TARGET_MODULES[kind]) for name in adapters)
    others = {name for name in trained - adapters if "score" not in name}
    assert not others and (kind != "barcodebert" or trained - adapters)


def test_without_attention_the_vectors_of_the_kmers_adapt() -> None:
    torch.manual_seed(0)
    model = BarcodeBertForSequenceClassification(tiny_config(num_labels=5, num_hidden_layers=0)).eval()
    with torch.inference_mode():
        before = model(IDS).logits
    adapted: Any = add_lora(model, r=2)
    assert sum("lora_" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad) == 2
    torch.nn.functional.cross_entropy(adapted(IDS).logits, torch.tensor([0, 1, 2, 3])).backward()
    with torch.inference_mode():
        assert torch.equal(adapted(IDS).logits, before), "new adapters change nothing"
        for parameter in adapted.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
        after = adapted(IDS).logits
        assert not torch.allclose(after, before)
        torch.testing.assert_close(adapted.merge_and_unload()(IDS).logits, after)


def test_adapters_are_saved_without_asking_the_hub(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    adapted: Any = add_lora(made("barcodebert"), r=2)
    adapted.peft_config["default"].base_model_name_or_path = "barcodebert-small"
    save_model(tmp_path, adapted, build_tokenizer(3))
    assert not [warning for warning in recwarn if "config" in str(warning.message)], "peft tells what it asks for"


def test_new_adapters_change_nothing_and_are_scaled_as_asked() -> None:
    torch.manual_seed(0)
    model = made("barcodebert").eval()
    with torch.no_grad():
        before = model(input_ids=IDS).logits
        adapted: Any = add_lora(model, r=4).eval()
        torch.testing.assert_close(adapted(input_ids=IDS).logits, before)
    query = adapted.base_model.model.bert.encoder.layer[0].attention.self.query
    assert query.scaling == {"default": 1.0}
    other: Any = add_lora(made("barcodebert"), r=4, alpha=8, dropout=0.5)
    query = other.base_model.model.bert.encoder.layer[0].attention.self.query
    assert query.scaling == {"default": 2.0} and query.lora_dropout["default"].p == 0.5


def test_unknown_type_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'gpt2' get an adapter is not known; known are \['barcodebert', .*'vit'\]"):
        add_lora(GPT2Model(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=40)))


@pytest.mark.parametrize("several", [False, True])
class TestSavedAdapter:
    """An adapter of a classifier, of one rank or of several, beside its base model."""

    @pytest.fixture
    def folder(self, several: bool, tmp_path: Path) -> Path:
        """Base model and adapter; the logits of the adapted model lie in the file `logits`."""
        save_model(tmp_path / "base", tiny_masked_lm(), build_tokenizer(3))
        torch.manual_seed(1)
        fields = TAXONOMY if several else {"num_labels": 5}
        cls = BarcodeBertForTaxonomicClassification if several else BarcodeBertForSequenceClassification
        # As `bioscan finetune` makes it: the configuration comes with the model, and says where that lies.
        model = cls.from_pretrained(tmp_path / "base", **fields)
        adapted: Any = add_lora(model)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * (0.5 if "lora" in name else 0.1))
        adapted.eval()
        save_model(tmp_path / "adapter", adapted, build_tokenizer(3))
        with torch.no_grad():
            torch.save(adapted(input_ids=IDS).logits, tmp_path / "logits")
        return tmp_path

    def check(self, folder: Path, model: Any) -> None:
        with torch.no_grad():
            found = model.eval()(input_ids=IDS).logits
        torch.testing.assert_close(found, torch.load(folder / "logits"))

    def test_loads_with_its_base(self, folder: Path, several: bool) -> None:
        assert is_adapter(folder / "adapter") and not is_adapter(folder / "base")
        assert (folder / "adapter" / "adapter_model.safetensors").stat().st_size < 20_000
        self.check(folder, load_classifier(folder / "adapter"))

    def test_is_merged_into_a_whole_model_of_the_same_logits(self, folder: Path, several: bool) -> None:
        merge_adapter(folder / "adapter")
        assert not is_adapter(folder / "adapter") and (folder / "adapter" / "model.safetensors").exists()
        assert not list((folder / "adapter").glob("adapter_*"))
        model = load_classifier(folder / "adapter")
        assert type(model).__name__.startswith("BarcodeBertFor")
        self.check(folder, model)

    def test_peft_loads_one_of_one_rank_by_itself(self, folder: Path, several: bool) -> None:
        if several:
            pytest.skip("of several ranks, `load_classifier` loads it: peft does not know the tree")
        self.check(folder, AutoPeftModelForSequenceClassification.from_pretrained(folder / "adapter", num_labels=5))

    @pytest.mark.slow  # a Python of its own, whose clients ask the local Hub
    def test_loads_from_the_hub(self, folder: Path, several: bool, hub: LocalHub, tmp_path: Path) -> None:
        repo = f"tester/adapter-{several}".lower()
        api = hub.api()
        for name in ("base", "adapter"):
            api.create_repo(f"{repo}-{name}")
        config = folder / "adapter" / "adapter_config.json"
        config.write_text(config.read_text().replace(str(folder / "base"), f"{repo}-base"))
        for name in ("base", "adapter"):
            api.upload_folder(repo_id=f"{repo}-{name}", folder_path=folder / name)
        source = """
        import sys, torch
        from bioscan_hf.training.lora import load_classifier
        model = load_classifier(sys.argv[1], revision="main").eval()
        ids = torch.arange(2, 34).reshape(4, 8)
        with torch.no_grad():
            torch.testing.assert_close(model(input_ids=ids).logits, torch.load(sys.argv[2]))
        print(type(model).__name__)
        """
        home = tmp_path / "home"
        home.mkdir()
        assert "Peft" in hub.run(source, home, f"{repo}-adapter", str(folder / "logits")).stdout


@pytest.mark.parametrize("name", ["my-clasifier", "a/b/c", "/none/such"])
def test_a_classifier_that_is_not_there_is_not_sought_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "file_exists", None)
    with pytest.raises(FileNotFoundError, match=f"^No such folder: '{name}'; expected that of a classifier"):
        load_classifier(name)


def test_a_classifier_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BarcodeBertForSequenceClassification(tiny_config(num_labels=2)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))
    monkeypatch.setattr("bioscan_hf.models.bounded._MODULES", 500)
    with pytest.raises(ValueError, match="describes a model of more than 500 parts"):
        load_classifier(tmp_path)


def test_frozen_weights_may_be_held_in_4_bits(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    table = write_table(tmp_path / "t.csv")
    save_model(tmp_path / "base", tiny_masked_lm(), build_tokenizer(3))
    arguments = finetuning(table, tmp_path / "base", tmp_path / "out", method="lora", quantization="nf4", max_steps=2)
    task = finetuning_task(arguments, Accelerator(cpu=True))
    kinds = {type(module).__name__ for name, module in task.model.named_modules() if name.endswith("base_layer")}
    assert kinds == {"Linear4bit"}
    finished = run(finetuning_task, arguments, command="c")
    assert finished.outcome.ended == "finished" and is_adapter(arguments.output)
    # The adapter goes with the base model as it is.
    again = load_classifier(arguments.output)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.isfinite(again(input_ids=IDS).logits).all()


def test_quantisation_without_bitsandbytes_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioscan_hf.training.lora.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'bioscan-hf\[qlora\]'"):
        four_bits()


class TestAlignLora:
    """Adapters of the towers of a CLIBD; its projections and its temperature are trained whole."""

    HEADS = ("vision_projection", "dna_projection", "text_projection", "logit_scale")

    def trained(self, model: Any) -> dict[str, set[str]]:
        """Which parts have adapters, and which are trained whole."""
        names = {name.removeprefix("base_model.model.") for name, p in model.named_parameters() if p.requires_grad}
        adapters = {name for name in names if "lora_" in name}
        return {
            "adapters": {f"{name.split('.')[0]} {name.split('.lora_')[0].rsplit('.', 1)[1]}" for name in adapters},
            "whole": {name.split(".")[0] for name in names - adapters},
        }

    def test_each_tower_gets_them_on_query_and_value(self) -> None:
        found = self.trained(align_lora(tiny_clibd(), ["image", "dna", "text"], r=2))
        bert = {f"{tower}_model {part}" for tower in ("dna", "text") for part in ("query", "value")}
        assert found == {"adapters": {"vision_model q_proj", "vision_model v_proj", *bert}, "whole": set(self.HEADS)}

    def test_only_towers_that_are_named_do(self) -> None:
        found = self.trained(align_lora(tiny_clibd(), ["text"]))
        assert found == {"adapters": {"text_model query", "text_model value"}, "whole": set(self.HEADS)}

    def test_what_was_frozen_stays_so(self) -> None:
        model = tiny_clibd()
        model.logit_scale.requires_grad_(False)
        model.text_projection.requires_grad_(False)
        assert self.trained(align_lora(model, ["dna"]))["whole"] == {"vision_projection", "dna_projection"}

    def test_new_adapters_change_nothing_and_are_not_scaled(self) -> None:
        inputs = {"pixel_values": torch.rand(2, 3, 8, 8), "dna_input_ids": IDS[:2], "input_ids": IDS[:2] % 12}
        model = tiny_clibd()
        with torch.no_grad():
            before = model(**inputs)
            adapted: Any = align_lora(model, ["image", "dna", "text"]).eval()
            after = adapted(**inputs)
        torch.testing.assert_close(after.loss, before.loss)
        scalings = {
            tuple(m.scaling.items()) for m in adapted.modules() if hasattr(m, "scaling") and hasattr(m, "lora_A")
        }
        assert scalings == {(("default", 1.0),)}

    def test_towers_without_such_layers_are_told(self) -> None:
        model = tiny_clibd()
        model.vision_model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
        with pytest.raises(
            ValueError, match=r"No layer of the towers for image is called query, value, q_proj or v_proj"
        ):
            align_lora(model, ["image"])
