"""What an alignment trains: towers, adapters, losses, and a CLIBD that is there already."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import AutoModel

from bioscan_hf import ClibdModel
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.contrastive import alignment_task
from tests.evaluation.encoders.made_vision_models import vision_model
from tests.tiny import tiny_clibd, tiny_clibd_processor, tiny_masked_lm
from tests.training.made_alignments import (
    align,
    alignment,
    batch_of,
    made_rows,
    save_towers,
    trained,
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
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Specimens without splits, so that nothing is measured."""
    rows = [{**row, "split": None} for row in made_rows(24)]
    return write_specimens(tmp_path_factory.mktemp("bare") / "bare.parquet", rows)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return save_towers(tmp_path_factory.mktemp("towers"))


class TestWhatIsTrained:
    """Towers, rates, the temperature, and the losses."""

    @staticmethod
    def changed(bare: Path, towers: Folders, **changes: Any) -> set[str]:
        """Parts of the model whose weights a training changes."""
        arguments = alignment(bare, Path("o"), **towers, max_steps=2, **changes)
        set_seed(arguments.seed)
        before = alignment_task(arguments, Accelerator(cpu=True)).model.state_dict()
        after = trained(arguments).weights
        return {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}

    def test_all_parts_are(self, bare: Path, towers: Folders) -> None:
        assert self.changed(bare, towers) == {
            *("vision_model", "vision_projection", "dna_model", "dna_projection", "text_model", "text_projection"),
            "logit_scale",
        }

    def test_frozen_towers_are_not_but_their_projections_are(self, bare: Path, towers: Folders) -> None:
        found = self.changed(bare, towers, freeze="image,text", learn_temperature=False)
        assert found == {"vision_projection", "dna_model", "dna_projection", "text_projection"}

    def test_frozen_towers_have_no_dropout(self, bare: Path, tmp_path: Path) -> None:
        towers = save_towers(tmp_path, dropout=0.5)
        task, _ = trained(alignment(bare, Path("o"), **towers, freeze="dna", max_steps=1))
        model: Any = task.model.train()
        for part in task.frozen:
            part.eval()
        inputs = batch_of(task)
        with torch.no_grad():
            one, other = model(**inputs), model(**inputs)
        assert torch.equal(one.dna_embeds, other.dna_embeds) and not torch.equal(one.text_embeds, other.text_embeds)

    def test_towers_have_their_rates_and_vectors_do_not_decay(self, bare: Path, towers: Folders) -> None:
        own: dict[str, Any] = {"image_learning_rate": 2e-3, "text_learning_rate": 5e-4, "weight_decay": 0.1}
        task = alignment_task(alignment(bare, Path("o"), **towers, **own), Accelerator(cpu=True))
        for name, parameter in task.model.named_parameters():
            found = task.group_of(name, parameter)
            rates = {"vision_model": 2e-3, "text_model": 5e-4}
            assert found.get("lr") == rates.get(name.split(".")[0]), name
            assert found.get("weight_decay") == (None if parameter.ndim > 1 else 0.0), name

    @pytest.mark.parametrize("targets", ["identity", "mask", "mean", "sum", "hierarchical"])
    @pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
    def test_each_loss_is_trained_with(self, loss: str, targets: str, bare: Path, towers: Folders) -> None:
        task, losses = trained(alignment(bare, Path("o"), **towers, loss_type=loss, loss_targets=targets, max_steps=3))
        config: Any = task.model.config
        assert (config.loss_type, config.loss_targets) == (loss, targets)
        assert len(losses) == 3 and np.isfinite(losses).all()
        assert (task.chance is not None) == (loss == "info_nce" and targets not in ("mask", "sum"))

    def test_pairs_that_are_not_asked_for_do_not_count(self, bare: Path, towers: Folders) -> None:
        task, _ = trained(alignment(bare, Path("o"), **towers, loss_pairs="image-dna,image-text", max_steps=1))
        assert task.model.config.pairs == [("image", "dna"), ("image", "text")]  # type: ignore[union-attr]

    def test_what_gets_no_gradient_is_not_trained(self, bare: Path, towers: Folders, tmp_path: Path) -> None:
        """DINOv2 has a vector for hidden patches, which are none here."""
        folder = tmp_path / "dinov2"
        vision_model("dinov2").save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps({"size": 32}))
        arguments = alignment(bare, Path("o"), **{**towers, "image_model": str(folder)})
        task = alignment_task(arguments, Accelerator(cpu=True))
        task.model.train()(**batch_of(task)).loss.backward()
        idle = [name for name, parameter in task.model.named_parameters() if parameter.grad is None]
        frozen = [name for name, parameter in task.model.named_parameters() if not parameter.requires_grad]
        assert idle == frozen == ["vision_model.embeddings.mask_token"]

    def test_chunks_change_nothing_but_the_memory(self, bare: Path, towers: Folders) -> None:
        whole = trained(alignment(bare, Path("o"), **towers))
        parts = trained(alignment(bare, Path("o"), **towers, chunk_size=3, loss_tile=2))
        assert whole.losses == pytest.approx(parts.losses, abs=1e-5)
        for name, tensor in whole.weights.items():
            torch.testing.assert_close(parts.weights[name], tensor, atol=1e-5, rtol=1e-4)

    def test_a_worker_changes_nothing(self, bare: Path, towers: Folders, tmp_path: Path) -> None:
        for name, options in {"a": {}, "b": {"num_workers": 1, "threads": 2}}.items():
            align(bare, tmp_path / name, **towers, max_steps=2, **options)
        assert sha256(tmp_path / "a" / "model.safetensors") == sha256(tmp_path / "b" / "model.safetensors")


class TestLora:
    """Adapters, and the whole model that they become."""

    def test_only_adapters_heads_and_temperature_are_trained(self, bare: Path, towers: Folders) -> None:
        arguments = alignment(bare, Path("o"), **towers, method="lora", lora_r=2, freeze="text")
        model = alignment_task(arguments, Accelerator(cpu=True)).model
        names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        adapters = {name for name in names if "lora_" in name}
        parts = {name.removeprefix("base_model.model.").split(".")[0] for name in names - adapters}
        assert parts == {"vision_projection", "dna_projection", "text_projection", "logit_scale"}
        assert {name.removeprefix("base_model.model.").split(".")[0] for name in adapters} == {
            "vision_model",
            "dna_model",
        }
        assert len(adapters) == 2 * 2 * 2, "two towers of one layer, query and value, A and B"

    def test_the_temperature_may_stay(self, bare: Path, towers: Folders) -> None:
        task, _ = trained(alignment(bare, Path("o"), **towers, method="lora", learn_temperature=False))
        model: Any = task.model
        assert float(model.get_base_model().logit_scale().detach()) == pytest.approx(1 / 0.07)
        task, _ = trained(alignment(bare, Path("o"), **towers, method="lora"))
        model = task.model
        assert float(model.get_base_model().logit_scale().detach()) != pytest.approx(1 / 0.07, rel=1e-6)

    def test_the_folder_holds_a_whole_model_with_the_same_embeddings(
        self, bare: Path, towers: Folders, tmp_path: Path
    ) -> None:
        changes: dict[str, Any] = {**towers, "method": "lora", "lora_r": 2, "lora_alpha": 3.0, "learning_rate": 1e-2}
        task = trained(alignment(bare, tmp_path / "o", **changes)).task
        align(bare, tmp_path / "model", **changes)
        assert not list((tmp_path / "model").glob("adapter_*"))
        assert (tmp_path / "model" / "checkpoint-4" / "adapter_model.safetensors").exists()
        merged = AutoModel.from_pretrained(tmp_path / "model").eval()
        assert isinstance(merged, ClibdModel) and not any("lora" in name for name, _ in merged.named_parameters())
        inputs = batch_of(task)
        with torch.no_grad():
            expected, found = task.model.eval()(**inputs), merged(**inputs)
        for name in ("image_embeds", "dna_embeds", "text_embeds"):
            torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-5)
        card = (tmp_path / "model" / "README.md").read_text()
        assert "(LoRA, r = 2)" in card and f"{merged.num_parameters():,} parameters" in card
        assert "PEFT" not in card


class TestGoingOn:
    """A CLIBD is trained further, by `model`."""

    @pytest.fixture(scope="class")
    @classmethod
    def first(cls, tmp_path_factory: pytest.TempPathFactory, bare: Path, towers: Folders) -> str:
        """A CLIBD with texts of the other form."""
        folder = tmp_path_factory.mktemp("first") / "first"
        align(bare, folder, **towers, text_form="labelled", max_steps=1)
        return str(folder)

    def test_it_begins_with_its_weights_its_texts_and_its_images(self, first: str, bare: Path) -> None:
        task = alignment_task(alignment(bare, Path("o"), model=first), Accelerator(cpu=True))
        expected = AutoModel.from_pretrained(first).state_dict()
        assert task.model.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in task.model.state_dict().items())
        assert task.model.config.text_form == "labelled"  # type: ignore[union-attr]
        assert task.collate.text_form == "labelled"  # type: ignore[attr-defined]
        assert task.collate.image_mean == (0.5, 0.5, 0.5)  # type: ignore[attr-defined]
        other = alignment_task(alignment(bare, Path("o"), model=first, text_form="clibd"), Accelerator(cpu=True))
        assert other.model.config.text_form == "clibd"  # type: ignore[union-attr]

    def test_a_card_says_so_if_the_specimens_are_simulated(self, first: str, bare: Path) -> None:
        for credit, simulated in (("simulated specimens (CC0 1.0)", True), ("our photographs", False), (None, False)):
            arguments = alignment(bare, Path("o"), model=first, data_credit=credit)
            task = alignment_task(arguments, Accelerator(cpu=True))
            assert task.write_card.keywords["simulated"] is simulated  # type: ignore[attr-defined]

    def test_two_of_its_modalities_may_go_on_alone(self, first: str, bare: Path, tmp_path: Path) -> None:
        align(bare, tmp_path / "model", model=first, modalities="image,dna", weight_decay=0.5, max_steps=2)
        before, after = (AutoModel.from_pretrained(path).state_dict() for path in (first, tmp_path / "model"))
        assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("text_"))
        assert not torch.equal(before["dna_projection.weight"], after["dna_projection.weight"])

    @pytest.mark.parametrize("method", ["full", "lora"])
    def test_no_parameter_is_trained_without_a_gradient(self, method: str, first: str, bare: Path) -> None:
        """Processes that train together would wait for it."""
        arguments = alignment(bare, Path("o"), model=first, modalities="image,dna", method=method)
        task = alignment_task(arguments, Accelerator(cpu=True))
        task.model.train()(**batch_of(task)).loss.backward()
        assert not [n for n, p in task.model.named_parameters() if p.requires_grad and p.grad is None]

    def test_the_loss_may_be_another_one(self, first: str, bare: Path, tmp_path: Path) -> None:
        align(bare, tmp_path / "sigmoid", model=first, loss_type="sigmoid", learning_rate=1e-30, max_steps=1)
        model = AutoModel.from_pretrained(tmp_path / "sigmoid")
        assert model.config.loss_type == "sigmoid" and model.logit_scale.bias.item() == -10
        before = AutoModel.from_pretrained(first).logit_scale.log_scale
        torch.testing.assert_close(model.logit_scale.log_scale, before)
        going_on = alignment_task(alignment(bare, Path("o"), model=str(tmp_path / "sigmoid")), Accelerator(cpu=True))
        assert going_on.model.logit_scale.bias is None  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": "barcodebert"}, "is no CLIBD, but of the type 'barcodebert'. Single towers are given by"),
            ({"model": "two"}, "has towers for image,dna; leave the others out: `modalities=image,dna`"),
            (
                {"model": "two", "modalities": "image,dna", "image_size": 16},
                "takes images of 8 pixels; got `image_size` 16",
            ),
            ({"model": "./nowhere"}, "No such file or folder"),
        ],
    )
    def test_what_cannot_go_on_is_told(
        self, changes: Folders, message: str, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        save_model(tmp_path / "barcodebert", tiny_masked_lm(), tiny_clibd_processor().dna_tokenizer)
        save_model(tmp_path / "two", tiny_clibd(modalities=["image", "dna"]), tiny_clibd_processor())
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            alignment_task(alignment(bare, Path("o"), **changes), Accelerator(cpu=True))
