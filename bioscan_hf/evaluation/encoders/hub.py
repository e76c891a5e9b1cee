"""Embeddings of other DNA models on the Hub, as long as transformers loads them without code of theirs."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bioscan_hf.evaluation.encoders.model import ModelEncoder
from bioscan_hf.tokenization.letters import MAX_LETTERS

_PROBE = "AACATTATATTTTATTTTTGGAATTTGAGCAGGAATAGTAGG"


class HubEncoder(ModelEncoder):
    """Computes the mean of the last hidden states of a DNA model over the tokens of a barcode.

    The mean is over the attention mask, so it includes the special tokens that the model's own tokenizer adds: like the
    authors of BarcodeBERT do when they compare such models (bioscan-ml/BarcodeMAE, `external_models.py`). Barcodes with
    more tokens than the model has positions are cut. Models that take no attention mask get all barcodes padded to
    that length, so that vectors do not depend on the batch.

    Attributes:
        max_tokens: Tokens that count, special ones included.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any) -> None:
        """Prepare a model.

        Args:
            model: An encoder without head, as `AutoModel` loads it.
            tokenizer: Its tokenizer.
            **options: As `ModelEncoder`.

        Raises:
            ValueError: If the tokenizer cannot pad, has more tokens than the model, or does not know DNA; if the model
                gives no hidden states; or if an option is out of range.
        """
        super().__init__(model, **options)
        _check_tokenizer(model, tokenizer)
        self._tokenizer = tokenizer
        self._takes_mask = "attention_mask" in inspect.signature(model.forward).parameters
        self.max_tokens = min(int(tokenizer.model_max_length), _positions(model), MAX_LETTERS + 2)
        self.dimension = self._mean_of_frames([_PROBE * 2]).shape[1]

    @property
    def description(self) -> dict[str, Any]:  # type: ignore[override]
        """See `BarcodeEncoder`."""
        return {**super().description, "pooling": "masked_mean", "max_tokens": self.max_tokens}

    def _pooled(self, barcodes: list[str]) -> torch.Tensor:
        batch = self._tokenizer(
            barcodes,
            padding="longest" if self._takes_mask else "max_length",
            padding_side="right",
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        )
        inputs = {name: self._on_device(batch[name]) for name in ("input_ids", "attention_mask")}
        mask = inputs["attention_mask"][..., None]
        # The first output is the last hidden state, whether the model names its outputs or not.
        hidden = self.model(**inputs if self._takes_mask else {"input_ids": inputs["input_ids"]})[0]
        if hidden.shape[:-1] != mask.shape[:-1]:
            raise ValueError(
                f"The model of the type {self.model.config.model_type!r} gives no hidden state per token: expected "
                f"{(*mask.shape[:-1], 'D')}, got {tuple(hidden.shape)}. Load it by `AutoModel`."
            )
        return (hidden.float() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.pad_token is None:
        raise ValueError(
            "The tokenizer has no padding token; set one, such as `tokenizer.pad_token = tokenizer.unk_token`, and "
            "give both to `HubEncoder(model, tokenizer)`. Padding does not count in the embedding."
        )
    rows: int = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ValueError(
            f"The tokenizer has {len(tokenizer):,} tokens and the model {rows:,}: they do not belong together."
        )
    ids = set(tokenizer(_PROBE, add_special_tokens=False, truncation=True, max_length=8)["input_ids"])
    if ids <= {tokenizer.unk_token_id}:
        raise ValueError(f"The tokenizer does not know DNA: it has no token for any part of {_PROBE!r}.")


def _positions(model: PreTrainedModel) -> int:
    """Tokens that a model has positions for."""
    count: int = getattr(model.config, "max_position_embeddings", None) or MAX_LETTERS + 2
    # Models in the manner of RoBERTa, ESM among them, count positions from the one after the padding's.
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return count if padding is None else count - padding - 1
