"""`bioscan pretrain`, `bioscan finetune` and `bioscan align`."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bioscan_hf.cli.screen import Screen, bars

if TYPE_CHECKING:
    from bioscan_hf.training.alignment_arguments import AlignmentArguments
    from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments
    from bioscan_hf.training.run import Run

_SECONDS_BETWEEN_LINES = 30


def pretrain() -> None:
    r"""Pretrain a BarcodeBERT on barcodes; labels are not used.

    The model goes to OUTPUT, with its card, results and pictures, and checkpoints to OUTPUT/checkpoint-N. Killed, the
    same command with --resume goes on, and gives the same model to the bit. SIGTERM and SIGUSR1 make it write a
    checkpoint and end. With several GPUs or machines: `torchrun --no-python --nproc-per-node 4 bioscan pretrain ...`.

    Examples:
        # a small model on barcodes of your own
        bioscan pretrain --data my_barcodes.fasta --output my-model \
            --kmer-size 4 --hidden-size 128 --intermediate-size 512 --max-steps 1000
        # the architecture of the paper on BIOSCAN-5M
        bioscan pretrain --data bioscan-ml/BIOSCAN-5M --output barcodebert
    """


def finetune() -> None:
    r"""Fine-tune a BarcodeBERT to name specimens at one rank, or at several that never contradict each other.

    It trains everything, the classifier alone (--method linear), or adapters (--method lora). Output, resuming and
    several processes are as in `bioscan pretrain`.

    Examples:
        bioscan finetune --model my-model --data my_table.csv --rank family,genus \
            --output my-classifier
        # adapters on the packaged model, trained on the embedded sample
        bioscan finetune --model barcodebert-small --data sample --method lora \
            --max-steps 100 --output my-adapter
    """


def align() -> None:
    r"""Align images, barcodes and taxonomy texts in one embedding space, as CLIBD does.

    The towers are pretrained models, put together with new projections, or a whole CLIBD (--model). Specimens may lack
    a modality: each counts for the pairs that it has. `--config clibd` is the recipe of the BIOSCAN-5M paper, `--config
    clibd-lora` that with adapters. Output, resuming and several processes are as in `bioscan pretrain`; the folder
    holds the model, and a report of benchmark 3.

    Examples:
        # small towers on the embedded sample: two minutes
        bioscan align --data sample --require image --image-model new:tiny \
            --text-model new:tiny --projection-dim 128 --batch-size 64 \
            --max-steps 120 --learning-rate 1e-3 --no-scale-learning-rate \
            --output my-clibd
        # the paper's recipe
        bioscan align --config clibd --data bioscan-ml/BIOSCAN-5M --output clibd
    """


def make_pretrain() -> Callable[..., None]:
    """Make the command of `pretrain`, whose options are the fields of its arguments."""
    # Imported here, as all that the options need: it takes seconds.
    from bioscan_hf.cli.settings import command_of
    from bioscan_hf.training.arguments import PretrainingArguments

    return command_of(PretrainingArguments, _pretrain)


def make_finetune() -> Callable[..., None]:
    """Make the command of `finetune`."""
    from bioscan_hf.cli.settings import command_of
    from bioscan_hf.training.arguments import FinetuningArguments

    return command_of(FinetuningArguments, _finetune)


def make_align() -> Callable[..., None]:
    """Make the command of `align`."""
    from bioscan_hf.cli.settings import command_of
    from bioscan_hf.training.alignment_arguments import AlignmentArguments

    return command_of(AlignmentArguments, _align)


def _pretrain(arguments: PretrainingArguments) -> None:
    from bioscan_hf.training.masked_lm import pretraining_task

    _train(pretraining_task, arguments)


def _finetune(arguments: FinetuningArguments) -> None:
    from bioscan_hf.training.classification import finetuning_task

    _train(finetuning_task, arguments)


def _align(arguments: AlignmentArguments) -> None:
    from bioscan_hf.training.contrastive import alignment_task

    _train(alignment_task, arguments)


def _train(make_task: Callable[..., Any], arguments: Any) -> None:
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    from bioscan_hf.training.run import run
    from bioscan_hf.training.run_folder import RunFinished

    disable_progress_bar()
    disable_progress_bars()
    screen = Screen.open()
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
    )
    columns += (TimeElapsedColumn(), TimeRemainingColumn())
    with bars(screen.words, *columns) as progress:
        bar = progress.add_task("Reading specimens", total=None, speed=0.0)

        def report(step: int, steps: int, record: Mapping[str, float]) -> None:
            if "samples_per_second" in record:
                progress.update(bar, speed=record["samples_per_second"])
            description = f"Training, loss {record['loss']:.3f}" if "loss" in record else "Training"
            progress.update(bar, completed=step, total=steps, description=description)
            log(step, steps, record)

        log = _Log(screen.words)
        # Resumed or not, the model is the same.
        command = shlex.join(["bioscan", *(word for word in sys.argv[1:] if word != "--resume")])

        def say(message: str) -> None:
            progress.console.print(message)

        try:
            result = run(make_task, arguments, command=command, report=report, say=say)
        except RunFinished as finished:
            if os.environ.get("RANK", "0") == "0":  # one of the processes that `torchrun` started speaks
                screen.words.print(str(finished))
            return
    if result.main:
        _show(result, arguments, screen)


class _Log:
    """Lines on the progress for a file, such as the log of a job, where no bar can be drawn."""

    def __init__(self, console: Console) -> None:
        self._console, self._next = console, 0.0

    def __call__(self, step: int, steps: int, record: Mapping[str, float]) -> None:
        """Write a line with each evaluation, and otherwise twice a minute."""
        evaluated = any(name.startswith("eval_") for name in record)
        if self._console.file.isatty() or not ("samples_per_second" in record or evaluated):
            return
        if evaluated or time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
            shown = {name: value for name, value in record.items() if name.startswith(("loss", "eval_", "samples"))}
            values = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
            self._console.print(f"step {step:,} of {steps:,}: {values}", soft_wrap=True)


class _Speed(ProgressColumn):
    """Examples per second, over all processes, as the log has it."""

    def render(self, task: Task) -> Text:
        speed = task.fields.get("speed")
        return Text(f"{speed:,.0f} examples/s" if speed else "", style="progress.data.speed")


def _show(result: Run, arguments: Any, screen: Screen) -> None:
    from bioscan_hf.cli.benchmark.common import show
    from bioscan_hf.cli.tables import results_table
    from bioscan_hf.evaluation.benchmarks.retrieval_tables import main_tables
    from bioscan_hf.training.alignment_arguments import AlignmentArguments
    from bioscan_hf.training.contrastive import RETRIEVAL

    state, words = result.outcome.state, screen.words
    words.print(f"{state.step:,} steps in {timedelta(seconds=round(state.seconds))}.")
    if result.outcome.ended == "interrupted":
        words.print(
            f"{result.outcome.signal or 'A signal'} came: {arguments.output}/checkpoint-{state.step} is written. The "
            "same command with --resume goes on."
        )
        return
    if result.outcome.ended == "early":
        words.print(f"Stopped at step {state.step}: {arguments.metric_for_best_model} got no better.")
    if result.results and isinstance(arguments, AlignmentArguments):
        show(result.results, main_tables(result.results, ("genus", "species")), arguments.output / RETRIEVAL, screen)
    elif result.results:
        screen.answers.print(results_table(result.results))
    else:
        words.print("Nothing was measured: the data have no test splits, or no labels in them.")
    words.print(f"Written to {arguments.output}/: the model with its card, results.json, training.png")
    if result.address is not None:
        words.print(f"Pushed: {result.address}")
