"""What the examples in `model_cards/` load."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, AutoModelForSequenceClassification

from bioscan_hf.hub.push import save_model
from bioscan_hf.models.pretrained import packaged_model
from bioscan_hf.tokenization.kmer import tokenizer_for
from bioscan_hf.training.lora import add_lora, quiet_loading
from tests.identification.made_library import library

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "model_cards"


def make_adapter(folder: Path) -> None:
    """An adapter as that of the card, untrained."""
    config = AutoConfig.from_pretrained(RESULTS / "lora-adapter")
    base = packaged_model("barcodebert-small")
    with quiet_loading():
        model = AutoModelForSequenceClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
    save_model(folder / "my-adapter", add_lora(model), tokenizer_for(config))


def make_library(folder: Path) -> None:
    """A small library."""
    library().save(folder / "me" / "my-library")


FOLDERS = {"lora-adapter": make_adapter, "library": make_library}
"""By the card's name: what makes the folder that its example loads."""
