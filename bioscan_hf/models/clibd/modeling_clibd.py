"""CLIBD: one embedding space for images, DNA barcodes and taxonomy text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import BertModel, PreTrainedModel, ViTModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_clibd import MODALITIES, ClibdConfig
from .loss_clibd import alignment_loss
from .towers_clibd import dna_tower, fold, new_tower

_TAXA_AT_ONCE = 256
_CONFIGS = {"image": "vision_config", "dna": "dna_config", "text": "text_config"}


@dataclass
class ClibdOutput(ModelOutput):
    """Output of `ClibdModel`.

    Attributes:
        loss: Mean contrastive loss over pairs of modalities, in nats.
        logits_per_image: Scaled cosines of images and texts, (images, texts), if both were given.
        logits_per_text: Its transpose.
        image_embeds: Unit vectors of the images, (batch, projection_dim); zeros where there is none.
        dna_embeds: Likewise of the barcodes.
        text_embeds: Likewise of the texts.
    """

    loss: torch.Tensor | None = None
    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    dna_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


class LogitScale(nn.Module):
    """Factor of cosines and what is added to them; a module, so that peft trains and saves it."""

    def __init__(self, config: ClibdConfig) -> None:
        super().__init__()
        self.largest = config.logit_scale_max
        self.log_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        # Without the loss that needs it, it would be a parameter without gradient.
        bias = torch.tensor(float(config.logit_bias_init_value))
        self.bias = nn.Parameter(bias) if config.loss_type == "sigmoid" else None

    def forward(self) -> torch.Tensor:
        """The factor, a scalar of at most `largest`, in float32."""
        if self.largest is None:
            return self.log_scale.float().exp()
        bound = math.log(self.largest)
        if self.training:
            # As OpenAI's CLIP: beyond the bound, it would get no gradient any more and never come back.
            self.log_scale.data.clamp_(max=bound)
        return self.log_scale.float().clamp(max=bound).exp()


class ClibdPreTrainedModel(PreTrainedModel):
    """What the classes of CLIBD share."""

    config: ClibdConfig
    base_model_prefix = "clibd"
    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # The scale is a power of e: in half precision it would be off by a per cent.
    _keep_in_fp32_modules_strict = ["logit_scale"]  # noqa: RUF012 (the base class has it so)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LogitScale):
            init.constant_(module.log_scale, float(self.config.logit_scale_init_value))
            if module.bias is not None:
                init.constant_(module.bias, float(self.config.logit_bias_init_value))
        elif isinstance(module, ClibdForImageClassification):
            init.zeros_(module.taxa_embeds)
        elif isinstance(module, nn.Linear):
            # As CLIP's projections; towers initialise their own layers.
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class ClibdModel(ClibdPreTrainedModel):
    """Towers for two or three modalities with one embedding space.

    Attributes:
        chunk_size: Specimens that go through a tower at once while it is trained; None for the whole batch. With
            chunks the loss is still over the whole batch, and activations are held for one chunk only: they are
            computed twice (GradCache, Gao et al. 2021, arXiv 2101.06983). Runtime setting, not saved.
        loss_tile: See `loss_clibd.alignment_loss`; likewise.
    """

    # Those of a classifier are not needed here, and no reason to warn.
    _keys_to_ignore_on_load_unexpected = [r"^taxa_embeds$"]  # noqa: RUF012 (the base class has it so)

    def __init__(self, config: ClibdConfig, towers: Mapping[str, PreTrainedModel] | None = None) -> None:
        """Make a model.

        Args:
            config: Sizes of the towers, and how they are put together.
            towers: Models to use instead of new ones, by modality; see `from_towers`.
        """
        # Arguments of `from_pretrained` change a configuration after it has checked itself.
        config.validate()
        super().__init__(config)
        self.chunk_size: int | None = None
        self.loss_tile: int | None = None
        towers = towers or {}
        if "image" in config.modalities:
            vision: Any = config.vision_config
            self.vision_model = towers.get("image") or new_tower(vision, pooler=config.vision_pooling == "pooler")
            self.vision_projection = nn.Linear(vision.hidden_size, config.projection_dim)
        if "dna" in config.modalities:
            dna: Any = config.dna_config
            self.dna_model = towers.get("dna") or BertModel._from_config(dna, add_pooling_layer=False)
            self.dna_transform = BertPredictionHeadTransform(dna) if config.dna_head == "mlm" else nn.Identity()
            self.dna_projection: nn.Module = nn.Identity()
            if config.dna_head != "none":
                self.dna_projection = nn.Linear(dna.hidden_size, config.projection_dim)
        if "text" in config.modalities:
            text: Any = config.text_config
            self.text_model = towers.get("text") or new_tower(text)
            self.text_projection = nn.Linear(text.hidden_size, config.projection_dim)
        self.logit_scale = LogitScale(config)
        self.post_init()

    @classmethod
    def from_towers(
        cls,
        *,
        image: PreTrainedModel | None = None,
        dna: PreTrainedModel | None = None,
        text: PreTrainedModel | None = None,
        **fields: Any,
    ) -> "ClibdModel":
        """Put pretrained towers together; what projects into the embedding space is new.

        Args:
            image: A vision model, such as `AutoModel.from_pretrained("google/vit-base-patch16-224-in21k")`.
            dna: A BarcodeBERT, with or without head. An affine map of its embedding (`embedding_norm`) goes into the
                projection.
            text: A text encoder, such as `AutoModel.from_pretrained("prajjwal1/bert-small")`.
            **fields: Fields of `ClibdConfig`.

        Returns:
            The model, in evaluation mode; it holds the towers themselves, no copies. The poolers of BERT and ViT,
            layers after the last hidden state, are taken off if they are not used.

        Raises:
            ValueError: If there are fewer than two towers, `dna` is no BarcodeBERT, or fields do not fit.
        """
        towers = {name: tower for name, tower in zip(MODALITIES, (image, dna, text), strict=True) if tower is not None}
        norm = None
        if dna is not None:
            towers["dna"], norm = dna_tower(dna)
        configs: dict[str, Any] = {_CONFIGS[name]: tower.config for name, tower in towers.items()}
        attention = {name: own._attn_implementation for name, own in configs.items()}
        config = ClibdConfig(modalities=list(towers), **configs, **fields)
        # A new configuration forgets that of its parts, and a tower without one would not read attention masks.
        config._attn_implementation = attention
        for name, tower in towers.items():
            if isinstance(tower, BertModel | ViTModel) and not (name == "image" and config.vision_pooling == "pooler"):
                # They would be parameters without gradient, and unknown to the model that loads this one.
                tower.pooler = None
        model = cls(config, towers)
        if norm is not None:
            first = model.dna_transform.dense if config.dna_head == "mlm" else model.dna_projection
            if not isinstance(first, nn.Linear):
                raise ValueError(
                    "The `embedding_norm` of this BarcodeBERT needs a layer that takes it over; got `dna_head='none'`. "
                    "Use 'linear' or 'mlm'."
                )
            fold(norm, first)
        return model.eval()

    @can_return_tuple
    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Embed images.

        Args:
            pixel_values: As the processor gives them, (batch, 3, height, width).
            **kwargs: Further arguments of the tower.

        Returns:
            `last_hidden_state` of the tower, and the embeddings as `pooler_output`, (batch, projection_dim), of any
            length.

        Raises:
            ValueError: If the model has no tower for images.
        """
        self._check("image")
        kwargs["return_dict"] = True
        outputs = self.vision_model(pixel_values=pixel_values, **kwargs)
        hidden = outputs.last_hidden_state
        pooled = {
            "cls": lambda: hidden[:, 0],
            "mean": lambda: hidden[:, 1:].mean(dim=1),
            "pooler": lambda: outputs.pooler_output,
        }[self.config.vision_pooling]()
        return _features(outputs, self.vision_projection(pooled))

    @can_return_tuple
    def get_dna_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Embed barcodes.

        Args:
            input_ids: K-mer ids, (batch, tokens).
            attention_mask: 1 for the barcode's k-mers, 0 for padding, (batch, tokens); all 1 if not given.
            **kwargs: Further arguments of the tower.

        Returns:
            As `get_image_features`.

        Raises:
            ValueError: If the model has no tower for DNA, or barcodes have more tokens than it has positions.
        """
        self._check("dna")
        config: Any = self.config.dna_config
        if input_ids.shape[1] > config.max_position_embeddings:
            raise ValueError(
                f"Barcodes must have at most {config.max_position_embeddings} tokens; got {input_ids.shape[1]}. "
                "Tokenize with `truncation=True`."
            )
        if config.attend_to_padding or self.config.dna_pooling == "mean":
            input_ids, attention_mask = _padded(input_ids, attention_mask, config.max_tokens, config.unknown_token_id)
        if config.attend_to_padding:
            attention_mask = None
        kwargs["return_dict"] = True
        outputs = self.dna_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        return _features(outputs, self._dna_embedding(outputs.last_hidden_state, attention_mask))

    def _dna_embedding(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        pooling = self.config.dna_pooling
        if not pooling.startswith("head_"):
            projected: torch.Tensor = self.dna_projection(self.dna_transform(_pooled(hidden, attention_mask, pooling)))
            return projected
        tokens = self.dna_projection(self.dna_transform(hidden))
        shares = tokens.softmax(dim=-1) if pooling == "head_softmax_mean" else tokens
        return _pooled(shares, attention_mask, "masked_mean")

    @can_return_tuple
    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Embed texts.

        Args:
            input_ids: Ids of the text tokenizer, (batch, tokens).
            attention_mask: 1 for the text, 0 for padding, (batch, tokens); all 1 if not given.
            **kwargs: Further arguments of the tower.

        Returns:
            As `get_image_features`.

        Raises:
            ValueError: If the model has no tower for text.
        """
        self._check("text")
        if self.config.text_pooling == "mean":
            fill = getattr(self.config.text_config, "pad_token_id", None) or 0
            input_ids, attention_mask = _padded(input_ids, attention_mask, self.config.text_tokens, fill)
        kwargs["return_dict"] = True
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        pooled = _pooled(outputs.last_hidden_state, attention_mask, self.config.text_pooling)
        return _features(outputs, self.text_projection(pooled))

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        dna_input_ids: torch.Tensor | None = None,
        dna_attention_mask: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        has_image: torch.Tensor | None = None,
        has_dna: torch.Tensor | None = None,
        has_text: torch.Tensor | None = None,
        group_ids: torch.Tensor | None = None,
        caption_ids: torch.Tensor | None = None,
        rank_ids: torch.Tensor | None = None,
        return_loss: bool = True,
        **kwargs: Any,
    ) -> ClibdOutput:
        """Embed specimens, and compare their modalities.

        Any of the modalities may be left out, for the whole batch, or for some specimens by `has_image` and so on: the
        rows of these mean nothing then.

        Args:
            pixel_values: See `get_image_features`.
            dna_input_ids: `input_ids` of `get_dna_features`.
            dna_attention_mask: Its `attention_mask`.
            input_ids: Of the texts; see `get_text_features`.
            attention_mask: Likewise.
            token_type_ids: Taken, as tokenizers give them, and not used: a caption is one segment.
            has_image: Which specimens have an image, (batch,) bool; all if not given.
            has_dna: Likewise.
            has_text: Likewise.
            group_ids: Which specimens are alike; this and the next two as in `loss_clibd.alignment_loss`.
            caption_ids: Which have the same caption.
            rank_ids: Taxa at each rank.
            return_loss: Whether to compute the loss. It is None in any case if there are fewer than two modalities, or
                not as many of each, as when images are compared with a list of taxa; and, but for training, if its
                targets need `group_ids` and there are none.
            **kwargs: `return_dict`.

        Returns:
            Loss and embeddings.

        Raises:
            ValueError: If no modality is given, or one that the model has no tower for.
        """
        given = {
            "image": (has_image, pixel_values, None),
            "dna": (has_dna, dna_input_ids, dna_attention_mask),
            "text": (has_text, input_ids, attention_mask),
        }
        embeds: dict[str, torch.Tensor] = {}
        present: dict[str, torch.Tensor] = {}
        for name, (has, inputs, mask) in given.items():
            if inputs is not None:
                self._check(name)
                there = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device) if has is None else has.bool()
                present[name], embeds[name] = there, self._embedded(name, there, inputs, mask)
        if not embeds:
            raise ValueError(
                f"Nothing to embed: give `pixel_values`, `dna_input_ids` or `input_ids` (this model has towers for "
                f"{', '.join(self.config.modalities)})."
            )
        loss = None
        comparable = self.training or self.config.loss_targets == "identity" or group_ids is not None
        if return_loss and comparable and len(embeds) > 1 and len({len(own) for own in embeds.values()}) == 1:
            with torch.autocast(next(iter(embeds.values())).device.type, enabled=False):
                loss = self._loss(embeds, present, group_ids, caption_ids, rank_ids)
        logits = None
        # In training nobody reads them, and they may be large.
        if not self.training and "image" in embeds and "text" in embeds:
            logits = self.logit_scale() * embeds["image"] @ embeds["text"].T
        return ClibdOutput(
            loss=loss,
            logits_per_image=logits,
            logits_per_text=None if logits is None else logits.T,
            **{f"{name}_embeds": own for name, own in embeds.items()},
        )

    def _loss(
        self,
        embeds: Mapping[str, torch.Tensor],
        present: Mapping[str, torch.Tensor],
        group_ids: torch.Tensor | None,
        caption_ids: torch.Tensor | None,
        rank_ids: torch.Tensor | None,
    ) -> torch.Tensor:
        config = self.config
        return alignment_loss(
            embeds,
            present,
            self.logit_scale(),
            self.logit_scale.bias,
            pairs=config.pairs,
            targets=config.loss_targets,
            group_ids=group_ids,
            caption_ids=caption_ids,
            rank_ids=rank_ids,
            hierarchy_weight=config.hierarchy_weight,
            tile=self.loss_tile,
        )

    def _projected(self, modality: str, inputs: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Embeddings of any length, (rows, D)."""
        if modality == "image":
            outputs = self.get_image_features(inputs)
        else:
            outputs = (self.get_dna_features if modality == "dna" else self.get_text_features)(inputs, mask)
        features: torch.Tensor = outputs.pooler_output
        return features

    def _embedded(
        self, modality: str, there: torch.Tensor, inputs: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Unit vectors of the specimens that have the modality, and zeros for the others, (batch, D)."""
        if modality == "text":
            # Captions repeat, and one pass for each is enough.
            inputs, mask, there_of, places = _distinct(inputs, mask, there)
            return self._embedded_rows(modality, there_of, inputs, mask)[places]
        return self._embedded_rows(modality, there, inputs, mask)

    def _embedded_rows(
        self, modality: str, there: torch.Tensor, inputs: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        if there.all():
            return nn.functional.normalize(self._in_chunks(modality, inputs, mask).float(), dim=-1)
        # A tower that is not used in one of several processes would keep the others waiting: one row at least.
        rows = there.nonzero()[:, 0] if there.any() else there.new_zeros(1, dtype=torch.long)
        features = self._in_chunks(modality, inputs[rows], None if mask is None else mask[rows]).float()
        vectors = nn.functional.normalize(features, dim=-1) * there[rows, None]
        return vectors.new_zeros(len(there), vectors.shape[1]).index_copy(0, rows, vectors)

    def _in_chunks(self, modality: str, inputs: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        size = self.chunk_size
        if size is None or len(inputs) <= size:
            return self._projected(modality, inputs, mask)
        parts = [slice(start, start + size) for start in range(0, len(inputs), size)]
        chunks = [(modality, inputs[part], None if mask is None else mask[part]) for part in parts]
        if not torch.is_grad_enabled():
            return torch.cat([self._projected(*chunk) for chunk in chunks])
        return torch.cat([checkpoint(self._projected, *chunk, use_reentrant=False) for chunk in chunks])

    def _check(self, modality: str) -> None:
        if modality not in self.config.modalities:
            raise ValueError(
                f"This model has no tower for the modality {modality!r}; it has those for "
                f"{', '.join(self.config.modalities)}."
            )


class ClibdForImageClassification(ClibdPreTrainedModel):
    """Names specimens by comparing them with the texts of taxa: zero-shot, by image, barcode or both.

    `set_taxa` computes the embeddings of the taxa once; they are saved with the model.
    """

    taxa_embeds: torch.Tensor
    # `set_taxa` makes them.
    _keys_to_ignore_on_load_missing = [r"^taxa_embeds$"]  # noqa: RUF012 (the base class has it so)

    def __init__(self, config: ClibdConfig) -> None:
        super().__init__(config)
        self.clibd = ClibdModel(config)
        self.register_buffer("taxa_embeds", torch.zeros(len(config.taxa or ()), config.projection_dim))
        self.post_init()

    @torch.no_grad()
    def set_taxa(self, taxa: Sequence[str] | Mapping[str, str], processor: Any) -> None:
        """Say which names there are to give.

        Args:
            taxa: Names; or names with the texts that are embedded for them, in the form of the captions that the model
                was trained with, such as `{"Sciaridae": "Diptera Sciaridae not_classified not_classified"}`.
            processor: The `ClibdProcessor` of the model.

        Raises:
            ValueError: If the model has no tower for text, there are no names, a name is there twice, or a text is
                empty.
        """
        self.clibd._check("text")
        texts = dict(taxa) if isinstance(taxa, Mapping) else {name: name for name in taxa}
        if not texts or (empty := [name for name, text in texts.items() if not text.strip()]):
            raise ValueError(
                f"Expected names of taxa with texts; got {'none' if not texts else f'no text for {empty}'}."
            )
        if len(texts) < len(taxa):
            names = list(taxa)
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"Taxa must differ from each other; {repeated[:3]} are there more than once.")
        inputs = processor(text=list(texts.values()), return_tensors="pt", padding=True).to(self.device)
        parts = zip(*(inputs[name].split(_TAXA_AT_ONCE) for name in ("input_ids", "attention_mask")), strict=True)
        training = self.training
        self.eval()
        features = torch.cat([self.clibd.get_text_features(*part).pooler_output for part in parts])
        self.train(training)
        self.taxa_embeds = nn.functional.normalize(features.float(), dim=-1).to(features.dtype)
        self.config.taxa = list(texts)
        self.config.id2label = dict(enumerate(texts))
        self.config.label2id = {name: i for i, name in enumerate(texts)}

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        dna_input_ids: torch.Tensor | None = None,
        dna_attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutput:
        """Compare specimens with the taxa.

        Args:
            pixel_values: See `ClibdModel.forward`; this and the next two.
            dna_input_ids: With images, too, the mean of the two unit vectors is compared.
            dna_attention_mask: Of `dna_input_ids`.
            labels: Index of the taxon, (batch,); negative ones (no label) do not count.
            **kwargs: `return_dict`.

        Returns:
            `logits`, scaled cosines, (batch, taxa), and the mean cross-entropy as `loss` if `labels` were given.

        Raises:
            ValueError: If there are no taxa yet, or no specimens.
        """
        # Zeros: names came with the configuration, but no embeddings with the weights.
        if not self.taxa_embeds.any():
            raise ValueError("There are no embeddings of taxa to choose from: call `set_taxa` first.")
        outputs = self.clibd(pixel_values, dna_input_ids, dna_attention_mask, return_loss=False)
        embeds = [own for own in (outputs.image_embeds, outputs.dna_embeds) if own is not None]
        mean = nn.functional.normalize(torch.stack(embeds).mean(dim=0), dim=-1)
        logits = self.clibd.logit_scale() * mean @ self.taxa_embeds.to(mean).T
        loss = None
        if labels is not None:
            total = nn.functional.cross_entropy(logits, labels.clamp(min=-1), ignore_index=-1, reduction="sum")
            loss = total / (labels >= 0).sum().clamp(min=1)
        return ImageClassifierOutput(loss=loss, logits=logits)


def _features(outputs: Any, embedding: torch.Tensor) -> BaseModelOutputWithPooling:
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=embedding,
        hidden_states=outputs.hidden_states,
        attentions=outputs.attentions,
    )


def _padded(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, width: int, fill: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where padding counts, it is as much in every batch, so that an embedding does not depend on the others."""
    missing = max(width - input_ids.shape[1], 0)
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    return nn.functional.pad(input_ids, (0, missing), value=fill), nn.functional.pad(mask, (0, missing))


def _pooled(hidden: torch.Tensor, attention_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "mean" or attention_mask is None:
        return hidden.mean(dim=1)
    weights = attention_mask.to(hidden.dtype)
    return torch.einsum("btd,bt->bd", hidden, weights) / weights.sum(dim=1, keepdim=True).clamp(min=1)


def _distinct(
    input_ids: torch.Tensor, mask: torch.Tensor | None, there: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """The different texts of a batch, which of them are there, and which is whose."""
    width = input_ids.shape[1]
    columns = [input_ids, *([] if mask is None else [mask]), there[:, None].long()]
    different, places = torch.unique(torch.cat(columns, dim=1), dim=0, return_inverse=True)
    return different[:, :width], None if mask is None else different[:, width:-1], different[:, -1].bool(), places


ClibdModel.register_for_auto_class("AutoModel")
ClibdForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["ClibdForImageClassification", "ClibdModel", "ClibdOutput", "LogitScale"]
