"""Configuration of CLIBD."""

import math
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, BertConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

MODALITIES = ("image", "dna", "text")
"""The modalities, in the order of all that lists them."""


@strict
class ClibdDnaConfig(BertConfig):
    """Configuration of the tower for DNA: a BERT over the k-mers of a barcode.

    The defaults are those of CLIBD's published checkpoints: BERT-base over 5-mers (Gong et al., ICLR 2025).

    Attributes:
        kmer_size: Letters in a token (k).
        max_nucleotides: Barcodes are cut to this many letters before they are tokenized.
        vocabulary: Which tokens have which ids, as in `BarcodeBertConfig`.
        cls_token_id: Id of the token set before each barcode, None for no such token.
        unknown_token_id: Id of padding and of k-mers with letters that are not in the vocabulary.
        attend_to_padding: Whether padding, up to `max_nucleotides`, is read as if it were k-mers.
        reading_frames: Starts of a barcode over which bioscan_hf averages embeddings, as in `BarcodeBertConfig`.
    """

    model_type = "clibd_dna"

    vocab_size: int = 1027
    kmer_size: int = 5
    max_nucleotides: int = 660
    vocabulary: str = "acgt_2023"
    cls_token_id: int | None = 0
    unknown_token_id: int = 2
    attend_to_padding: bool = True
    reading_frames: int = 1
    tie_word_embeddings: bool = False

    @property
    def max_tokens(self) -> int:
        """Tokens of a barcode of `max_nucleotides` letters."""
        return self.max_nucleotides // self.kmer_size + (self.cls_token_id is not None)


@strict
class ClibdConfig(PreTrainedConfig):
    """Configuration of a CLIBD: towers for images, DNA and taxonomy text with one embedding space.

    The defaults are the model of the BIOSCAN-5M paper: ViT-B/16, BERT-base over 5-mers, BERT-small, 768 dimensions
    (Gong et al., ICLR 2025, arXiv 2405.17537). Poolings and head for DNA are by default those that its authors suggest
    for new training; published checkpoints need others, which `bioscan convert clibd` sets.

    Attributes:
        modalities: Which towers there are; two or three of `image`, `dna` and `text`.
        vision_config: Of the tower for images, of any vision transformer that transformers knows; None without.
        dna_config: Of the tower for DNA (`ClibdDnaConfig`); None without.
        text_config: Of the tower for text, of any text encoder that transformers knows; None without.
        projection_dim: Width of the embedding space.
        vision_pooling: What is projected: the first token (`cls`), the mean of the others (`mean`), or what the tower
            itself pools (`pooler`).
        dna_pooling: What is projected: the mean over the barcode's k-mers (`masked_mean`), over all positions up to
            `max_nucleotides` (`mean`), or the first token (`cls`). `head_mean` and `head_softmax_mean` project each
            token first; the latter takes the softmax over the dimensions before the mean, as all published checkpoints
            do, which their authors call a mistake (issue 33 of bioscan-ml/clibd).
        dna_head: From the pooled states to the embedding: a linear layer (`linear`), BERT's transformation of its
            pretraining head and a linear layer (`mlm`, the published checkpoints), or nothing (`none`).
        text_pooling: What is projected: the mean over the text's tokens (`masked_mean`), over all positions, padding up
            to `text_tokens` included (`mean`, the published checkpoints), or the first token (`cls`).
        text_tokens: Tokens that shorter texts are filled up to where padding counts; CLIBD's number.
        text_form: How the taxonomy of a specimen is written (`bioscan_hf.tokenization.taxonomy`): names alone, with
            `not_classified` in the gaps, as in the published checkpoints (`clibd`), or with the ranks (`labelled`).
        logit_scale_init_value: Logarithm of the factor of cosines at first, log(1 / 0.07).
        logit_scale_max: Bound of the factor, OpenAI's 100; None for none.
        logit_bias_init_value: What is added to scaled cosines at first, for the loss `sigmoid` (SigLIP's -10).
        loss_type: `info_nce` (CLIP's) or `sigmoid` (SigLIP's, Zhai et al. 2023, arXiv 2303.15343).
        loss_targets: Which specimens of a batch are each other's positives; see `targets_clibd.pair_targets`.
        loss_pairs: Pairs of modalities whose losses are averaged, such as `["image-dna"]`; all that there are if not
            given. ImageBind's way is to name those with one modality.
        hierarchy_weight: Share of the targets that goes to relatives, with `loss_targets="hierarchical"`.
        taxa: Names that `ClibdForImageClassification` gives.
    """

    model_type = "clibd"
    # They are as wide as a batch, so that those of several batches do not fit together.
    keys_to_ignore_at_inference = ["logits_per_image", "logits_per_text"]  # noqa: RUF012 (the base class has it so)
    sub_configs_defaults = {  # noqa: RUF012 (the base class has it so)
        "vision_config": SubConfigSpec(AutoConfig, "vit", optional=True),
        "dna_config": SubConfigSpec(ClibdDnaConfig, optional=True),
        "text_config": SubConfigSpec(AutoConfig, "bert", optional=True),
    }

    modalities: list[str] | tuple[str, ...] = MODALITIES
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    dna_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    projection_dim: int = 768
    vision_pooling: Literal["cls", "mean", "pooler"] = "cls"
    dna_pooling: Literal["masked_mean", "mean", "cls", "head_mean", "head_softmax_mean"] = "masked_mean"
    dna_head: Literal["linear", "mlm", "none"] = "linear"
    text_pooling: Literal["masked_mean", "mean", "cls"] = "masked_mean"
    text_tokens: int = 20
    text_form: Literal["clibd", "labelled"] = "clibd"
    logit_scale_init_value: float = math.log(1 / 0.07)
    logit_scale_max: float | int | None = 100.0
    logit_bias_init_value: float | int = -10.0
    loss_type: Literal["info_nce", "sigmoid"] = "info_nce"
    loss_targets: Literal["identity", "mask", "mean", "sum", "hierarchical"] = "identity"
    loss_pairs: list[str] | None = None
    hierarchy_weight: float | int = 0.1
    taxa: list[str] | None = None
    # One folder serves every class, whichever it was saved from.
    auto_map: dict[str, str] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the configurations of the towers, and name the classes that load this model without the package."""
        # Others stay, to be refused.
        self.modalities = sorted(self.modalities, key=[*MODALITIES, *self.modalities].index)
        if "image" in self.modalities and self.vision_config is None:
            # As timm's ViT; the default of transformers is another.
            self.vision_config = {"model_type": "vit", "layer_norm_eps": 1e-6}
        if "dna" in self.modalities and self.dna_config is None:
            self.dna_config = {}
        if "text" in self.modalities and self.text_config is None:
            # prajjwal1/bert-small
            sizes = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048}
            self.text_config = {"model_type": "bert", **sizes}
        if self.taxa is not None:
            self.id2label = dict(enumerate(self.taxa))
            self.label2id = {name: i for i, name in enumerate(self.taxa)}
        self.auto_map = {
            "AutoConfig": "configuration_clibd.ClibdConfig",
            "AutoModel": "modeling_clibd.ClibdModel",
            "AutoModelForImageClassification": "modeling_clibd.ClibdForImageClassification",
            "AutoModelForZeroShotImageClassification": "modeling_clibd.ClibdModel",
            "AutoProcessor": "processing_clibd.ClibdProcessor",
        }
        super().__post_init__(**kwargs)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of modalities that the loss is about."""
        possible = [(a, b) for i, a in enumerate(self.modalities) for b in self.modalities[i + 1 :]]
        wanted = None if self.loss_pairs is None else {frozenset(pair.split("-")) for pair in self.loss_pairs}
        return [pair for pair in possible if wanted is None or frozenset(pair) in wanted]

    def validate_architecture(self) -> None:
        """Refuse what does not fit together."""
        if len(set(self.modalities)) < max(len(self.modalities), 2) or not set(self.modalities) <= set(MODALITIES):
            raise ValueError(f"`modalities` must be two or three of {list(MODALITIES)}; got {list(self.modalities)}.")
        for pair in self.loss_pairs or ():
            if len(set(pair.split("-"))) != 2 or not set(pair.split("-")) <= set(self.modalities):
                raise ValueError(
                    f"`loss_pairs` must name pairs of {list(self.modalities)}, as 'image-dna'; got {pair!r}."
                )
        if self.loss_pairs is not None and not self.loss_pairs:
            raise ValueError("`loss_pairs` must name at least one pair, such as 'image-dna', or not be given.")
        dna: Any = self.dna_config
        if dna is not None and self.dna_head == "none" and dna.hidden_size != self.projection_dim:
            raise ValueError(
                f"Without a head (`dna_head='none'`) the tower for DNA must be as wide as the embedding space, "
                f"{self.projection_dim}; its `hidden_size` is {dna.hidden_size}."
            )
        if dna is not None and self.dna_pooling.startswith("head_") and self.dna_head == "none":
            raise ValueError(f"`dna_pooling='{self.dna_pooling}'` needs a `dna_head`: 'linear' or 'mlm'.")
        if dna is not None and self.dna_pooling == "cls" and dna.cls_token_id is None:
            raise ValueError("`dna_pooling='cls'` needs a `cls_token_id` in `dna_config`.")
        if not 0 <= self.hierarchy_weight < 1:
            raise ValueError(f"`hierarchy_weight` must be at least 0 and below 1; got {self.hierarchy_weight}.")
        if self.taxa is not None and len(set(self.taxa)) < len(self.taxa):
            repeated = sorted({name for name in self.taxa if self.taxa.count(name) > 1})
            raise ValueError(f"`taxa` must differ from each other; {repeated[:3]} are there more than once.")


ClibdConfig.register_for_auto_class()

__all__ = ["MODALITIES", "ClibdConfig", "ClibdDnaConfig"]
