"""BarcodeBERT: transformers' BERT over the k-mers of a DNA barcode."""

from typing import Any

import torch
from torch import nn
from transformers import BertModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions, MaskedLMOutput
from transformers.models.bert.modeling_bert import BertPreTrainedModel
from transformers.utils import can_return_tuple

from .configuration_barcodebert import BarcodeBertConfig

# `[MASK]` and `[UNK]` come before the k-mers in the vocabulary and are never predicted.
NUM_SPECIAL_TOKENS = 2


class BarcodeBertModel(BertModel):
    """The encoder. `pooler_output` is the barcode's embedding: the mean of the last hidden states of its k-mers."""

    config: BarcodeBertConfig
    # The head of a pretraining checkpoint is not needed here, and no reason to warn.
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]  # noqa: RUF012 (the base class has it so)

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config, add_pooling_layer=False)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Encode barcodes.

        Args:
            input_ids: K-mer ids, (batch, tokens).
            attention_mask: 1 for the barcode's k-mers, 0 for padding, (batch, tokens); all 1 if not given.
            **kwargs: Further arguments of `BertModel.forward`.

        Returns:
            `last_hidden_state` (batch, tokens, hidden_size) and `pooler_output` (batch, hidden_size), which is zero for
            a barcode without any k-mer.
        """
        kwargs["return_dict"] = True
        outputs = super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        hidden = outputs.last_hidden_state
        weights = hidden.new_ones(hidden.shape[:2]) if attention_mask is None else attention_mask.to(hidden.dtype)
        total = torch.einsum("btd,bt->bd", hidden, weights)
        outputs.pooler_output = total / weights.sum(dim=1, keepdim=True).clamp(min=1)
        return outputs


class BarcodeBertForMaskedLM(BertPreTrainedModel):
    """BarcodeBERT with the pretraining head: one linear layer from each hidden state to the 4**k k-mers.

    The tensors have the names of the reference's checkpoints (`bert.*`, `classifier.*`).
    """

    config: BarcodeBertConfig

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config)
        self.bert = BarcodeBertModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 4**config.kmer_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Predict the k-mer at each position.

        Args:
            input_ids: K-mer ids with some replaced by `[MASK]`, (batch, tokens).
            attention_mask: 1 for the barcode's k-mers, 0 for padding, (batch, tokens).
            labels: The true ids where the loss counts and -100 elsewhere, (batch, tokens).
            **kwargs: Further arguments of `BertModel.forward`.

        Returns:
            `logits` (batch, tokens, vocab_size), in which the special tokens have the lowest value there is, and the
            mean cross-entropy over the labelled positions as `loss` if `labels` were given.
        """
        kwargs["return_dict"] = True
        outputs = self.bert(input_ids, attention_mask=attention_mask, **kwargs)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            classes = torch.where(labels < 0, labels, labels - NUM_SPECIAL_TOKENS)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), classes.flatten().to(logits.device))
        return MaskedLMOutput(
            loss=loss,
            logits=nn.functional.pad(logits, (NUM_SPECIAL_TOKENS, 0), value=torch.finfo(logits.dtype).min),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


BarcodeBertModel.register_for_auto_class("AutoModel")
BarcodeBertForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")

__all__ = ["BarcodeBertForMaskedLM", "BarcodeBertModel"]
