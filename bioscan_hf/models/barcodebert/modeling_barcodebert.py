"""BarcodeBERT: transformers' BERT over the k-mers of a DNA barcode."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertModel
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    MaskedLMOutput,
    SequenceClassifierOutput,
)
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform, BertPreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_barcodebert import BarcodeBertConfig

IGNORED_LABEL = -100
# What the decoder of `BarcodeMAE` takes over from the encoder.
_DECODER_FIELDS = (
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "initializer_range",
    "layer_norm_eps",
)


class BarcodeBertModel(BertModel):
    """The encoder. `pooler_output` is the barcode's embedding, by default the mean over its k-mers."""

    config: BarcodeBertConfig
    # The head of another class is not needed here, and no reason to warn.
    _keys_to_ignore_on_load_unexpected = [  # noqa: RUF012 (the base class has it so)
        r"^(classifier|transform|projection|decoder|decoder_classifier|score)\."
    ]

    def __init__(self, config: BarcodeBertConfig) -> None:
        # Arguments of `from_pretrained` change a configuration after it has checked itself.
        config.validate()
        super().__init__(config, add_pooling_layer=False)
        self.embedding_norm: nn.Module = nn.Identity()
        if config.embedding_norm == "batch":
            self.embedding_norm = nn.BatchNorm1d(config.hidden_size, affine=False)
        elif config.embedding_norm == "linear":
            self.embedding_norm = nn.Linear(config.hidden_size, config.hidden_size)
            self.post_init()

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
            `last_hidden_state` (batch, tokens, hidden_size) and `pooler_output` (batch, hidden_size), which is zero,
            before `config.embedding_norm`, for a barcode without any k-mer if the attention mask is read. Where padding
            counts (`config.pooling="mean"`, `config.attend_to_padding`), barcodes are padded to `config.max_tokens`
            first, so that the embedding is the same in every batch; only what comes as `inputs_embeds` or with
            `position_ids` is taken as it is. Longer barcodes are not cut: that is the tokenizer's part
            (`truncation=True`).

        Raises:
            ValueError: If barcodes have more tokens than the model has positions.
        """
        if input_ids is not None and input_ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(
                f"Barcodes must have at most {self.config.max_position_embeddings} tokens "
                f"(`config.max_position_embeddings`); got {input_ids.shape[1]}. Tokenize with `truncation=True`."
            )
        padding_counts = self.config.attend_to_padding or self.config.pooling == "mean"
        if padding_counts and input_ids is not None and kwargs.get("position_ids") is None:
            missing = max(self.config.max_tokens - input_ids.shape[1], 0)
            if attention_mask is None:
                attention_mask = torch.ones_like(input_ids)
            input_ids = nn.functional.pad(input_ids, (0, missing), value=self.config.unknown_token_id)
            attention_mask = nn.functional.pad(attention_mask, (0, missing))
        if self.config.attend_to_padding:
            attention_mask = None
        kwargs["return_dict"] = True
        outputs = super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        pooled = self._pooled(outputs.last_hidden_state, attention_mask)
        outputs.pooler_output = self.embedding_norm(pooled)
        return outputs

    def _pooled(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        if self.config.pooling == "cls":
            return hidden[:, 0]
        if attention_mask is None:
            return hidden.mean(dim=1)
        if self.config.pooling == "mean":
            # Without any k-mer, hidden states depend on the implementation of the attention.
            return hidden.mean(dim=1) * attention_mask.any(dim=1, keepdim=True)
        weights = attention_mask.to(hidden.dtype)
        total = torch.einsum("btd,bt->bd", hidden, weights)
        return total / weights.sum(dim=1, keepdim=True).clamp(min=1)


class _BarcodeBertHead(BertPreTrainedModel):
    """What the classes with a head share."""

    config: BarcodeBertConfig
    # Losses are means over a batch: the Trainer is to divide them by its accumulation steps.
    accepts_loss_kwargs = False

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config)
        self.bert = BarcodeBertModel(config)
        # transformers would ignore another class's head here, too, where it is a reason to warn.
        self.bert._keys_to_ignore_on_load_unexpected = []


class BarcodeBertForMaskedLM(_BarcodeBertHead):
    """BarcodeBERT with the pretraining head: from each hidden state to the k-mers.

    The tensors have the names of the reference's checkpoints (`bert.*`, `classifier.*`).
    """

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config)
        _refuse_unknown_head(config)
        linear = config.mlm_head == "linear"
        self.dropout = nn.Dropout(config.hidden_dropout_prob if linear else 0.0)
        self.transform = nn.Identity() if linear else BertPredictionHeadTransform(config)
        vocab_size = self.bert.embeddings.word_embeddings.num_embeddings
        self.classifier = nn.Linear(config.hidden_size, 4**config.kmer_size if linear else vocab_size)
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
            labels: The true ids where the loss counts and -100 elsewhere, (batch, tokens). Tokens that the head does
                not know, such as special ones, do not count either.
            **kwargs: Further arguments of `BertModel.forward`.

        Returns:
            `logits` (batch, tokens, vocab_size), in which tokens that the head does not know have the lowest value
            there is, and, if `labels` were given, the mean cross-entropy over the labelled positions as `loss`: 0 if
            there are none. In training mode with `labels`, logits are computed for these positions and for the tokens
            that the head knows only: (labelled, 4**k), with `config.mlm_head="transform"` (labelled, vocab_size).
        """
        kwargs["return_dict"] = True
        outputs = self.bert(input_ids, attention_mask=attention_mask, **kwargs)
        loss, logits = _kmer_logits(self, outputs.last_hidden_state, labels)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def kmer_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores of what the head knows, (..., 4**k) or (..., vocab_size), from hidden states (..., hidden_size)."""
        logits: torch.Tensor = self.classifier(self.transform(self.dropout(hidden)))
        return logits


class BarcodeMAE(_BarcodeBertHead):
    """BarcodeBERT with the pretraining objective of BarcodeMAE (Safari et al., arXiv 2502.18405).

    The encoder reads the visible k-mers only, at their places in the barcode; a small decoder, dropped after
    pretraining, predicts the masked ones. `BarcodeBertModel.from_pretrained` loads the encoder. This is the reference's
    `maelm_v2`.
    """

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config)
        _refuse_unknown_head(config)
        if config.attend_to_padding or config.mlm_head != "linear":
            raise ValueError("BarcodeMAE needs `attend_to_padding=False` and `mlm_head='linear'`.")
        # Word embeddings of one row: the vector at masked places, which is zero at first, and learnt.
        decoder = BertConfig(
            vocab_size=1,
            num_hidden_layers=config.decoder_num_hidden_layers,
            **{field: getattr(config, field) for field in _DECODER_FIELDS},
        )
        decoder._attn_implementation = config._attn_implementation
        self.projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.decoder = BertModel(decoder, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        # Not `classifier`: it reads hidden states of the decoder, so `BarcodeBertForMaskedLM` must not load it.
        self.decoder_classifier = nn.Linear(config.hidden_size, 4**config.kmer_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Predict the masked k-mers.

        Args:
            input_ids: K-mer ids with some replaced by `[MASK]`, (batch, tokens).
            attention_mask: 1 for the barcode's k-mers, 0 for padding, (batch, tokens).
            labels: The true ids where the loss counts and -100 elsewhere, (batch, tokens).
            **kwargs: Further arguments of `BertModel.forward`, for encoder and decoder.

        Returns:
            As `BarcodeBertForMaskedLM`; hidden states and attentions are the decoder's.
        """
        kwargs["return_dict"] = True
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        masked = input_ids == self.config.mask_token_id
        if self.config.cls_token_id is not None:
            masked[:, 0] = False
        visible = attention_mask.bool() & ~masked
        # Visible tokens first, in their order; as many columns as the barcode with most of them needs.
        places = visible.int().argsort(dim=1, descending=True, stable=True)[:, : max(int(visible.sum(dim=1).max()), 1)]
        encoded = self.bert(
            input_ids.gather(1, places), attention_mask=visible.gather(1, places).long(), position_ids=places, **kwargs
        ).last_hidden_state
        projected = self.projection(encoded)
        embedded = projected.new_zeros(*input_ids.shape, projected.shape[-1])
        embedded = embedded.scatter(1, places[..., None].expand_as(projected), projected)
        embedded = embedded.where(visible[..., None], self.decoder.embeddings.word_embeddings.weight[0])
        outputs = self.decoder(inputs_embeds=embedded, attention_mask=attention_mask, **kwargs)
        loss, logits = _kmer_logits(self, outputs.last_hidden_state, labels)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def kmer_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores of the 4**k k-mers, (..., 4**k), from hidden states of the decoder, (..., hidden_size)."""
        logits: torch.Tensor = self.decoder_classifier(self.dropout(hidden))
        return logits


class BarcodeBertForSequenceClassification(_BarcodeBertHead):
    """BarcodeBERT with a linear classifier on the embedding, for the taxa of one rank.

    The classifier is called `score`, so that the head of a pretrained model, `classifier`, is never taken for it.
    """

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config)
        if config.ranks:
            raise ValueError(
                "This configuration names taxa at several `ranks`: use BarcodeBertForTaxonomicClassification. "
                "For one rank, give `num_labels` or `id2label` instead of `ranks`."
            )
        self.num_labels = len(config.id2label or {})
        self.dropout = nn.Dropout(config.classifier_dropout or 0.0)
        self.score = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Name barcodes.

        Args:
            input_ids: K-mer ids, (batch, tokens).
            attention_mask: 1 for the barcode's k-mers, 0 for padding, (batch, tokens).
            labels: Index of the taxon, (batch,); negative ones (no label: -1, -100) do not count.
            **kwargs: Further arguments of `BertModel.forward`.

        Returns:
            `logits` (batch, num_labels), and the mean cross-entropy as `loss` if `labels` were given: 0 if none counts.
        """
        kwargs["return_dict"] = True
        outputs = self.bert(input_ids, attention_mask=attention_mask, **kwargs)
        logits = self.score(self.dropout(outputs.pooler_output))
        return SequenceClassifierOutput(
            loss=None if labels is None else _mean_loss(logits.float().log_softmax(dim=-1), labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


@dataclass
class TaxonomicClassifierOutput(ModelOutput):
    """Output of `BarcodeBertForTaxonomicClassification`.

    Attributes:
        loss: Mean negative log-probability of the labels, over specimens and ranks, in nats.
        logits: Scores of the leaves of the tree, (batch, leaves).
        log_probabilities: Per rank, in the order of `config.ranks`: log-probabilities of its taxa, (batch, taxa).
        hidden_states: As in `BertModel`.
        attentions: As in `BertModel`.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    log_probabilities: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class BarcodeBertForTaxonomicClassification(_BarcodeBertHead):
    """BarcodeBERT with a classifier for several ranks that never contradict each other.

    Scores are given to the leaves of the tree of taxa (`config.lineages`), most of them species. The probability of any
    taxon is the sum over the leaves below it: that of a genus is the sum of its species'. A specimen that is named to
    the genus only trains this sum.
    """

    classes: torch.Tensor

    def __init__(self, config: BarcodeBertConfig) -> None:
        super().__init__(config)
        if not config.ranks or not config.taxa or not config.lineages:
            raise ValueError(
                "BarcodeBertForTaxonomicClassification needs `ranks`, `taxa` and `lineages` in its configuration; "
                "`bioscan_hf.TaxonTree` makes them of a dataset."
            )
        self.counts = [len(config.taxa[rank]) for rank in config.ranks]
        self.dropout = nn.Dropout(config.classifier_dropout or 0.0)
        self.score = nn.Linear(config.hidden_size, len(config.lineages))
        self.register_buffer("classes", _classes(config), persistent=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, BarcodeBertForTaxonomicClassification):
            # Not part of the checkpoint, and made on the meta device when that is loaded.
            init.copy_(module.classes, _classes(module.config))

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TaxonomicClassifierOutput:
        """Name barcodes at each rank.

        Args:
            input_ids: K-mer ids, (batch, tokens).
            attention_mask: 1 for the barcode's k-mers, 0 for padding, (batch, tokens).
            labels: Index of the taxon at each rank, (batch, ranks); negative ones (no label: -1, -100) do not count.
            **kwargs: Further arguments of `BertModel.forward`.

        Returns:
            Scores of the leaves and log-probabilities per rank; the loss if `labels` were given, 0 if none counts.

        Raises:
            ValueError: If `labels` have another shape.
        """
        if labels is not None and labels.shape[1:] != (len(self.counts),):
            raise ValueError(f"`labels` must be (batch, {len(self.counts)}), a label per rank; got {(*labels.shape,)}.")
        kwargs["return_dict"] = True
        outputs = self.bert(input_ids, attention_mask=attention_mask, **kwargs)
        logits = self.score(self.dropout(outputs.pooler_output))
        leaves = logits.float().log_softmax(dim=-1)
        ranks = tuple(_log_sums(leaves, own, count) for own, count in zip(self.classes, self.counts, strict=True))
        loss = None
        if labels is not None:
            # Every label counts the same, so that a rank with few labels does not outweigh the others.
            counts = (labels >= 0).sum(dim=0)
            means = torch.stack([_mean_loss(rank, own) for rank, own in zip(ranks, labels.unbind(1), strict=True)])
            loss = (means * counts.to(means)).sum() / counts.sum().clamp(min=1).to(means)
        return TaxonomicClassifierOutput(
            loss=loss,
            logits=logits,
            log_probabilities=ranks,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def _refuse_unknown_head(config: BarcodeBertConfig) -> None:
    if config.vocabulary == "acgnt":
        raise ValueError(
            "With `vocabulary='acgnt'` k-mers cannot be predicted: ids of k-mers without N are scattered among the "
            "others. Load the encoder, BarcodeBertModel."
        )


def _kmer_logits(
    model: BarcodeBertForMaskedLM | BarcodeMAE, hidden: torch.Tensor, labels: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Loss over the labelled positions, and logits: of these in training, of all, and of the whole vocabulary, else."""
    vocab_size = model.bert.embeddings.word_embeddings.num_embeddings
    before, known = 0, vocab_size
    if model.config.mlm_head == "linear":
        before, known = model.config.num_special_tokens, 4**model.config.kmer_size
    loss = None
    if labels is None:
        logits = model.kmer_logits(hidden)
    else:
        # Padding that the encoder added has no label.
        labels = nn.functional.pad(labels, (0, hidden.shape[1] - labels.shape[1]), value=IGNORED_LABEL)
        labelled = (labels >= before) & (labels < before + known)
        classes = torch.where(labelled, labels - before, IGNORED_LABEL)
        if model.training:
            hidden, classes = hidden[labelled], classes[labelled]
        logits = model.kmer_logits(hidden)
        loss = _mean_loss(logits.flatten(0, -2).float().log_softmax(dim=-1), classes.flatten())
        if model.training:
            return loss, logits
    # Never predicted: special tokens, and k-mers with an N.
    after = vocab_size - before - known
    return loss, nn.functional.pad(logits, (before, after), value=torch.finfo(logits.dtype).min)


def _mean_loss(log_probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-probability over the rows with a label, (batch,); 0 if there are none."""
    labels = labels.to(log_probabilities.device)
    total = nn.functional.nll_loss(
        log_probabilities, labels.masked_fill(labels < 0, IGNORED_LABEL), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    return total / (labels >= 0).sum().clamp(min=1)


def _classes(config: BarcodeBertConfig) -> torch.Tensor:
    """Index of the taxon of each leaf at each rank, (ranks, leaves)."""
    return torch.tensor(config.lineages).T.contiguous()


def _log_sums(leaves: torch.Tensor, classes: torch.Tensor, count: int) -> torch.Tensor:
    """Logarithm of the sum of the probabilities of the leaves of each taxon.

    Args:
        leaves: Log-probabilities, (batch, leaves).
        classes: Taxon of each leaf, -1 for none, (leaves,).
        count: Number of taxa.

    Returns:
        Log-probabilities, (batch, count).
    """
    # One more place takes the leaves without a taxon at this rank.
    index = classes.where(classes >= 0, count).expand_as(leaves)
    highest = leaves.new_full((len(leaves), count + 1), -torch.inf).scatter_reduce(1, index, leaves.detach(), "amax")
    sums = torch.zeros_like(highest).scatter_add(1, index, (leaves - highest.gather(1, index)).exp())
    return (sums[:, :count].log() + highest[:, :count]).clamp(max=0)


BarcodeBertModel.register_for_auto_class("AutoModel")
BarcodeBertForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
BarcodeMAE.register_for_auto_class("AutoModelForPreTraining")
BarcodeBertForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
BarcodeBertForTaxonomicClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = [
    "BarcodeBertForMaskedLM",
    "BarcodeBertForSequenceClassification",
    "BarcodeBertForTaxonomicClassification",
    "BarcodeBertModel",
    "BarcodeMAE",
    "TaxonomicClassifierOutput",
]
