"""Alignment of images, barcodes and texts in one embedding space, as CLIBD."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from bioscan_hf.data.anywhere import SAMPLE, has_splits
from bioscan_hf.data.multimodal import image_column_undecoded
from bioscan_hf.evaluation.benchmarks.retrieval_pairs import RetrievalModel, RetrievalSettings
from bioscan_hf.evaluation.benchmarks.retrieval_run import run_retrieval
from bioscan_hf.evaluation.encoders.clibd import (
    clibd_preprocessing,
    load_clibd,
    read_clibd,
)
from bioscan_hf.evaluation.encoders.model_files import ModelFiles, find_model
from bioscan_hf.evaluation.results import Result
from bioscan_hf.hub.clibd_cards import clibd_card
from bioscan_hf.hub.push import save_model
from bioscan_hf.models.clibd.configuration_clibd import MODALITIES, ClibdConfig
from bioscan_hf.models.clibd.modeling_clibd import ClibdModel, LogitScale
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.models.pretrained import find_packaged
from bioscan_hf.tokenization.taxonomy import taxonomy_text
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.alignment_data import (
    alignment_collator,
    captions_of,
    columns_of,
    label_ranks,
    with_enough,
)
from bioscan_hf.training.lora import align_lora
from bioscan_hf.training.retrieval_probe import RetrievalProbe
from bioscan_hf.training.specimens import training_specimens
from bioscan_hf.training.task import Task
from bioscan_hf.training.towers import attention_of, load_towers

# Those of CLIBD: 4,966,959 specimens of BIOSCAN-5M.
ALIGNMENT_SPLITS = "pretrain+train"
RETRIEVAL = "retrieval"
"""Folder of the report on the final model, in its own."""

# For the card; names of a real taxon.
_EXAMPLE = {"class": "Insecta", "order": "Diptera", "family": "Sciaridae"}
_TOWERS = {"image": "vision_model", "dna": "dna_model", "text": "text_model"}
_EXPECTED = "the folder or Hub repository of a CLIBD"


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
    with accelerator.main_process_first():
        examples = training_specimens(arguments, columns_of(arguments), ALIGNMENT_SPLITS)
        if "image" in names:
            examples = image_column_undecoded(examples)
        examples, complete = with_enough(examples, arguments)
        probe = RetrievalProbe.load(arguments)
    if probe is None and arguments.metric_for_best_model is not None:
        raise ValueError(
            f"`metric_for_best_model` ({arguments.metric_for_best_model!r}) needs queries of the split val or "
            "val_unseen, and at least five keys of train or key_unseen, with what `eval_pairs` "
            f"({arguments.eval_pairs!r}) compares. '{arguments.data}' has none such."
        )
    captions = captions_of(examples, arguments) if isinstance(examples, Dataset) else None
    model, processor = _load(arguments, given, captions)
    model.chunk_size, model.loss_tile = arguments.chunk_size, arguments.loss_tile
    frozen = _freeze(model, arguments)
    trained: nn.Module = model
    if arguments.method == "lora":
        trained = align_lora(
            model,
            [name for name in names if name not in arguments.frozen_names],
            r=arguments.lora_r,
            alpha=arguments.lora_alpha,
            dropout=arguments.lora_dropout,
        )
    *first, last = ["DNA" if name == "dna" else name for name in names]
    compared = arguments.batch_size * accelerator.num_processes
    # With other losses, or gaps in the specimens, what guessing costs depends on the batch.
    plain = arguments.loss_type == "info_nce" and arguments.loss_targets in ("identity", "mean", "hierarchical")
    chance = math.log(compared) if plain and complete else None
    return Task(
        model=trained,
        tokenizer=processor,
        examples=examples,
        collate=alignment_collator(arguments, model.config, processor),
        evaluate=None if probe is None else partial(probe.measure, accelerator, processor),
        measure=partial(_measure, arguments),
        write_card=partial(
            clibd_card,
            compared=compared,
            chance=chance,
            example_text=taxonomy_text(_EXAMPLE, form=model.config.text_form),
            simulated=arguments.data == SAMPLE or "simulated" in (arguments.data_credit or ""),
            report=RETRIEVAL,
        ),
        frozen=frozen,
        group_of=partial(_group_of, _rates(arguments)),
        finish=partial(_merge, trained, processor) if arguments.method == "lora" else None,
        chance=chance,
        facts={
            "objective": f"contrastive alignment of {', '.join(first)} and {last}"
            + (f" (LoRA, r = {arguments.lora_r})" if arguments.method == "lora" else ""),
            "examples": len(examples) if isinstance(examples, Dataset) else None,
            "example_name": "specimens",
            "labels": label_ranks(arguments),
        },
    )


def _given(arguments: AlignmentArguments) -> tuple[AlignmentArguments, ModelFiles | None]:
    """The model to go on with, and the arguments as it decides them."""
    if arguments.model is None:
        return replace(arguments, text_form=arguments.text_form or "clibd"), None
    folder = Path(find_packaged(arguments.model)).expanduser()
    source = find_model(arguments.model, folder, None, expected=_EXPECTED)
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
        model, processor = read_clibd(given, **attention_of(arguments))
        _change(model, fields)
        side = clibd_preprocessing(processor, model.config).size
        if arguments.image_size not in (None, side):
            raise ValueError(
                f"'{arguments.model}' takes images of {side} pixels; got `image_size` {arguments.image_size}."
            )
        return model, processor
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


def _change(model: ClibdModel, fields: Mapping[str, Any]) -> None:
    """Give a model other fields of its configuration; the temperature stays, whatever the loss."""
    before = model.logit_scale
    for name, value in fields.items():
        setattr(model.config, name, value)
    # Only one of the losses has a bias.
    model.logit_scale = LogitScale(model.config)
    model.logit_scale.load_state_dict(before.state_dict(), strict=False)


def _freeze(model: ClibdModel, arguments: AlignmentArguments) -> list[nn.Module]:
    """Exclude from the training what is not to be trained; returns the parts that compute as in evaluation."""
    unused = [name for name in model.config.modalities if name not in arguments.modality_names]
    frozen = [getattr(model, _TOWERS[name]) for name in arguments.frozen_names]
    prefixes = tuple(_TOWERS[name].removesuffix("model") for name in unused)
    frozen += [part for name, part in model.named_children() if name.startswith(prefixes)]
    for part in frozen:
        part.requires_grad_(False)
    for name, parameter in model.named_parameters():
        # What stands for hidden patches (DINOv2) gets no gradient, which processes that train together would wait for.
        if name.endswith("mask_token"):
            parameter.requires_grad_(False)
    if not arguments.learn_temperature:
        model.logit_scale.requires_grad_(False)
    return frozen


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
    try:
        return run_retrieval(
            [RetrievalModel(arguments.output.resolve().name, encoders)],
            arguments.data,
            RetrievalSettings(),
            splits=arguments.splits,
            limit=arguments.max_test_samples,
            # What is kept is computed by all processes together, and the others have ended.
            cache=None,
            output=report,
            command=command,
            report=lambda task, done, total: None,
            say=lambda message: None,
        )
    except ValueError as error:
        warnings.warn(f"Benchmark 3 was not measured: {error}", stacklevel=2)
        shutil.rmtree(report, ignore_errors=True)
        return []
