"""Small specimens with photographs, towers and runs that the tests of alignments share."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pillow
from transformers import BertConfig, BertModel, PreTrainedModel, ViTConfig, ViTImageProcessorPil, ViTModel

from bioscan_hf import BarcodeBertModel, build_tokenizer
from bioscan_hf.evaluation.benchmarks import retrieval_run
from bioscan_hf.hub.push import save_model
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.batches import MapBatches, Place
from bioscan_hf.training.contrastive import alignment_task
from bioscan_hf.training.loop import train
from bioscan_hf.training.run import Run, run
from bioscan_hf.training.task import Task
from bioscan_hf.training.towers import word_tokenizer
from bioscan_hf.training.tracking import make_accelerator
from tests.evaluation.benchmarks.made_retrieval import blank_picture
from tests.tiny import tiny_config
from tests.training.made_runs import forget_processes

SIDE = 32
# Family, genus and species; the last one is the unseen one.
TAXA = [
    ("Afam", "Aus", "Aus bus"),
    ("Afam", "Aus", "Aus cus"),
    ("Afam", "Dus", "Dus eus"),
    ("Bfam", "Fus", "Fus gus"),
    ("Bfam", "Fus", "Fus hus"),
    ("Bfam", "Ius", "Ius jus"),
]
SEEN_SPLITS = ("pretrain", "train", "train", "train", "train", "val", "test", "train")
UNSEEN_SPLITS = ("key_unseen", "key_unseen", "val_unseen", "test_unseen")
COLUMNS = ("processid", "dna_barcode", "class", "order", "family", "genus", "species", "split")
Row = dict[str, Any]


def made_rows(count: int = 72, seed: int = 0) -> list[Row]:
    """Specimens of six species in turn, whose photographs, barcodes and names tell them apart."""
    draw = random.Random(seed)
    barcodes = [draw.choices("ACGT", k=60) for _ in TAXA]
    rows = []
    for i in range(count):
        kind = i % len(TAXA)
        letters = list(barcodes[kind])
        for place in draw.sample(range(60), 2):
            letters[place] = draw.choice("ACGT")
        splits = UNSEEN_SPLITS if kind == len(TAXA) - 1 else SEEN_SPLITS
        family, genus, species = TAXA[kind]
        rows.append(
            {
                "processid": f"P{i:03d}",
                "dna_barcode": "".join(letters),
                **{"class": "Insecta", "order": "Aptera", "family": family, "genus": genus, "species": species},
                "split": splits[i // len(TAXA) % len(splits)],
                "image": photo(kind, i),
            }
        )
    return rows


def photo(kind: int, seed: int) -> bytes:
    """A photograph whose colours are those of its species, with some noise."""
    draw = np.random.default_rng(seed)
    colours = np.random.default_rng(1000 + kind).integers(0, 256, (2, 1, 3))
    pixels = np.repeat(colours, [SIDE // 2, SIDE // 2], axis=0) + draw.integers(-20, 20, (SIDE, SIDE, 3))
    file = io.BytesIO()
    Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_specimens(path: Path, rows: Sequence[Row] | None = None) -> Path:
    """Write specimens as Parquet, as `datasets` does."""
    columns = {name: Value("string") for name in COLUMNS}
    stored = [
        {**row, "image": None if row["image"] is None else {"bytes": row["image"], "path": f"{row['processid']}.png"}}
        for row in (made_rows() if rows is None else rows)
    ]
    Dataset.from_list(stored, features=Features({**columns, "image": Image()})).to_parquet(path)
    return path


def without(row: Row, *modalities: str) -> Row:
    """A specimen that lacks some modalities."""
    columns = {"image": ["image"], "dna": ["dna_barcode"], "text": ["order", "family", "genus", "species"]}
    return {**row, **{column: None for modality in modalities for column in columns[modality]}}


SIZES: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def tiny_towers(dropout: float = 0.0) -> dict[str, PreTrainedModel]:
    """Towers whose weights tell inputs apart: images of 32 pixels, 3-mers of up to 60 letters, the words of `TAXA`."""
    torch.manual_seed(0)
    drops: dict[str, Any] = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    tokenizer = word_tokenizer(captions(), max_length=20)
    words: dict[str, Any] = {"vocab_size": len(tokenizer), "max_position_embeddings": 24}
    return {
        "image": ViTModel(ViTConfig(**SIZES, image_size=SIDE, patch_size=8, **drops)),
        "dna": BarcodeBertModel(tiny_config(**SIZES, max_nucleotides=60, max_position_embeddings=24, **drops)),
        "text": BertModel(BertConfig(**SIZES, **words, **drops)),
    }


@cache
def captions() -> tuple[str, ...]:
    """The texts of `TAXA`, and words of the other form."""
    names = [" ".join(("Aptera", *taxa)) for taxa in TAXA]
    return (*names, "not_classified Class: Insecta, Order: Family: Subfamily: Genus: Species:")


def save_towers(folder: Path, dropout: float = 0.0) -> dict[str, str]:
    """Write `tiny_towers` with what makes their inputs; returns the arguments that name them."""
    towers = tiny_towers(dropout)
    towers["image"].save_pretrained(folder / "image")
    size = {"height": SIDE, "width": SIDE}
    half = [0.5, 0.5, 0.5]
    ViTImageProcessorPil(size=size, image_mean=half, image_std=half).save_pretrained(folder / "image")
    save_model(folder / "dna", towers["dna"], build_tokenizer(3, max_nucleotides=60))
    towers["text"].save_pretrained(folder / "text")
    word_tokenizer(captions(), max_length=20).save_pretrained(folder / "text")
    return {f"{name}_model": str(folder / name) for name in towers}


def alignment(data: Path | str, output: Path, **changes: Any) -> AlignmentArguments:
    """Arguments of a run of four steps; towers are in `changes`."""
    given: dict[str, Any] = {
        **{"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "scale_learning_rate": False},
        **{"projection_dim": 16, "save_steps": 2, "logging_steps": 1, "eval_strategy": "no", "threads": 0},
    }
    return AlignmentArguments(**{"data": str(data), "output": output, **given, **changes})


def align(data: Path | str, output: Path, **changes: Any) -> Run:
    """Run it, in this process."""
    forget_processes()
    return run(alignment_task, alignment(data, output, **changes), command="bioscan align --it")


def align_words(arguments: AlignmentArguments, *more: str) -> list[str]:
    """The command line of a run: all arguments that are not the default."""
    words = ["align"]
    for name, field in AlignmentArguments.__dataclass_fields__.items():
        value, flag = getattr(arguments, name), name.replace("_", "-")
        if value == field.default:
            continue
        words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return [*words, *more]


class Trained(NamedTuple):
    """What came of a training without a folder: the task with the trained model, and the losses of its steps."""

    task: Task
    losses: list[float]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return self.task.model.state_dict()


def trained(arguments: AlignmentArguments) -> Trained:
    """Train without writing anything."""
    forget_processes()
    accelerator = make_accelerator(arguments)
    set_seed(arguments.seed)
    task = alignment_task(arguments, accelerator)
    place = Place(0, 1, arguments.batch_size, arguments.gradient_accumulation_steps)
    assert isinstance(task.examples, Dataset)
    batches = MapBatches(task.examples, task.collate, place, seed=arguments.seed)
    outcome = train(task.model, batches, arguments, accelerator=accelerator, frozen=task.frozen, group_of=task.group_of)
    return Trained(task, [record["loss"] for record in outcome.state.history if "loss" in record])


def batch_of(task: Task, rows: Sequence[int] = range(8)) -> dict[str, torch.Tensor]:
    """Inputs of the model, of some of the examples."""
    assert isinstance(task.examples, Dataset)
    return task.collate(task.examples[list(rows)], list(rows))


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Draw nothing for the report of benchmark 3, which takes longer than all else."""
    for name in ("accuracy_by_rank", "retrieved_keys"):
        patch.setattr(retrieval_run, name, blank_picture)
