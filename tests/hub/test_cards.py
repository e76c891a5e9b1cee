from dataclasses import replace

import pytest
from huggingface_hub import ModelCard, ModelCardData

from bioscan_hf import BarcodeBertForMaskedLM
from bioscan_hf.evaluation.results import Result, results_markdown
from bioscan_hf.hub.cards import Training, chance_loss, pretraining_card
from tests.tiny import RESULT as OURS

BASELINE = replace(OURS, model="4-mer counts", model_revision=None, value=0.5)


def card(model: BarcodeBertForMaskedLM, results: list[Result]) -> ModelCard:
    return pretraining_card(
        model,
        Training({"max_steps": 3, "seed": 3}, barcodes=1234, losses=[4.0, 3.0, 2.0]),
        results,
        source=("some data", "ba9876543210"),
        reading_frames=5,
        model_id="me/model",
        title="A model",
        summary="What it is.",
        limits="What it is not.",
        version="1.2.3",
    )


def test_card_tells_what_was_trained_and_measured(masked_lm: BarcodeBertForMaskedLM) -> None:
    text = card(masked_lm, [OURS, BASELINE]).text
    for expected in (
        "# A model\n\nWhat it is.",
        'AutoModel.from_pretrained("me/model", trust_remote_code=True)',
        results_markdown([OURS, BASELINE]),
        "Measured\nby `bioscan demo --seed 3`",
        "reading_frames=5",
        "1,234 distinct barcodes of some data (revision `ba9876543210`)",
        "3.00 nats (guessing: 4.16)",
        "| `max_steps` | 3 |\n| `seed` | 3 |\n",
        f"{masked_lm.num_parameters():,} parameters",
        "What it is not.",
        "bioscan_hf 1.2.3",
    ):
        assert expected in text
    assert "{{" not in text and "{%" not in text


def test_metadata_hold_our_results_and_not_the_baselines(masked_lm: BarcodeBertForMaskedLM) -> None:
    data = ModelCard(str(card(masked_lm, [OURS, BASELINE]))).data
    assert isinstance(data, ModelCardData) and data.eval_results
    assert data.license == "mit" and data.model_name == "A model"
    (result,) = data.eval_results
    assert result.metric_value == 0.625 and result.dataset_split == "test_unseen"
    assert result.dataset_revision == "ba9876543210" and result.task_name == "1-NN genus, unseen species"


def test_card_without_results_says_so(masked_lm: BarcodeBertForMaskedLM) -> None:
    assert "None: the data have no labels." in card(masked_lm, []).text


def test_guessing_costs_the_logarithm_of_the_number_of_kmers() -> None:
    assert chance_loss(4) == pytest.approx(5.545, abs=1e-3)
