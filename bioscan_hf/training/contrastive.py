"""Alignment of images, barcodes and texts in one embedding space, as CLIBD."""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from accelerate import Accelerator
from accelerate.utils import DistributedType
from datasets import Dataset, IterableDataset
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from bioscan_hf.data.anywhere import SAMPLE, has_splits
from bioscan_hf.data.augmentation import ImageAugmentation
from bioscan_hf.data.multimodal import Modality, SpecimenCollator, image_column_undecoded
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import RetrievalModel, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_run import run_retrieval
from bioscan_hf.evaluation.encoders.clibd import clibd_preprocessing, load_clibd, read_clibd
from bioscan_hf.evaluation.encoders.model_files import ModelFiles, find_model
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.clibd_cards import clibd_card
from bioscan_hf.hub.push import save_model
from bioscan_hf.models.clibd.configuration_clibd import MODALITIES, ClibdConfig
from bioscan_hf.models.clibd.modeling_clibd import ClibdModel
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.tokenization.taxonomy import RANKS_OF_FORM, taxonomy_text, taxonomy_texts
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.lora import align_lora
from bioscan_hf.training.retrieval_probe import RetrievalProbe
from bioscan_hf.training.specimens import training_specimens
from bioscan_hf.training.task import Task
from bioscan_hf.training.towers import load_towers

# CLIBD trains on all specimens that no other split takes (paper: 4,966,959 of them).
ALIGNMENT_SPLITS = "pretrain+train"
RETRIEVAL = "retrieval"
"""Folder of the report on the final model, in its own."""

# For the card; names of a real taxon.
_EXAMPLE = {"class": "Insecta", "order": "Diptera", "family": "Sciaridae"}
_TOWERS = {"image": "vision_model", "dna": "dna_model", "text": "text_model"}
_EXPECTED = "the folder or Hub repository of a CLIBD"
_ROWS_AT_A_TIME = 10_000
_COLUMNS = {"image": ("image",), "dna": ("dna_barcode",), "text": ()}


def alignment_task(arguments: AlignmentArguments, accelerator: Accelerator) -> Task:
    """Make the model, and load the data.

    Raises:
        FileNotFoundError: If there are no such data, or no such model.
        OSError: If the Hub does not answer.
        ValueError: If no specimen has two of the modalities, or something else is not what it should be.
    """
    if accelerator.distributed_type == DistributedType.FSDP and arguments.eval_strategy != "no":
        raise ValueError("Evaluations need the whole model in each process: not with FSDP. Use `eval_strategy='no'`.")
    arguments, given = _given(arguments)
    names = arguments.modality_names
    columns = ["processid", *{column: None for name in names for column in _COLUMNS[name]}]
    columns += [rank for rank in RANKS_OF_FORM["labelled"] if rank not in columns]
    with accelerator.main_process_first():
        examples = training_specimens(arguments, columns, ALIGNMENT_SPLITS)
        if "image" in names:
            examples = image_column_undecoded(examples)
        examples = with_enough(examples, arguments)
        probe = RetrievalProbe.load(arguments)
    captions = _captions(examples, arguments) if isinstance(examples, Dataset) else None
    model, processor = _load(arguments, given, captions)
    model.chunk_size, model.loss_tile = arguments.chunk_size, arguments.loss_tile
    frozen = [getattr(model, _TOWERS[name]) for name in arguments.frozen_names]
    for tower in frozen:
        tower.requires_grad_(False)
    if not arguments.learn_temperature:
        model.logit_scale.requires_grad_(False)
    trained: nn.Module = model
    if arguments.method == "lora":
        trained = align_lora(
            model,
            [name for name in names if name not in arguments.frozen_names],
            r=arguments.lora_r,
            alpha=arguments.lora_alpha,
            dropout=arguments.lora_dropout,
            learn_temperature=arguments.learn_temperature,
        )
    return Task(
        model=trained,
        tokenizer=processor,
        examples=examples,
        collate=_collator(arguments, model, processor),
        evaluate=None if probe is None else partial(probe.measure, accelerator, processor),
        measure=partial(_measure, arguments),
        write_card=partial(
            clibd_card,
            compared=arguments.batch_size * accelerator.num_processes,
            example_text=taxonomy_text(_EXAMPLE, form=model.config.text_form),
            simulated=arguments.data == SAMPLE,
            report=RETRIEVAL,
        ),
        frozen=frozen,
        group_of=partial(_group_of, _rates(arguments)),
        finish=partial(_merge, trained, processor) if arguments.method == "lora" else None,
        chance=math.log(arguments.batch_size * accelerator.num_processes),
        facts={
            "objective": f"contrastive alignment of {', '.join(names[:-1])} and {names[-1]}"
            + (f" (LoRA, r = {arguments.lora_r})" if arguments.method == "lora" else ""),
            "examples": len(examples) if isinstance(examples, Dataset) else None,
            "example_name": "specimens",
            "labels": _ranks(arguments) if "text" in names else (),
        },
    )


def with_enough(specimens: Dataset | IterableDataset, arguments: AlignmentArguments) -> Dataset | IterableDataset:
    """Leave out specimens that have nothing to be compared: fewer than two modalities, or not those required.

    Raises:
        ValueError: If none is left.
    """
    if isinstance(specimens, IterableDataset):
        return specimens.filter(partial(_has_enough, arguments))
    columns = [name for name in specimens.column_names if name != "image"]
    kept: list[int] = []
    # Images are not read for it: only whether there is one.
    for start in range(0, len(specimens), _ROWS_AT_A_TIME):
        part = specimens.with_format("arrow")[start : start + _ROWS_AT_A_TIME]
        rows = part.select(columns).to_pylist()
        present = part["image"].is_valid().to_pylist() if "image" in part.column_names else [None] * len(rows)
        kept += [
            start + i
            for i, (row, image) in enumerate(zip(rows, present, strict=True))
            if _has_enough(arguments, {**row, "image": image or None})
        ]
    if not kept:
        needed = " and ".join(arguments.required_names) or f"two of {', '.join(arguments.modality_names)}"
        raise ValueError(f"None of the {len(specimens):,} specimens to train on has {needed}.")
    return specimens if len(kept) == len(specimens) else specimens.select(np.array(kept))


def _has_enough(arguments: AlignmentArguments, row: Mapping[str, Any]) -> bool:
    has = {
        "image": row.get("image") is not None,
        "dna": bool(row.get("dna_barcode")),
        "text": any(row.get(rank) for rank in _ranks(arguments)),
    }
    there = [name for name in arguments.modality_names if has[name]]
    return len(there) > 1 and set(arguments.required_names) <= set(there)


def _captions(specimens: Dataset, arguments: AlignmentArguments) -> Sequence[str] | None:
    if "text" not in arguments.modality_names:
        return None
    form = arguments.text_form or "clibd"
    return taxonomy_texts({rank: specimens[rank][:] for rank in _ranks(arguments)}, form=form)


def _ranks(arguments: AlignmentArguments) -> tuple[str, ...]:
    """Ranks that stand in the texts."""
    return RANKS_OF_FORM[arguments.text_form or "clibd"]


def _given(arguments: AlignmentArguments) -> tuple[AlignmentArguments, ModelFiles | None]:
    """The model to go on with, and the arguments as it decides them."""
    if arguments.model is None:
        return replace(arguments, text_form=arguments.text_form or "clibd"), None
    source = find_model(arguments.model, Path(arguments.model).expanduser(), None, expected=_EXPECTED)
    if source.config.get("model_type") != ClibdConfig.model_type:
        raise ValueError(
            f"'{arguments.model}' is no CLIBD, but of the type {source.config.get('model_type')!r}. Single towers are "
            "given by `image_model`, `dna_model` and `text_model`."
        )
    there = source.config["modalities"]
    if not set(arguments.modality_names) <= set(there):
        names = ",".join(there)
        raise ValueError(f"'{arguments.model}' has towers for {names}; leave the others out: `modalities={names}`.")
    form = arguments.text_form or source.config.get("text_form", "clibd")
    return replace(arguments, text_form=form), source


def _load(
    arguments: AlignmentArguments, given: ModelFiles | None, captions: Sequence[str] | None
) -> tuple[ClibdModel, ClibdProcessor]:
    """The model to be trained: a given one, or new projections on top of towers."""
    fields: dict[str, Any] = {
        "text_form": arguments.text_form,
        "loss_type": arguments.loss_type,
        "loss_targets": arguments.loss_targets,
        "loss_pairs": arguments.pair_names,
        "hierarchy_weight": arguments.hierarchy_weight,
    }
    if given is not None:
        return read_clibd(given, **fields)
    towers = load_towers(arguments, captions)
    try:
        model = ClibdModel.from_towers(
            **towers.models,
            projection_dim=arguments.projection_dim,
            vision_pooling=towers.vision_pooling,
            logit_scale_init_value=math.log(1 / arguments.temperature),
            **fields,
        )
    except StrictDataclassError as error:
        raise ValueError(str(error.__cause__ or error)) from error
    return model, towers.processor


def _collator(arguments: AlignmentArguments, model: ClibdModel, processor: ClibdProcessor) -> SpecimenCollator:
    names = arguments.modality_names
    options: dict[str, Any] = {}
    if "image" in names:
        seen = clibd_preprocessing(processor, model.config)
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
        config: Any = model.config.dna_config
        options |= {"encoder": KmerEncoder.from_config(config), "random_offset": arguments.random_offset}
    if "text" in names:
        cut = min(arguments.max_text_tokens, processor.tokenizer.model_max_length)
        options |= {
            "tokenizer": processor.tokenizer,
            "text_form": arguments.text_form,
            "max_text_tokens": cut,
            "caption_dropout": arguments.caption_dropout,
            # Where padding counts, it must be the same in every batch.
            "pad_text_to": cut if model.config.text_pooling == "mean" else None,
        }
    return SpecimenCollator(modalities=cast(list[Modality], names), threads=arguments.threads, **options)


def _rates(arguments: AlignmentArguments) -> dict[str, float]:
    """Learning rate of the towers that have their own."""
    rates = {f"{_TOWERS[name]}.": getattr(arguments, f"{name}_learning_rate") for name in MODALITIES}
    return {prefix: rate for prefix, rate in rates.items() if rate is not None}


def _group_of(rates: Mapping[str, float], name: str, parameter: nn.Parameter) -> dict[str, float]:
    """Rates of the towers; biases, norms and the temperature do not decay."""
    own: dict[str, float] = {} if parameter.ndim > 1 else {"weight_decay": 0.0}
    for prefix, rate in rates.items():
        if prefix in name:
            own["lr"] = rate
    return own


def _merge(model: Any, processor: ClibdProcessor, folder: Path) -> None:
    """Turn a folder with adapters into one with the whole model: they belong to towers of several places."""
    from peft import load_peft_weights, set_peft_model_state_dict

    set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    merged = model.merge_and_unload()
    for path in folder.glob("adapter_*"):
        path.unlink()
    save_model(folder, merged, processor)


def _measure(arguments: AlignmentArguments, folder: Path, command: str) -> list[Result]:
    """Benchmark 3 with the model in a folder, whose report goes there, too.

    What cannot be measured gives a warning: the model is trained already.
    """
    if not has_splits(arguments.data, arguments.splits):
        return []
    encoders = {name: own for name, own in load_clibd(folder).items() if name in arguments.modality_names}
    report = folder / RETRIEVAL
    with tempfile.TemporaryDirectory() as cache:
        try:
            return run_retrieval(
                [RetrievalModel(arguments.output.resolve().name, encoders)],
                arguments.data,
                RetrievalSettings(),
                splits=arguments.splits,
                limit=arguments.max_test_samples,
                cache=Path(cache),
                output=report,
                command=command,
                report=lambda task, done, total: None,
                say=lambda message: None,
            )
        except ValueError as error:
            warnings.warn(f"Benchmark 3 was not measured: {error}", stacklevel=2)
            shutil.rmtree(report, ignore_errors=True)
            return []
