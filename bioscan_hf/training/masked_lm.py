"""Pretraining of BarcodeBERT by masked language modelling."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import set_seed
from datasets import Dataset
from torch.utils.data import DataLoader

from bioscan_hf.data.collators import MaskedKmerCollator
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.training.arguments import TrainingArguments
from bioscan_hf.training.loop import Report, train


def distinct_barcodes(dataset: Dataset) -> list[str]:
    """The barcodes of `dataset` without N at the end, each once, in order of first appearance.

    BarcodeBERT is pretrained on these (BarcodeBERT, branch BIOSCAN-5M, `data_split.py`); every specimen of a common
    species would otherwise repeat the same letters.
    """
    return list(dict.fromkeys(barcode.rstrip("N") for barcode in dataset["dna_barcode"] if barcode.rstrip("N")))


def pretrain(
    config: BarcodeBertConfig,
    dataset: Dataset,
    arguments: TrainingArguments,
    *,
    report: Report | None = None,
) -> tuple[BarcodeBertForMaskedLM, list[float]]:
    """Pretrain a new BarcodeBERT on the distinct barcodes of a dataset.

    Args:
        config: Sizes of the model.
        dataset: Needs the column `dna_barcode`; labels are not used.
        arguments: Length, optimiser and precision.
        report: Called after each step.

    Returns:
        The model and the loss of each step, in nats.

    Raises:
        ValueError: If there are fewer distinct barcodes than one batch.
    """
    set_seed(arguments.seed)
    model = BarcodeBertForMaskedLM(config)
    barcodes = distinct_barcodes(dataset)
    if len(barcodes) < arguments.batch_size:
        raise ValueError(
            f"Pretraining needs at least one batch of {arguments.batch_size} distinct barcodes; got {len(barcodes)}. "
            "Use a smaller `batch_size` or more specimens."
        )
    batches: DataLoader[Any] = DataLoader(
        barcodes,  # type: ignore[arg-type]  # a list is a map-style dataset
        batch_size=arguments.batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=MaskedKmerCollator(KmerEncoder(config.kmer_size, max_nucleotides=config.max_nucleotides)),
        generator=torch.Generator().manual_seed(arguments.seed),
    )
    return model, train(model, batches, arguments, report=report)
