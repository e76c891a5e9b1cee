"""Arguments of the alignment of images, barcodes and texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bioscan_hf.models.clibd.configuration_clibd import MODALITIES
from bioscan_hf.models.pretrained import DEFAULT_ENCODER
from bioscan_hf.training.arguments import DataArguments, OutputArguments, TrainingArguments
from bioscan_hf.training.settings import setting

_TOWERS = {
    "image": "Folder or repository of a vision model, or new:NAME for a new ViT (NAME: tiny, small, base).",
    "dna": f"Folder or repository of a BarcodeBERT, `{DEFAULT_ENCODER}`, or new:NAME for a new one.",
    "text": "Folder or repository of a text encoder, or new:NAME for a new BERT with a tokenizer made of the captions.",
}


@dataclass(frozen=True)
class AlignmentArguments(TrainingArguments, DataArguments, OutputArguments):
    """How to align. The defaults are CLIBD's for BIOSCAN-5M (Gong et al., ICLR 2025), unless it is said.

    Source: bioscan-ml/clibd 7d73f80, `final_experiments/image_dna_text_seed_42`.
    """

    panel: ClassVar[str] = "Model and objective"
    # CLIBD scales its rates by the specimens in a step over 500.
    reference_batch: ClassVar[int] = 500
    cycles_momentum: ClassVar[bool] = False

    num_train_epochs: float = setting("Passes over the data.", 20.0, above=0)
    batch_size: int = setting(
        "Specimens that are compared with each other, in each process; over all processes together they are compared, "
        "too. --gradient-accumulation-steps does not make them more; --chunk-size saves memory instead.",
        500,
        minimum=2,
    )
    learning_rate: float = setting("Peak of the learning rate.", 5e-5, above=0)
    scale_learning_rate: bool = setting("Multiply the rate by specimens per step / 500.", True)
    weight_decay: float = setting("Weight decay of AdamW; of matrices only.", 0.01, minimum=0)
    seed: int = setting("Seed of weights, order, augmentation and dropout.", 42, minimum=0)

    model: str | None = setting("Folder or repository of a CLIBD to go on with, instead of towers.", None)
    image_model: str = setting(_TOWERS["image"], "google/vit-base-patch16-224")
    dna_model: str = setting(_TOWERS["dna"], DEFAULT_ENCODER)
    text_model: str = setting(_TOWERS["text"], "prajjwal1/bert-small")
    modalities: str = setting("Two or three of image, dna and text.", "image,dna,text")
    projection_dim: int = setting("Width of the embedding space; a --model has its own.", 768, minimum=1)
    # Adapters take a larger rate: 1e-3 in the reference (bioscan-ml/clibd, `lora_*` configurations).
    method: Literal["full", "lora"] = setting(
        "Train everything, or adapters on query and value, the projections and the temperature.", "full"
    )
    lora_r: int = setting("Rank of the adapters.", 4, minimum=1)
    lora_alpha: float | None = setting("Adapters are scaled by alpha / r; by default by 1.", None, above=0)
    lora_dropout: float = setting("Chance of dropping an input of an adapter.", 0.0, minimum=0, below=1)
    freeze: str | None = setting("Towers that are not trained, with commas between; their projections are.", None)
    image_learning_rate: float | None = setting("Peak of the rate in the tower for images, if another.", None, above=0)
    dna_learning_rate: float | None = setting("Likewise for DNA.", None, above=0)
    text_learning_rate: float | None = setting("Likewise for text.", None, above=0)
    loss_type: Literal["info_nce", "sigmoid"] = setting("CLIP's loss, or SigLIP's.", "info_nce")
    loss_targets: Literal["identity", "mask", "mean", "sum", "hierarchical"] = setting(
        "Specimens of one species, barcode or caption: others (identity, as the reference), not compared (mask), equal "
        "partners (mean; sum as the reference's option), or partners that share with relatives (hierarchical).",
        "identity",
    )
    loss_pairs: str | None = setting("Pairs that are compared, such as image-dna,dna-text; by default all.", None)
    hierarchy_weight: float = setting("Share of the relatives, with hierarchical.", 0.1, minimum=0, below=1)
    temperature: float = setting("Cosines are divided by it, at first; a --model has its own.", 0.07, above=0)
    learn_temperature: bool = setting("Train the temperature, too, and the bias of the loss sigmoid.", True)
    image_size: int | None = setting(
        "Height and width of images in pixels; by default what the tower or the --model takes. The shorter side is "
        "scaled to 8/7 of it, and a part is cropped.",
        None,
        minimum=8,
    )
    normalise_images: bool = setting(
        "Normalise images as the tower was trained; the reference did not. A --model goes on as it was trained.", True
    )
    augment: bool = setting("Crop, flip and rotate images at random in training.", True)
    min_crop: float = setting("Smallest part of an image that is cropped.", 0.08, above=0, maximum=1)
    rotation: float = setting("Largest angle of rotation, degrees.", 45.0, minimum=0, maximum=180)
    jitter: float = setting("Strength of random changes of colour.", 0.0, minimum=0, maximum=0.5)
    random_offset: bool = setting("Start barcodes at a random letter, 0 to k - 1; the reference did not.", False)
    text_form: Literal["clibd", "labelled"] | None = setting(
        "How the taxonomy is written: names (clibd), or ranks and names; by default as the --model has it, else clibd.",
        None,
    )
    max_text_tokens: int = setting("Texts are cut to so many tokens.", 20, minimum=2)
    caption_dropout: float = setting("Chance that a text ends at a rank drawn at random.", 0.0, minimum=0, maximum=1)
    require: str | None = setting("Modalities that a specimen must have; by default any two.", None)
    eval_pairs: str = setting("What finds what in the evaluations during training.", "image-dna,image-image,dna-dna")
    max_eval_samples: int | None = setting("Evaluate with so many queries, drawn at random.", None, minimum=1)
    max_test_samples: int | None = setting(
        "Specimens of each split for the final benchmark, drawn at random; all if not given.", None, minimum=1
    )
    max_eval_keys: int | None = setting("Evaluate with so many known specimens, drawn at random.", 20_000, minimum=1)
    chunk_size: int | None = setting(
        "Specimens that go through a tower at once: less memory, the same gradient, the towers computed twice.",
        None,
        minimum=1,
        advanced=True,
    )
    loss_tile: int | None = setting(
        "Rows of similarities that are held at once, likewise.", None, minimum=1, advanced=True
    )
    threads: int = setting("Threads that decode images, in each process or worker.", 2, minimum=0, advanced=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("modalities", "freeze", "require"):
            given = _listed(getattr(self, name))
            if not set(given) <= set(MODALITIES) or len(set(given)) < len(given):
                raise ValueError(f"`{name}` must be some of {list(MODALITIES)}; got {getattr(self, name)!r}.")
            if not set(given) <= set(self.modality_names):
                raise ValueError(f"`{name}` must be among the modalities {self.modality_names}; got {given}.")
        if len(self.modality_names) < 2:
            raise ValueError(f"`modalities` must be two or three of {list(MODALITIES)}; got {self.modalities!r}.")
        self._check_pairs()
        if set(self.frozen_names) == set(self.modality_names) and self.method == "lora":
            raise ValueError("With all towers frozen there is nothing for adapters; leave `method` out.")
        if self.min_crop != 0.08 and not self.augment:
            raise ValueError("`min_crop` is for `augment`, which is off.")

    def _check_pairs(self) -> None:
        """Each modality must be compared with another one: its tower would learn nothing."""
        names, pairs = self.modality_names, self.pair_names
        if pairs is None:
            return
        for pair in pairs:
            if len(set(pair.split("-"))) != 2 or not set(pair.split("-")) <= set(names):
                raise ValueError(f"`loss_pairs` must name pairs of {names}, as image-dna; got {pair!r}.")
        alone = set(names).difference(*(pair.split("-") for pair in pairs))
        if alone:
            raise ValueError(
                f"`loss_pairs` compares {' and '.join(sorted(alone))} with nothing; name a pair, or leave it out of "
                f"`modalities`. Got {self.loss_pairs!r}."
            )

    @property
    def modality_names(self) -> list[str]:
        """Modalities, in their order."""
        return [name for name in MODALITIES if name in _listed(self.modalities)]

    @property
    def frozen_names(self) -> list[str]:
        """Towers that are not trained."""
        return _listed(self.freeze)

    @property
    def required_names(self) -> list[str]:
        """Modalities that each specimen has; none if any two will do."""
        return _listed(self.require)

    @property
    def pair_names(self) -> list[str] | None:
        """Pairs that are compared; None for all."""
        return None if self.loss_pairs is None else _listed(self.loss_pairs)


def _listed(words: str | None) -> list[str]:
    return [word.strip() for word in (words or "").split(",") if word.strip()]
