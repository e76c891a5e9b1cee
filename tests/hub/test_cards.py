import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData
from peft import LoraConfig, TaskType, get_peft_model
from transformers import PreTrainedModel

from bioscan_hf import (
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    BarcodeBertModel,
    build_tokenizer,
)
from bioscan_hf.evaluation.results import Result, results_markdown
from bioscan_hf.hub.card_texts import NOT_REGULATORY
from bioscan_hf.hub.cards import Head, Training, chance_loss, training_card
from bioscan_hf.hub.push import save_model
from tests.hub_server.fixture import LocalHub
from tests.tiny import RESULT as OURS
from tests.tiny import TAXONOMY, tiny_config

BASELINE = replace(OURS, model="4-mer counts", model_revision=None, value=0.5)
PRETRAINING = Training(
    "masked language modelling",
    {"max_steps": 3, "seed": 3, "resume": None},
    examples=1234,
    example_name="distinct barcodes",
    labels=(),
    history=[{"step": step, "loss": 5.0 - step, "samples_per_second": 1000 * step} for step in (1, 2, 3)],
)
FINE_TUNING = replace(
    PRETRAINING,
    objective="classification of order, family and genus (full fine-tuning)",
    example_name="specimens",
    labels=("order", "family", "genus"),
    history=[{"step": 1, "loss": 3.0}, {"step": 2000, "eval_loss": 2.0, "eval_genus_accuracy": 0.91234}],
    base_model="bioscan-ml/BarcodeBERT",
    seconds=3725,
    processes=2,
    resumed=1,
)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ONE_RANK = {i: f"Genus{i}" for i in range(7)}


def card(model: PreTrainedModel, results: list[Result], training: Training = PRETRAINING, **options: Any) -> ModelCard:
    told: dict[str, Any] = {
        "head": "masked_lm",
        "source": ("some data", "ba9876543210"),
        "reading_frames": 5,
        "model_id": "me/model",
        "title": "A model",
        "summary": "What it is.",
        "limits": "What it is not.",
        "version": "1.2.3",
    }
    return training_card(model.config, model.num_parameters(), training, results, **{**told, **options})


def metadata(written: ModelCard) -> ModelCardData:
    data = ModelCard(str(written)).data
    assert isinstance(data, ModelCardData)
    return data


def test_card_tells_what_was_trained_and_measured(masked_lm: BarcodeBertForMaskedLM) -> None:
    text = card(masked_lm, [OURS, BASELINE]).text
    for expected in (
        "# A model\n\nWhat it is.",
        'AutoModel.from_pretrained("me/model", trust_remote_code=True)',
        "`AutoModelForMaskedLM` loads the pretraining head",
        results_markdown([OURS, BASELINE]),
        "Measured by `bioscan demo --seed 3`.",
        "means over\n5 reading frames",
        "Masked language modelling, on 1,234 distinct barcodes of some data (revision `ba9876543210`).",
        "**Labels were not used**",
        "3.00 nats (guessing: 4.16)",
        "| argument | value |\n| --- | --- |\n| `max_steps` | 3 |\n| `seed` | 3 |\n",
        f"{masked_lm.num_parameters():,} parameters.",
        "## Limits\n\n- What it is not.\n- A nearest neighbour can only have a name that is among",
        f"- {NOT_REGULATORY}\n\n## Licence and attribution\n\nThe weights are under the MIT licence",
        "The licence of the data, some data, is that of their source",
        "@article{millanarias2023barcodebert,",
        "bioscan_hf 1.2.3",
    ):
        assert expected in text
    for absent in ("{{ ", "{%", "\n\n\n", "resume", "Duration", "Resumed", "![", "evaluation"):
        assert absent not in text
    assert "co2" not in str(card(masked_lm, [OURS])).lower()


def test_card_tells_that_labels_were_used_and_which(masked_lm: BarcodeBertForMaskedLM) -> None:
    written = card(
        masked_lm,
        [replace(OURS, benchmark="genus of seen species", dataset="bioscan-ml/BIOSCAN-5M")],
        replace(FINE_TUNING, arguments={"ranks": ["order", "genus"], "note": "a | b\nc"}),
        head="classifier",
        source=("bioscan-ml/BIOSCAN-5M", "0123abcd"),
        data_license="CC BY 3.0",
        picture="training.png",
    )
    for expected in (
        "Classification of order, family and genus (full fine-tuning), on 1,234 specimens of bioscan-ml/BIOSCAN-5M",
        "(revision `0123abcd`). ",
        "The data, bioscan-ml/BIOSCAN-5M: CC BY 3.0.\n\n## Citation",
        "- Only species of the training have names",
        "**Labels were used: order, family and genus.** Results on these are supervised",
        "- Loss over the last steps: 3.00 nats\n- Last evaluation, at step 2,000: loss 2, genus accuracy 0.9123\n"
        "- Duration: 1 h 2 min on 2 processes\n- Resumed once\n\n![Training curves](training.png)\n\n| argument",
        "| `ranks` | order, genus |\n| `note` | a \\| b c |\n",
    ):
        assert expected in written.text
    for absent in ("\n\n\n", "guessing", "1-NN", "= model(**inputs).pooler_output", "self-supervised", "{{ ", "{%"):
        assert absent not in written.text
    data = metadata(written)
    assert data.pipeline_tag == "text-classification" and data.library_name == "transformers"
    assert data.base_model == "bioscan-ml/BarcodeBERT" and data.datasets == ["bioscan-ml/BIOSCAN-5M"]
    assert data.eval_results and data.eval_results[0].dataset_type == "bioscan-ml/BIOSCAN-5M"
    assert data.eval_results[0].task_type == "text-classification"


def test_metadata_hold_our_results_and_not_the_baselines(masked_lm: BarcodeBertForMaskedLM) -> None:
    data = metadata(card(masked_lm, [OURS, BASELINE]))
    assert data.license == "mit" and data.model_name == "A model" and data.eval_results
    assert data.datasets is None and data.base_model is None
    (result,) = data.eval_results
    assert result.metric_value == 0.625 and result.dataset_split == "test_unseen"
    assert result.dataset_revision == "ba9876543210" and "1-NN genus, unseen species" in str(result.metric_name)


@pytest.mark.parametrize(
    ("training", "reason"), [(PRETRAINING, "the data have no labels, or nothing"), (FINE_TUNING, "nothing")]
)
def test_card_without_results_says_so(masked_lm: BarcodeBertForMaskedLM, training: Training, reason: str) -> None:
    written = card(masked_lm, [], training)
    assert f"None: {reason} was measured" in written.text and "model-index" not in str(written)


def run_example(written: ModelCard, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (source,) = BLOCK.findall(written.text)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(source, names)
    return names


@pytest.mark.parametrize(
    ("model_class", "fields", "head", "shown"),
    [
        (BarcodeBertModel, {}, "none", r"^$"),
        (BarcodeBertForSequenceClassification, {"id2label": ONE_RANK}, "classifier", r"^\[\('Genus\d', 0\.\d+\)\]$"),
        (
            BarcodeBertForTaxonomicClassification,
            TAXONOMY,
            "classifier",
            r"^order \[\('[AB]ptera', 0\.\d+\)\]\ngenus \[\('[AC]us', 0\.\d+\)\]\nspecies \[\('\w+ \w+', 0\.\d+\)\]$",
        ),
    ],
)
def test_example_of_the_card_runs(
    model_class: Any,
    fields: dict[str, Any],
    head: Head,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = model_class(tiny_config(**fields))
    save_model(tmp_path, model, build_tokenizer(3))
    written = card(model, [], head=head, model_id=".")
    names = run_example(written, tmp_path, monkeypatch)
    assert re.match(shown, capsys.readouterr().out.strip())
    if head == "none":
        assert names["embeddings"].shape == (1, 16)
    else:
        counted = ["7 taxa"] if not fields.get("ranks") else ["2 taxa of the rank order", "3 taxa of the rank species"]
        assert all(words in written.text for words in counted)


def test_example_of_an_adapter_runs_without_the_package(hub: LocalHub, tmp_path: Path) -> None:
    save_model(tmp_path / "base", BarcodeBertForMaskedLM(tiny_config()), build_tokenizer(3))
    hub.api().create_repo("tester/adapted")
    hub.api().upload_folder(repo_id="tester/adapted", folder_path=tmp_path / "base")
    base = BarcodeBertForTaxonomicClassification(tiny_config(**TAXONOMY))
    base.bert.load_state_dict(BarcodeBertModel.from_pretrained(tmp_path / "base").state_dict())
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query", "value"], modules_to_save=["score"])
    model: Any = get_peft_model(base, lora).eval()
    # As trained: without this, an adapter does nothing and a classifier has no bias.
    for tensor in model.parameters():
        if tensor.requires_grad:
            torch.nn.init.normal_(tensor)
    hub.api().create_repo("tester/adapter")
    save_model(tmp_path / "adapter", model, build_tokenizer(3))
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "tester/adapted"}))
    hub.api().upload_folder(repo_id="tester/adapter", folder_path=tmp_path / "adapter")

    written = card(base, [], FINE_TUNING, head="adapter", model_id="tester/adapter")
    (source,) = BLOCK.findall(written.text)
    end = "print(outputs.logits.tolist())"
    shown = hub.run("import sys\nsys.modules['bioscan_hf'] = None\n" + source + end, tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in shown[:-1]] == TAXONOMY["ranks"]
    barcode = re.findall(r'"([ACGT]+)"', source)
    expected = model(**build_tokenizer(3)(barcode, return_tensors="pt")).logits
    torch.testing.assert_close(torch.tensor(json.loads(shown[-1])), expected)
    data = metadata(written)
    assert data.library_name == "peft" and data.pipeline_tag == "text-classification"
    assert "sentence-transformers" not in (data.tags or []) and "parameters of its own" in written.text


def test_guessing_costs_the_logarithm_of_the_number_of_kmers() -> None:
    assert chance_loss(4) == pytest.approx(5.545, abs=1e-3)
