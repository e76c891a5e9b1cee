"""Small specimens, models and runs that the tests of training share."""

from __future__ import annotations

import csv
import hashlib
import itertools
import multiprocessing
import os
import random
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from datasets import Dataset

from bioscan_hf import BarcodeBertForMaskedLM, KmerEncoder
from bioscan_hf.cli.program import main
from bioscan_hf.data.collators import MaskedKmerCollator
from bioscan_hf.training import checkpoints, loop, run
from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments
from bioscan_hf.training.batches import MapBatches, Place
from bioscan_hf.training.masked_lm import MaskedBarcodes
from tests.tiny import tiny_config

SIZES: dict[str, Any] = {
    **{"kmer_size": 3, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "decoder_num_hidden_layers": 1,
}
COLUMNS = ["processid", "dna_barcode", "order", "genus", "species", "split"]
SPLITS = ["pretrain", "train", "train", "val", "test"]
# What is imported once, for all processes that tests fork: the first one decides, whichever file it is of.
PRELOADED = [
    *("bioscan_hf.cli.program", "bioscan_hf.cli.train", "bioscan_hf.data.conversion", "matplotlib.pyplot", "pydantic"),
    *("bioscan_hf.training.classification", "bioscan_hf.training.contrastive", "bioscan_hf.training.masked_lm"),
]


def made_rows(count: int = 60, seed: int = 0) -> list[dict[str, str]]:
    """Specimens of three species in two genera, that differ in a few letters; all splits take turns."""
    draw = random.Random(seed)
    species = {name: draw.choices("ACGT", k=36) for name in ("Aus bus", "Aus cus", "Dus eus")}
    rows = []
    for i in range(count):
        name = list(species)[i % 3]
        letters = list(species[name])
        for place in draw.sample(range(36), 3):
            letters[place] = draw.choice("ACGT")
        taxa = {"order": "Aptera", "genus": name.split()[0], "species": name}
        split = SPLITS[i // 3 % len(SPLITS)]
        rows.append({"processid": f"P{i}", "dna_barcode": "".join(letters), **taxa, "split": split})
    return rows


def write_table(path: Path, rows: Sequence[dict[str, str]] | None = None) -> Path:
    """Write specimens as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(made_rows() if rows is None else rows)
    return path


def made_dataset(count: int = 60, seed: int = 0) -> Dataset:
    """Specimens as a dataset."""
    return Dataset.from_list(made_rows(count, seed))


def masked_batches(
    place: Place | None = None, *, mlm_probability: float = 0.5, label_visible: bool = True
) -> MapBatches:
    """Batches for masked language modelling, of 8 examples if nothing else is said."""
    collate = MaskedBarcodes(MaskedKmerCollator(KmerEncoder(3), mlm_probability, label_visible))
    return MapBatches(made_dataset(), collate, place or Place(0, 1, 8), seed=0)


def tiny_model(dropout: float = 0.0, seed: int = 0) -> BarcodeBertForMaskedLM:
    """A model in training mode."""
    torch.manual_seed(seed)
    fields = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
    return BarcodeBertForMaskedLM(tiny_config(**fields)).train()


def pretraining(data: Path | str, output: Path, **changes: Any) -> PretrainingArguments:
    """Arguments of a run of six steps."""
    given = {"max_steps": 6, "batch_size": 8, "save_steps": 2, "logging_steps": 1, "eval_strategy": "no"}
    return PretrainingArguments(**{"data": str(data), "output": output, **SIZES, **given, **changes})


def finetuning(data: Path | str, model: Path | str, output: Path, **changes: Any) -> FinetuningArguments:
    """Arguments of a run of six steps."""
    given = {"max_steps": 6, "batch_size": 8, "save_steps": 2, "logging_steps": 1, "eval_strategy": "no"}
    return FinetuningArguments(**{"data": str(data), "model": str(model), "output": output, **given, **changes})


def words_of(arguments: PretrainingArguments | FinetuningArguments, *more: str) -> list[str]:
    """The command line of a run: all arguments that are not the default."""
    words = ["pretrain" if isinstance(arguments, PretrainingArguments) else "finetune"]
    for name, field in type(arguments).__dataclass_fields__.items():
        value, flag = getattr(arguments, name), name.replace("_", "-")
        if value == field.default:
            continue
        words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return [*words, *more]


def start(
    function: Callable[..., None], *arguments: Any, log: Path, environment: Mapping[str, str] | None = None
) -> BaseProcess:
    """Call a function in a process of its own, which starts at once since another one has the imports.

    Args:
        function: Of a module that can be imported.
        *arguments: Its arguments.
        log: Takes stdout and stderr.
        environment: Set in addition.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, __name__])
    process = context.Process(target=_begin, args=(function, arguments, str(log), dict(environment or {})))
    process.start()
    return process


def _begin(function: Callable[..., None], arguments: tuple[Any, ...], log: str, environment: dict[str, str]) -> None:
    os.environ |= environment
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    torch.set_num_threads(1)
    function(*arguments)


def ended(process: BaseProcess, log: Path) -> int:
    """Wait for a process; returns its exit code."""
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(log.read_text())
    return process.exitcode


def bioscan(words: Sequence[str]) -> None:
    """The program. It sends itself a signal if the environment says `SIGNAL=what:number:name[:rank]`; see `_strike`."""
    if os.environ.get("SIGNAL"):
        what, number, name, *rank = os.environ["SIGNAL"].split(":")
        if not rank or rank[0] == os.environ.get("RANK"):
            _strike(what, int(number), signal.Signals[name])
    sys.argv = ["bioscan", *words]
    main()


def run_program(words: Sequence[str], log: Path, *, signal_at: str = "") -> int:
    """Run `bioscan` in a process of its own; returns its exit code."""
    return ended(start(bioscan, list(words), log=log, environment={"SIGNAL": signal_at}), log)


def run_together(words: Sequence[str], log: Path, *, count: int = 2, signal_at: str = "") -> list[int]:
    """Run `bioscan` in processes that train together; returns their exit codes."""
    environments = process_environments(count)
    started = [start(bioscan, list(words), log=log, environment={"SIGNAL": signal_at} | own) for own in environments]
    return [ended(process, log) for process in started]


# In the middle of a step; when a checkpoint has all files but its manifest; when the final model is almost complete.
_MOMENTS: dict[str, tuple[Any, str]] = {
    "step": (loop, "_labels"),
    "saving": (checkpoints, "save_state"),
    "final": (run, "save_card"),
}


def _strike(what: str, number: int, sent: signal.Signals) -> None:
    """Send a signal to this process when it is somewhere for the n-th time."""
    module, name = _MOMENTS[what]
    original, calls = getattr(module, name), itertools.count(1)

    def struck(*arguments: Any, **options: Any) -> Any:
        found = original(*arguments, **options)
        if next(calls) == number:
            os.kill(os.getpid(), sent)
        return found

    setattr(module, name, struck)


def process_environments(count: int) -> list[dict[str, str]]:
    """What `torchrun` sets for each of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forget_processes() -> None:
    """Let the next run choose its precision anew: Accelerate keeps that of the first one in the process."""
    for state in (AcceleratorState, GradientState, PartialState):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state._reset_state()


if __name__ == "__main__":  # for torchrun
    torch.set_num_threads(1)
    bioscan(sys.argv[1:])
