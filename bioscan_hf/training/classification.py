"""Fine-tuning of BarcodeBERT as a classifier of one rank, or of several that agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import PreTrainedModel

from bioscan_hf.data.collators import BarcodeAugmentation, LabelledKmerCollator
from bioscan_hf.evaluation.encoders.base import check_barcodes
from bioscan_hf.hub.eval_results import is_hub_id
from bioscan_hf.models.barcodebert.modeling_barcodebert import (
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
)
from bioscan_hf.models.bounded import bounded, most_numbers
from bioscan_hf.models.pretrained import find_packaged
from bioscan_hf.tokenization.kmer import KmerEncoder, tokenizer_for
from bioscan_hf.training.arguments import FinetuningArguments
from bioscan_hf.training.barcode_cards import barcode_card
from bioscan_hf.training.batches import Rows
from bioscan_hf.training.evaluating import shares, sums
from bioscan_hf.training.lora import add_lora, four_bits, merge_adapter, quiet_loading
from bioscan_hf.training.predictions import measure_classifier, rank_scores
from bioscan_hf.training.probes import VALIDATION_PROBES, load_probed, probe_accuracies
from bioscan_hf.training.specimens import evaluation_specimens, training_specimens
from bioscan_hf.training.targets import LABELS, UNLABELLED, Targets
from bioscan_hf.training.task import Task
from bioscan_hf.training.whitening import whiten_folder

METHODS = {"full": "full fine-tuning", "linear": "linear probe", "lora": "LoRA"}


def finetuning_task(arguments: FinetuningArguments, accelerator: Accelerator) -> Task:
    """Make the model, and load the data.

    Raises:
        FileNotFoundError: If there are no such data or no such model.
        ValueError: If no specimen has a label, all have the same one, or something else is not what it should be.
    """
    columns = ["processid", "dna_barcode", *arguments.ranks]
    with accelerator.main_process_first():
        loaded = training_specimens(arguments, columns, "train")
        validation = evaluation_specimens(arguments, columns, "val")
        probed = load_probed(arguments, VALIDATION_PROBES) if arguments.eval_probe else None
    assert isinstance(loaded, Dataset)
    targets = Targets.of(loaded, arguments.ranks)
    examples = targets.label(loaded, only_labelled=True)
    model, learns_norm = _load(arguments, targets)
    config = model.config
    check_barcodes(examples["processid"][:], examples["dna_barcode"][:], min_letters=config.kmer_size)
    encoder = KmerEncoder.from_config(config)
    plain = _Collate(LabelledKmerCollator(BarcodeAugmentation(encoder, random_offset=False)))
    augmented = BarcodeAugmentation(
        encoder, arguments.random_offset, arguments.mask_probability, max_crop=arguments.max_crop
    )
    how = METHODS[arguments.method] if arguments.model is not None else "from scratch"
    labelled = None if validation is None else targets.label(validation, only_labelled=True, known=False)
    evaluate = None
    if labelled or probed is not None:
        evaluate = partial(_evaluate, accelerator, labelled or None, probed, plain, arguments)
    trained, frozen = _freeze(model, arguments, learns_norm=learns_norm)
    adapter = arguments.method == "lora" and not arguments.merge_adapter
    return Task(
        model=trained,
        tokenizer=tokenizer_for(config),
        examples=examples,
        collate=_Collate(LabelledKmerCollator(augmented)),
        evaluate=evaluate,
        measure=partial(measure_classifier, arguments, targets, how),
        frozen=frozen,
        finish=partial(_finish, arguments, type(model), examples),
        write_card=partial(barcode_card, arguments, "adapter" if adapter else "classifier"),
        adapter=adapter,
        facts={
            "objective": f"classification of {', '.join(arguments.ranks)} ({how})",
            "examples": len(examples),
            "example_name": "specimens",
            "labels": arguments.ranks,
            "base_model": None if Path(find_packaged(arguments.model or ".")).exists() else arguments.model,
        },
    )


@dataclass(frozen=True)
class _Collate:
    collator: LabelledKmerCollator

    def __call__(self, rows: Rows, seeds: Sequence[int]) -> dict[str, torch.Tensor]:
        return self.collator(rows["dna_barcode"], rows[LABELS], seeds)


def _finish(
    arguments: FinetuningArguments, model_class: type[PreTrainedModel], examples: Dataset, folder: Path
) -> None:
    if arguments.merge_adapter:
        merge_adapter(folder)
    if arguments.whitening:
        whiten_folder(folder, model_class, examples, arguments.whitening)


def _freeze(
    model: PreTrainedModel, arguments: FinetuningArguments, *, learns_norm: bool
) -> tuple[nn.Module, list[nn.Module]]:
    """What is trained, and the parts of it that compute as in evaluation."""
    if arguments.method == "full":
        return model, []
    encoder: Any = model.base_model
    norm = [] if encoder.config.embedding_norm == "none" or learns_norm else [encoder.embedding_norm]
    if arguments.method == "lora":
        if learns_norm:
            raise ValueError(
                "`embedding_norm='batch'` needs the method 'full' or 'linear': an adapter does not hold it."
            )
        return add_lora(model, r=arguments.lora_r, alpha=arguments.lora_alpha, dropout=arguments.lora_dropout), norm
    encoder.requires_grad_(False)
    return model, [encoder.embeddings, encoder.encoder, *norm]


def _load(arguments: FinetuningArguments, targets: Targets) -> tuple[PreTrainedModel, bool]:
    """The encoder with a new classifier, and whether the statistics of its embedding are new, too."""
    several = len(targets.ranks) > 1
    cls = BarcodeBertForTaxonomicClassification if several else BarcodeBertForSequenceClassification
    fields: dict[str, Any] = targets.as_config()
    fields |= {
        name: value
        for name in ("pooling", "embedding_norm", "reading_frames")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.model is None:
        new_one: PreTrainedModel = cls._from_config(
            arguments.config(**fields), attn_implementation=arguments.attn_implementation
        )
        return new_one, True
    place = find_packaged(arguments.model)
    if not Path(place).exists() and not is_hub_id(place):
        raise FileNotFoundError(
            f"No such folder: '{arguments.model}'; expected that of a BarcodeBERT, or a repository on the Hub."
        )
    try:
        with quiet_loading(), bounded(most_numbers()):
            found: Any = cls.from_pretrained(
                place,
                revision=arguments.model_revision or "main",
                output_loading_info=True,
                attn_implementation=arguments.attn_implementation,
                ignore_mismatched_sizes=True,  # a classifier of other taxa
                quantization_config=four_bits() if arguments.quantization == "nf4" else None,
                **fields,
            )
    except StrictDataclassError as error:
        raise ValueError(f"'{arguments.model}' is no BarcodeBERT: {error.__cause__ or error}") from error
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(f"The model '{arguments.model}' cannot be loaded ({reason}).") from error
    model: PreTrainedModel
    model, report = found
    new = ("score.", "bert.embedding_norm.")
    # Both are filled at random.
    named = [*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])]
    lacking = sorted(name for name in named if not name.startswith(new))
    if lacking or model.config.model_type != "barcodebert":
        raise ValueError(f"'{arguments.model}' is no BarcodeBERT: it lacks {lacking[:3]} ... ({len(lacking)} tensors).")
    return model, "bert.embedding_norm.running_mean" in report["missing_keys"]


def _evaluate(
    accelerator: Accelerator,
    specimens: Dataset | None,
    probed: Dataset | None,
    collate: _Collate,
    arguments: FinetuningArguments,
    model: nn.Module,
) -> dict[str, float]:
    """Loss, and per rank the accuracy over the specimens that have a label; a taxon that is not known is an error."""
    metrics: dict[str, float] = {}
    if probed is not None:
        bare: Any = accelerator.unwrap_model(model)
        metrics |= probe_accuracies(bare, probed, VALIDATION_PROBES, arguments.batch_size)
    if specimens is None:
        return metrics
    batches = shares(specimens, collate, batch_size=arguments.batch_size, accelerator=accelerator)
    loss, count, *rest = sums(model, batches, _judge, accelerator)
    metrics["loss"] = loss / max(count, 1)
    for rank, right, labelled in zip(arguments.ranks, rest[::2], rest[1::2], strict=True):
        metrics[f"accuracy_{rank}"] = right / max(labelled, 1)
    return metrics


def _judge(output: Any, inputs: dict[str, torch.Tensor]) -> list[float]:
    labels = inputs["labels"]
    count = int((labels >= 0).sum())
    numbers = [float(output.loss) * count, count]
    for scores, own in zip(rank_scores(output), labels.reshape(len(labels), -1).unbind(1), strict=True):
        numbers += [int((scores.argmax(dim=-1) == own).sum()), int((own != UNLABELLED).sum())]
    return numbers
