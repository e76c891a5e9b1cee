"""Retrieval during an alignment: how often the nearest known specimen has the right taxon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn

from bioscan_hf.data.anywhere import has_splits
from bioscan_hf.evaluation.benchmarks.cross_modal_retrieval import Embedded, Task, retrieve, score
from bioscan_hf.evaluation.benchmarks.paper import SEEN, UNSEEN
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import MODALITIES, Pair, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_specimens import COLUMNS, load_keys_and_queries
from bioscan_hf.evaluation.benchmarks.zero_shot_clustering import with_modalities
from bioscan_hf.evaluation.encoders.clibd import clibd_encoders
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.training.alignment_arguments import AlignmentArguments

_METRICS = ("accuracy", "macro_accuracy")


@dataclass(frozen=True)
class RetrievalProbe:
    """Keys and queries for the choice of a model.

    Attributes:
        task: Keys, and queries of val and val_unseen.
        specimens: All of them.
        pairs: What finds what.
    """

    task: Task
    specimens: Dataset
    pairs: Sequence[Pair]

    @classmethod
    def load(cls, arguments: AlignmentArguments) -> RetrievalProbe | None:
        """Load keys and queries; pairs that model or data do not allow are left out.

        Returns:
            None if nothing is to be evaluated, the data have no such splits, or no pair is left.

        Raises:
            FileNotFoundError: If there are no such data.
            ValueError: If a pair is unknown.
        """
        names = tuple(name.strip() for name in arguments.eval_pairs.split(",") if name.strip())
        settings = RetrievalSettings(queries="val", pairs=names)
        pairs = [pair for pair in settings.asked if set(pair.modalities) <= set(arguments.modality_names)]
        if arguments.eval_strategy == "no" or not pairs or not has_splits(arguments.data, arguments.splits):
            return None
        image = any("image" in pair.modalities for pair in pairs)
        try:
            specimens = load_keys_and_queries(
                arguments.data, settings, image=image, splits=arguments.splits, say=lambda message: None
            )
            rows = _drawn(specimens, arguments)
            specimens = specimens.select(rows)
            needed = {COLUMNS[m] for pair in pairs for m in pair.modalities if m in COLUMNS}
            present = {m: with_modalities(specimens, [name]) for m, name in COLUMNS.items() if name in needed}
            task = Task(specimens, settings, present)
        except ValueError:  # a file without these splits
            return None
        asked = [pair for pair in pairs if task.why_not(pair) is None]
        return cls(task, specimens, asked) if asked else None

    def measure(self, accelerator: Accelerator, processor: ClibdProcessor, model: nn.Module) -> dict[str, float]:
        """Top-1 accuracy of each pair, as the mean over ranks, seen and unseen species, and queries and taxa.

        Args:
            accelerator: The processes, each of which computes all of it.
            processor: Of the model.
            model: The model, wrapped or with adapters or not.

        Returns:
            By name of the pair, such as `image_to_dna`; and `overall`, the mean over the pairs: CLIBD chooses its
            models by such a mean (bioscan-ml/clibd, `compute_overall_acc`).
        """
        bare: Any = accelerator.unwrap_model(model)
        bare = bare.get_base_model() if hasattr(bare, "get_base_model") else bare
        encoders = clibd_encoders(bare, processor)
        embedded = {}
        for modality in MODALITIES:
            if any(modality in pair.modalities for pair in self.pairs):
                rows = self.task.needed(modality, self.pairs)
                embedded[modality] = Embedded(rows, unit_length(encoders[modality].embed(self.specimens.select(rows))))
        found = {}
        for pair in self.pairs:
            values = [
                m.value
                for m in score(self.task, pair, retrieve(self.task, pair, embedded))
                if m.metric in _METRICS and m.benchmark.endswith((SEEN, UNSEEN))
            ]
            found[f"{pair.query}_to_{pair.key}"] = float(np.mean(values))
        return {**found, "overall": float(np.mean(list(found.values())))}


def _drawn(specimens: Dataset, arguments: AlignmentArguments) -> NDArray[np.int64]:
    """Rows of as many keys and queries as are wanted, the same each time."""
    splits = np.array(specimens["split"], dtype=object)
    queries = np.isin(splits, ("val", "val_unseen"))
    kept = []
    for rows, most in ((~queries, arguments.max_eval_keys), (queries, arguments.max_eval_samples)):
        order = np.random.default_rng(0).permutation(np.flatnonzero(rows))
        kept.append(order[:most])
    return np.sort(np.concatenate(kept))
