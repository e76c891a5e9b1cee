"""What a classifier says of the test splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from bioscan_hf.data.anywhere import describe_anywhere, has_splits, load_anywhere
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.base import by_length
from bioscan_hf.evaluation.metrics.accuracy import Accuracy
from bioscan_hf.evaluation.results import Result
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.training.arguments import BarcodeDataArguments
from bioscan_hf.training.lora import is_adapter, load_classifier
from bioscan_hf.training.probes import measure_encoder
from bioscan_hf.training.targets import LABELS, UNKNOWN, Targets

# Species of the first are seen in training; of the second only their genera.
TEST_SPLITS = {"test": "seen species", "test_unseen": "unseen species"}
_BATCH_SIZE = 64


def rank_scores(output: Any) -> tuple[torch.Tensor, ...]:
    """Scores of the taxa of each rank, (N, taxa), from the output of either kind of classifier."""
    several: tuple[torch.Tensor, ...] | None = getattr(output, "log_probabilities", None)
    return (output.logits,) if several is None else several


@torch.inference_mode()
def predict(model: Any, barcodes: list[str], *, batch_size: int = _BATCH_SIZE) -> NDArray[np.int64]:
    """The most probable taxon of each barcode at each rank.

    Args:
        model: A BarcodeBERT classifier.
        barcodes: N barcodes.
        batch_size: Barcodes in a forward pass.

    Returns:
        Indices of taxa, (N, ranks).
    """
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    encoder = KmerEncoder.from_config(model.config)
    found: dict[int, list[int]] = {}
    for rows in by_length(barcodes, batch_size):
        ids, mask = (torch.from_numpy(array).to(model.device) for array in encoder([barcodes[row] for row in rows]))
        best = torch.stack([s.argmax(dim=-1) for s in rank_scores(model(input_ids=ids, attention_mask=mask))], dim=1)
        found.update(zip(rows.tolist(), best.tolist(), strict=True))
    return np.array([found[row] for row in range(len(barcodes))])


def measure_classifier(
    arguments: BarcodeDataArguments, targets: Targets, method: str, folder: Path, command: str
) -> list[Result]:
    """Accuracy of the classifier in a folder on the test splits, and of its embeddings (see `measure_encoder`).

    A name that it was not trained on counts as wrong, so unseen species are asked for the other ranks only.

    Args:
        arguments: Where the specimens are.
        targets: What it was trained on.
        method: How, for the name of the benchmark.
        folder: The model, loaded as a user would.
        command: Stands in the results.
    """
    results = list(_accuracies(arguments, targets, method, folder, command))
    if not is_adapter(folder):
        results += measure_encoder(arguments, folder, command)
    return results


def _accuracies(
    arguments: BarcodeDataArguments, targets: Targets, method: str, folder: Path, command: str
) -> Iterator[Result]:
    if not has_splits(arguments.data, arguments.splits):
        return
    model = load_classifier(folder)
    dataset, revision = describe_anywhere(arguments.data, arguments.splits)
    weights = next(path for path in sorted(folder.glob("*.safetensors")))
    for split, what in TEST_SPLITS.items():
        try:
            columns = ["processid", "dna_barcode", *targets.ranks]
            loaded = load_anywhere(arguments.data, columns, split=split, splits=arguments.splits)
        except ValueError:  # a file without this split
            continue
        assert isinstance(loaded, Dataset)
        specimens = targets.label(loaded, only_labelled=True, known=False)
        if not len(specimens):
            continue
        truth = np.array(specimens[LABELS][:]).reshape(len(specimens), -1)
        predicted = predict(model, specimens["dna_barcode"][:])
        for i, rank in enumerate(targets.ranks):
            if (truth[:, i] < 0).all():
                continue
            # As a class of its own, which is never predicted.
            references = np.where(truth[:, i] == UNKNOWN, len(targets.tree.taxa[rank]), truth[:, i])
            scores = Accuracy().compute(predictions=predicted[:, i], references=references)
            for metric in ("accuracy", "macro_accuracy"):
                yield Result(
                    benchmark=f"{rank}, {what} ({method})",
                    metric=metric,
                    value=scores[metric],
                    count=int(scores["count"]),
                    model=folder.resolve().name,
                    model_revision=digest(weights),
                    dataset=dataset,
                    dataset_revision=revision,
                    split=split,
                    command=command,
                )
