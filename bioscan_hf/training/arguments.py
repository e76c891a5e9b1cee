"""Arguments of training runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from huggingface_hub.errors import StrictDataclassError

from bioscan_hf.data.features import RANKS
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.training.settings import check_settings, setting

# Few weights, some of which start at 0, take a larger rate than a whole model; measured on the sample.
ADAPTER_LEARNING_RATE = 5e-3


@dataclass(frozen=True)
class TrainingArguments:
    """How to train. The defaults are those of BarcodeBERT's pretraining and fine-tuning, unless it is said.

    Sources: `paper_facts` of BIOSCAN-5M (Gharaee et al. 2024) and the code of BarcodeBERT, `pretraining.py`.

    Raises:
        ValueError: If a value makes no sense; the message names the field.
    """

    panel: ClassVar[str] = "Training"
    # The learning rate is meant for this many examples in a step (BarcodeBERT: 16 on each of 4 GPUs).
    reference_batch: ClassVar[int] = 64
    # Whether onecycle moves Adam's beta1, too.
    cycles_momentum: ClassVar[bool] = True

    max_steps: int | None = setting("Optimiser steps; wins over --num-train-epochs.", None, minimum=1)
    num_train_epochs: float = setting("Passes over the data.", 35.0, above=0)
    batch_size: int = setting("Examples per forward pass in each process.", 64, minimum=1)
    gradient_accumulation_steps: int = setting("Forward passes per optimiser step.", 1, minimum=1)
    # For a model of hidden size 768; smaller ones take larger rates.
    learning_rate: float = setting("Peak of the learning rate.", 1e-4, above=0)
    # The reference always scales.
    scale_learning_rate: bool = setting(
        "Multiply the rate by examples per step / those of the reference, 64 (500 in CLIBD).", False
    )
    lr_scheduler_type: Literal["onecycle", "cosine", "constant"] = setting(
        "How the rate goes on after the warm-up.", "onecycle"
    )
    warmup_ratio: float = setting("Share of the steps in which the rate rises.", 0.3, minimum=0, below=1)
    weight_decay: float = setting("Weight decay of AdamW.", 0.0, minimum=0)
    adam_beta2: float = setting("Decay of AdamW's mean of squared gradients.", 0.999, above=0, below=1)
    # The reference does not clip.
    max_grad_norm: float = setting("Gradients are scaled down to this norm.", 1.0, above=0)
    ema_decay: float | None = setting(
        "Also average the weights, with this decay per step, and evaluate and keep the average.",
        None,
        above=0,
        below=1,
    )
    attn_implementation: Literal["sdpa", "eager"] = setting(
        "Code of the attention: sdpa is fast on GPUs; eager may be faster on a CPU with bf16.", "sdpa"
    )
    mixed_precision: Literal["no", "bf16", "fp16"] | None = setting(
        "Arithmetic of the model; fp16 needs a GPU. By default what `accelerate launch` was told, else no.", None
    )
    seed: int = setting("Seed of weights, order, masking and dropout.", 0, minimum=0)
    deterministic: bool = setting("Refuse GPU operations whose result may vary from run to run.", False)
    num_workers: int = setting("Processes that prepare batches.", 0, minimum=0, advanced=True)
    logging_steps: int = setting("Log the mean loss every so many steps.", 10, minimum=1, advanced=True)
    eval_strategy: Literal["no", "steps", "epoch"] = setting("When to evaluate.", "epoch")
    eval_steps: int = setting("Evaluate every so many steps, with --eval-strategy steps.", 500, minimum=1)
    save_strategy: Literal["no", "steps", "epoch"] = setting("When to write a checkpoint.", "steps", advanced=True)
    save_steps: int = setting("Write a checkpoint every so many steps.", 500, minimum=1, advanced=True)
    save_total_limit: int | None = setting(
        "Keep this many checkpoints, and the best one; all if not given.", None, minimum=1, advanced=True
    )
    metric_for_best_model: str | None = setting(
        "End with the weights of the checkpoint with the best value of this metric, such as eval_loss.", None
    )
    greater_is_better: bool | None = setting("Whether more of it is better; by default unless it is a loss.", None)
    early_stopping_patience: int | None = setting(
        "Stop after this many evaluations without a better --metric-for-best-model.", None, minimum=1
    )
    report_to: Literal["none", "trackio", "tensorboard"] = setting("Tracker of losses.", "none", advanced=True)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.lr_scheduler_type == "onecycle" and self.warmup_ratio == 0:
            raise ValueError("`warmup_ratio` must be above 0 with 'onecycle'; use 'cosine' for no warm-up.")
        if self.metric_for_best_model is None and self.early_stopping_patience is not None:
            raise ValueError("`early_stopping_patience` needs `metric_for_best_model`, such as 'eval_loss'.")
        if self.metric_for_best_model is not None and self.eval_strategy == "no":
            raise ValueError("`metric_for_best_model` needs evaluations: `eval_strategy` must not be 'no'.")

    @property
    def more_is_better(self) -> bool:
        """Whether a larger value of `metric_for_best_model` is a better one."""
        if self.greater_is_better is not None:
            return self.greater_is_better
        return "loss" not in (self.metric_for_best_model or "")


@dataclass(frozen=True)
class DataArguments:
    """Which specimens to train on, and which to evaluate with."""

    panel: ClassVar[str] = "Data"

    data: str = setting(
        "FASTA, CSV, TSV or Parquet file, folder with the released archives, unpacked or converted, repository on the "
        "Hub, or `sample` for the embedded simulated specimens."
    )
    splits: Path | None = setting("Table of processid and split that replaces the column `split`.", None)
    train_split: str | None = setting("Split, or sum as train+val, to train on.", None)
    max_eval_samples: int | None = setting("Evaluate with this many specimens of it, drawn at random.", None, minimum=1)
    compare: str | None = setting(
        "Files results.json of other runs, with commas between, that stand in the card's table, too.",
        None,
        advanced=True,
    )
    streaming: bool = setting(
        "Read the data while training, from where they lie, without preparing a cache; repeats are not left out then.",
        False,
    )
    shuffle_buffer: int = setting("Streaming: examples among which the next one is drawn.", 10_000, minimum=1)


@dataclass(frozen=True)
class BarcodeDataArguments(DataArguments):
    """Likewise, of barcodes, whose encoders are probed by nearest neighbours."""

    eval_split: str | None = setting("Split, or sum, to evaluate with during training.", None)
    baselines: str = setting(
        "Encoders, with commas between, that the final 1-NN probes compare the model with.", "kmer:4", advanced=True
    )
    eval_probe: bool = setting(
        "Also evaluate 1-NN accuracy: species of val, and genus of val_unseen, with the keys in train.", False
    )
    whitening: float = setting(
        "At the end, make the variances of the embedding more alike: 0 not, 0.5 half, 1 fully; uses no labels.",
        0.0,
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True)
class OutputArguments:
    """Where the model goes."""

    panel: ClassVar[str] = "Output"

    output: Path = setting("Folder for the model, with checkpoints in checkpoint-N.", advanced=True)
    resume: bool = setting("Go on from the last checkpoint in --output.", False, advanced=True)
    push_to_hub: str | None = setting(
        "Repository on the Hub for the model; each checkpoint goes to a branch of its name.", None, advanced=True
    )
    private: bool = setting("Make a new repository private.", False, advanced=True)
    data_credit: str | None = setting(
        "Where the data come from, and under which licence; stands in the card.", None, advanced=True
    )


@dataclass(frozen=True)
class SizeArguments:
    """Sizes of a new model; by default those of the model "8-4-4" of the BIOSCAN-5M paper."""

    panel: ClassVar[str] = "Sizes of a new model"

    kmer_size: int = setting("Letters in a token.", 8, minimum=1, maximum=10)
    hidden_size: int = setting("Width of the model, and of the embeddings.", 768, minimum=1)
    num_hidden_layers: int = setting(
        "Layers of the encoder; with 0, an embedding is the mean of those of its k-mers.", 4, minimum=0
    )
    num_attention_heads: int = setting("Heads of each layer.", 4, minimum=1)
    intermediate_size: int = setting("Width of the feed-forward part of each layer.", 3072, minimum=1)
    reading_frames: int | None = setting(
        "Starts of a barcode over which its embedding is the mean; k makes it independent of the first letter. Stands "
        "in the model's configuration; by default as the given model has it, else 1.",
        None,
        minimum=1,
    )
    max_nucleotides: int = setting("Letters of a barcode that are read.", 660, minimum=1)
    dropout: float = setting("Chance of dropping an activation.", 0.1, minimum=0, below=1)

    def config(self, **fields: Any) -> BarcodeBertConfig:
        """Configuration of a model of these sizes.

        Args:
            **fields: Others of its fields.

        Raises:
            ValueError: If sizes do not fit together.
        """
        names = (
            *("kmer_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
            "max_nucleotides",
        )
        try:
            return BarcodeBertConfig(
                **{name: getattr(self, name) for name in names},
                max_position_embeddings=max(512, -(-self.max_nucleotides // self.kmer_size)),
                hidden_dropout_prob=self.dropout,
                attention_probs_dropout_prob=self.dropout,
                **{"reading_frames": self.reading_frames or 1, **fields},
            )
        except StrictDataclassError as error:
            raise ValueError(str(error.__cause__ or error)) from error


@dataclass(frozen=True)
class PretrainingArguments(TrainingArguments, BarcodeDataArguments, OutputArguments, SizeArguments):
    """How to pretrain."""

    panel: ClassVar[str] = "Model and objective"

    objective: Literal["masked_lm", "mae"] = setting(
        "Predict masked k-mers by the encoder itself, or, as BarcodeMAE, by a decoder on top of it.", "masked_lm"
    )
    decoder_num_hidden_layers: int = setting("Layers of the decoder of BarcodeMAE.", 2, minimum=1)
    mlm_probability: float = setting("Chance of a k-mer to be masked.", 0.5, above=0, below=1)
    span_length: int = setting("K-mers that are masked together; the paper masks each on its own.", 1, minimum=1)
    # The reference's loss is over all k-mers; over the masked ones only is BERT's, and faster.
    label_visible: bool = setting("Predict visible k-mers, too, as the reference does; not with mae.", False)
    random_offset: bool = setting("Start barcodes at a random letter, 0 to k - 1.", True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.whitening and self.streaming:
            raise ValueError("`whitening` needs the specimens after the training: not with `streaming`.")
        if self.objective == "mae" and self.label_visible:
            raise ValueError("`label_visible` is for 'masked_lm'; BarcodeMAE predicts masked k-mers only.")


@dataclass(frozen=True)
class FinetuningArguments(TrainingArguments, BarcodeDataArguments, OutputArguments, SizeArguments):
    """How to fine-tune. The defaults are those of BarcodeBERT's `finetuning.py`, unless it is said."""

    panel: ClassVar[str] = "Model and objective"

    # None until `__post_init__`, which puts in what the method takes.
    learning_rate: float = setting(
        f"Peak of the learning rate; by default 1e-4, and {ADAPTER_LEARNING_RATE} with --method lora.", None, above=0
    )
    model: str | None = setting("Folder or repository of a BarcodeBERT; by default a new one.", None)
    model_revision: str | None = setting("Branch, tag or commit of the model's repository.", None)
    rank: str = setting("Rank to name, or several, as family,genus,species, that then never contradict.", "species")
    method: Literal["full", "linear", "lora"] = setting(
        "Train everything, the classifier alone (linear probe), or adapters and the classifier.", "full"
    )
    lora_r: int = setting("Rank of the adapters (CLIBD's).", 4, minimum=1)
    lora_alpha: float | None = setting("Adapters are scaled by alpha / r.", None, above=0)
    lora_dropout: float = setting("Chance of dropping an input of an adapter.", 0.0, minimum=0, below=1)
    quantization: Literal["none", "nf4"] = setting(
        "With lora, hold the frozen weights in 4 bits while training (QLoRA, by bitsandbytes).", "none"
    )
    merge_adapter: bool = setting("Write a whole model, with the adapters merged into it.", False)
    # The reference fine-tunes the mean over all positions, padding included, whatever it embeds with.
    pooling: Literal["masked_mean", "mean", "cls"] | None = setting(
        "What the classifier reads; by default what the model's embedding is.", None
    )
    random_offset: bool = setting("Start barcodes at a random letter, 0 to k - 1.", True)
    # Not in the reference.
    mask_probability: float = setting("Chance of a k-mer to be masked in training.", 0.0, minimum=0, below=1)
    max_crop: int = setting("Letters that a barcode loses at most at each end, in half of the cases.", 0, minimum=0)
    embedding_norm: Literal["none", "batch"] | None = setting(
        "batch: standardise what the classifier reads, and the embedding; by default as the model has it.", None
    )

    def __post_init__(self) -> None:
        if vars(self)["learning_rate"] is None:
            rate = ADAPTER_LEARNING_RATE if self.method == "lora" else TrainingArguments.learning_rate
            object.__setattr__(self, "learning_rate", rate)  # the instance is frozen
        super().__post_init__()
        if not set(self.ranks) <= set(RANKS) or len(set(self.ranks)) < len(self.ranks):
            raise ValueError(f"`rank` must be some of {list(RANKS)}, with commas between; got {self.rank!r}.")
        if self.whitening and self.method == "lora" and not self.merge_adapter:
            raise ValueError("`whitening` of a model with adapters needs `merge_adapter`.")
        if self.model is None and self.method != "full":
            raise ValueError(f"The method {self.method!r} needs a `model`: a new one has nothing to keep.")
        if self.quantization != "none" and self.method != "lora":
            raise ValueError("`quantization` is for the method 'lora': only frozen weights can be quantised.")
        if self.merge_adapter and self.method != "lora":
            raise ValueError("`merge_adapter` is for the method 'lora'.")
        if self.streaming:
            raise ValueError("`streaming` is for pretraining: the taxa must be known before the first step.")

    @property
    def ranks(self) -> list[str]:
        """Ranks to name, from broad to fine."""
        given = [rank.strip() for rank in self.rank.split(",")]
        return sorted(given, key=lambda rank: RANKS.index(rank) if rank in RANKS else -1)
