"""1-NN probes of an encoder: during training, and of the final model beside 4-mer counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel

from bioscan_hf.data.anywhere import describe_anywhere, has_splits, load_anywhere
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.base import Encoder
from bioscan_hf.evaluation.encoders.loading import load_encoder
from bioscan_hf.evaluation.probing import PROBES, Probe, nearest_neighbour_accuracy, probe_results
from bioscan_hf.evaluation.results import Result
from bioscan_hf.training.arguments import BarcodeDataArguments

# Asked during training, of the splits that are for choosing; the final results are of the test splits.
VALIDATION_PROBES = (
    Probe("1nn_species", "species", "val"),
    Probe("1nn_genus_unseen", "genus", "val_unseen"),
)


def load_probed(arguments: BarcodeDataArguments, probes: Sequence[Probe]) -> Dataset | None:
    """The keys and queries of some probes; None if the data have no splits, or none of these.

    Raises:
        FileNotFoundError: If there are no such data.
    """
    if not has_splits(arguments.data, arguments.splits):
        return None
    ranks = sorted({probe.rank for probe in probes})
    split = "+".join({name: None for probe in probes for name in (probe.keys, probe.queries)})
    columns = ["processid", "dna_barcode", "split", *ranks]
    try:
        specimens = load_anywhere(arguments.data, columns, split=split, splits=arguments.splits)
    except ValueError:  # a file without these splits
        return None
    assert isinstance(specimens, Dataset)
    return specimens


def probe_accuracies(
    model: PreTrainedModel, specimens: Dataset, probes: Sequence[Probe], batch_size: int
) -> dict[str, float]:
    """Accuracy of each probe that has keys and queries, by the name of the probe."""
    embeddings = embed(model, specimens, batch_size=batch_size)
    return {
        probe.name: nearest_neighbour_accuracy(embeddings, specimens, probe)[0]
        for probe in probes
        if all(len(rows) for rows in probe.select(specimens))
    }


def measure_encoder(arguments: BarcodeDataArguments, folder: Path, command: str) -> list[Result]:
    """Answer `PROBES` with the model in a folder and, in the same run, with the baselines.

    Args:
        arguments: Where the specimens are.
        folder: A model folder, loaded as a user would.
        command: Stands in the results.

    Returns:
        Nothing for probes without keys or queries.
    """
    specimens = load_probed(arguments, PROBES)
    if specimens is None or not any(all(len(rows) for rows in probe.select(specimens)) for probe in PROBES):
        return []
    baselines = [name.strip() for name in arguments.baselines.split(",") if name.strip()]
    encoders: list[Encoder] = [load_encoder(folder), *map(load_encoder, baselines)]
    compared = [(encoder.name, encoder.revision, embed(encoder, specimens)) for encoder in encoders]
    source = describe_anywhere(arguments.data, arguments.splits)
    return probe_results(compared, specimens, source=source, command=command)
