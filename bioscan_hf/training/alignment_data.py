"""The specimens of an alignment: which can be compared, and batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, IterableDataset

from bioscan_hf.data.augmentation import ImageAugmentation
from bioscan_hf.data.multimodal import Modality, SpecimenCollator
from bioscan_hf.evaluation.encoders.clibd import clibd_preprocessing
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.tokenization.taxonomy import RANKS_OF_FORM, taxonomy_texts
from bioscan_hf.training.alignment_arguments import AlignmentArguments

_ROWS_AT_A_TIME = 10_000


def columns_of(arguments: AlignmentArguments) -> list[str]:
    """Columns that are read: process id, ranks, and those of the modalities."""
    of_modality = {"image": "image", "dna": "dna_barcode"}
    own = [of_modality[name] for name in arguments.modality_names if name in of_modality]
    return ["processid", *own, *RANKS_OF_FORM["labelled"]]


class Comparable(NamedTuple):
    """Specimens that can be compared.

    Attributes:
        specimens: Those with enough modalities.
        complete: Whether each has all modalities, as far as is known.
    """

    specimens: Dataset | IterableDataset
    complete: bool


def with_enough(specimens: Dataset | IterableDataset, arguments: AlignmentArguments) -> Comparable:
    """Leave out specimens that have nothing to be compared: fewer than two modalities, or not those required.

    Raises:
        ValueError: If none is left.
    """
    names = arguments.modality_names
    if isinstance(specimens, IterableDataset):
        enough = specimens.filter(partial(_streamed_has_enough, arguments))
        return Comparable(enough, set(arguments.required_names) == set(names))
    columns = [name for name in specimens.column_names if name != "image"]
    kept: list[int] = []
    complete = True
    # Images are not read for it: only whether there is one.
    for start in range(0, len(specimens), _ROWS_AT_A_TIME):
        part = specimens.with_format("arrow")[start : start + _ROWS_AT_A_TIME]
        rows = part.select(columns).to_pylist()
        present = _with_file(part["image"]) if "image" in part.column_names else [False] * len(rows)
        for i, (row, image) in enumerate(zip(rows, present, strict=True)):
            if found := _compared(arguments, row, image=image):
                kept.append(start + i)
                complete = complete and found == len(names)
    if not kept:
        needed = " and ".join(arguments.required_names) or f"two of {', '.join(names)}"
        raise ValueError(f"None of the {len(specimens):,} specimens to train on has {needed}.")
    return Comparable(specimens if len(kept) == len(specimens) else specimens.select(np.array(kept)), complete)


def _with_file(images: pa.ChunkedArray) -> list[bool]:
    """Whether there is an image, given as bytes or as a path."""
    given = [pc.is_valid(pc.struct_field(images, name)) for name in ("bytes", "path")]
    found: list[bool] = pc.or_(*given).to_pylist()
    return found


def _streamed_has_enough(arguments: AlignmentArguments, row: Mapping[str, Any]) -> bool:
    image = row.get("image") or {}
    return _compared(arguments, row, image=any(image.get(name) is not None for name in ("bytes", "path"))) > 0


def _compared(arguments: AlignmentArguments, row: Mapping[str, Any], *, image: bool) -> int:
    """Modalities of a specimen; 0 if it has not enough."""
    has = {
        "image": image,
        "dna": bool(row.get("dna_barcode")),
        "text": any(row.get(rank) for rank in _ranks(arguments)),
    }
    there = [name for name in arguments.modality_names if has[name]]
    return len(there) if len(there) > 1 and set(arguments.required_names) <= set(there) else 0


def captions_of(specimens: Dataset, arguments: AlignmentArguments) -> Sequence[str] | None:
    """The texts of specimens; None if the model has no tower for them."""
    if "text" not in arguments.modality_names:
        return None
    form = arguments.text_form or "clibd"
    return taxonomy_texts({rank: specimens[rank][:] for rank in _ranks(arguments)}, form=form)


def label_ranks(arguments: AlignmentArguments) -> tuple[str, ...]:
    """Ranks whose names are used in training: in texts, or to tell which specimens are alike."""
    used = set(_ranks(arguments) if "text" in arguments.modality_names else ())
    used |= {"identity": set(), "hierarchical": set(RANKS_OF_FORM["clibd"])}.get(arguments.loss_targets, {"species"})
    return tuple(rank for rank in RANKS_OF_FORM["labelled"] if rank in used)


def _ranks(arguments: AlignmentArguments) -> tuple[str, ...]:
    """Ranks that stand in the texts."""
    return RANKS_OF_FORM[arguments.text_form or "clibd"]


def alignment_collator(
    arguments: AlignmentArguments, model_config: ClibdConfig, processor: ClibdProcessor
) -> SpecimenCollator:
    """Make what turns specimens into batches, for the inputs that a model takes."""
    names = arguments.modality_names
    options: dict[str, Any] = {}
    if "image" in names:
        seen = clibd_preprocessing(processor, model_config)
        shorter_side = seen.shorter_side or seen.size
        options |= {"size": seen.size, "shorter_side": shorter_side, "image_mean": seen.mean, "image_std": seen.std}
        if arguments.augment:
            options["augment"] = ImageAugmentation(
                size=seen.size,
                shorter_side=shorter_side,
                scale=(arguments.min_crop, 1.0),
                rotation=arguments.rotation,
                jitter=arguments.jitter,
            )
    if "dna" in names:
        config: Any = model_config.dna_config
        options |= {"encoder": KmerEncoder.from_config(config), "random_offset": arguments.random_offset}
    if "text" in names:
        cut = min(arguments.max_text_tokens, processor.tokenizer.model_max_length)
        options |= {
            "tokenizer": processor.tokenizer,
            "text_form": arguments.text_form,
            "max_text_tokens": cut,
            "caption_dropout": arguments.caption_dropout,
            # Where padding counts, it must be the same in every batch.
            "pad_text_to": cut if model_config.text_pooling == "mean" else None,
        }
    return SpecimenCollator(modalities=cast(list[Modality], names), threads=arguments.threads, **options)
