"""Pretraining of BarcodeBERT: masked language modelling of barcodes, or the objective of BarcodeMAE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.collators import MaskedKmerCollator
from bioscan_hf.evaluation.encoders.base import check_barcodes
from bioscan_hf.hub.cards import chance_loss
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeMAE
from bioscan_hf.tokenization.kmer import KmerEncoder, tokenizer_for
from bioscan_hf.training.arguments import PretrainingArguments
from bioscan_hf.training.barcode_cards import barcode_card
from bioscan_hf.training.batches import Rows
from bioscan_hf.training.evaluating import shares, sums
from bioscan_hf.training.probes import VALIDATION_PROBES, load_probed, measure_encoder, probe_accuracies
from bioscan_hf.training.specimens import evaluation_specimens, training_specimens
from bioscan_hf.training.task import Task
from bioscan_hf.training.whitening import whiten_folder

# The paper pretrains on specimens without a species, and on those that no other split takes.
PRETRAINING_SPLITS = "pretrain+other_heldout"
VALIDATION_SPLITS = "val+val_unseen"
_COLUMNS = ["processid", "dna_barcode"]
_OBJECTIVES = {"masked_lm": BarcodeBertForMaskedLM, "mae": BarcodeMAE}


def pretraining_task(arguments: PretrainingArguments, accelerator: Accelerator) -> Task:
    """Make the model, and load the data.

    Raises:
        FileNotFoundError: If there are no such data.
        ValueError: If the data or the sizes are not what they should be.
    """
    config = arguments.config(decoder_num_hidden_layers=arguments.decoder_num_hidden_layers)
    # One process prepares a cache, the others open it.
    with accelerator.main_process_first():
        examples = training_specimens(arguments, _COLUMNS, PRETRAINING_SPLITS)
        validation = evaluation_specimens(arguments, _COLUMNS, VALIDATION_SPLITS)
        probed = load_probed(arguments, VALIDATION_PROBES) if arguments.eval_probe else None
    if isinstance(examples, Dataset):
        examples = distinct_barcodes(examples)
        check_barcodes(examples["processid"][:], examples["dna_barcode"][:], min_letters=config.kmer_size)
    collate = MaskedBarcodes(
        MaskedKmerCollator(
            KmerEncoder.from_config(config),
            arguments.mlm_probability,
            arguments.label_visible,
            arguments.span_length,
            arguments.random_offset,
        )
    )
    evaluate = None
    if validation is not None or probed is not None:
        evaluate = partial(_evaluate, accelerator, validation, probed, collate, arguments.batch_size)
    model = _OBJECTIVES[arguments.objective]._from_config(config, attn_implementation=arguments.attn_implementation)
    return Task(
        model=model,
        tokenizer=tokenizer_for(config),
        examples=examples,
        collate=collate,
        evaluate=evaluate,
        measure=partial(measure_encoder, arguments),
        finish=partial(whiten_folder, model_class=type(model), examples=examples, power=arguments.whitening)
        if arguments.whitening
        else None,
        chance=chance_loss(config.kmer_size),
        write_card=partial(barcode_card, arguments, arguments.objective),
        facts={
            "objective": "masked language modelling" if arguments.objective == "masked_lm" else "BarcodeMAE",
            "examples": len(examples) if isinstance(examples, Dataset) else None,
            "example_name": "distinct barcodes",
            "labels": (),
        },
    )


@dataclass(frozen=True)
class MaskedBarcodes:
    """Collates specimens for masked language modelling; N at the end of a barcode does not count.

    Attributes:
        collator: Masks the barcodes.
    """

    collator: MaskedKmerCollator

    def __call__(self, rows: Rows, seeds: Sequence[int]) -> dict[str, torch.Tensor]:
        """See `bioscan_hf.training.batches.Collate`."""
        for processid, barcode in zip(rows["processid"], rows["dna_barcode"], strict=True):
            if not barcode:
                raise ValueError(f"The specimen {processid!r} has no barcode; leave it out.")
        return self.collator([barcode.rstrip("N") for barcode in rows["dna_barcode"]], seeds)


def distinct_barcodes(dataset: Dataset) -> Dataset:
    """The first specimen of each distinct barcode, N at the end aside, in the order of the dataset.

    BarcodeBERT is pretrained on these (BarcodeBERT, branch BIOSCAN-5M, `data_split.py`); every specimen of a common
    species would otherwise repeat the same letters.
    """
    hashes = barcode_hashes(dataset.with_format("arrow")[:]["dna_barcode"], strip="trailing")
    _, first = np.unique(hashes, return_index=True)
    return dataset.select(np.sort(first))


def _evaluate(
    accelerator: Accelerator,
    validation: Dataset | None,
    probed: Dataset | None,
    collate: MaskedBarcodes,
    batch_size: int,
    model: nn.Module,
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if validation is not None:
        batches = shares(validation, collate, batch_size=batch_size, accelerator=accelerator)
        loss, count = sums(model, batches, _judge, accelerator)
        metrics["loss"] = loss / max(count, 1)
    if probed is not None:
        encoder: Any = accelerator.unwrap_model(model)
        metrics |= probe_accuracies(encoder, probed, VALIDATION_PROBES, batch_size)
    return metrics


def _judge(output: Any, inputs: dict[str, torch.Tensor]) -> list[float]:
    count = int((inputs["labels"] >= 0).sum())
    return [float(output.loss) * count, count]
