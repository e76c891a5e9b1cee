"""A run, from its arguments to the model in its folder and on the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from datasets import Dataset
from transformers import AutoConfig

from bioscan_hf import __version__
from bioscan_hf.data.anywhere import describe_anywhere
from bioscan_hf.data.files import staged
from bioscan_hf.data.whole_files import write_json
from bioscan_hf.evaluation.benchmarks.paper import TASK_IDS, TASK_RESULTS
from bioscan_hf.evaluation.pictures import loss_curve, save_picture
from bioscan_hf.evaluation.results import Result, read_results, write_results
from bioscan_hf.hub.cards import Training
from bioscan_hf.hub.eval_results import save_eval_results
from bioscan_hf.hub.push import check_can_push, save_card, save_model
from bioscan_hf.hub.uploads import Uploads, model_files
from bioscan_hf.models.pretrained import find_packaged
from bioscan_hf.training import checkpoints, run_folder
from bioscan_hf.training.alignment_arguments import AlignmentArguments
from bioscan_hf.training.arguments import FinetuningArguments, PretrainingArguments
from bioscan_hf.training.batches import Batches, MapBatches, Place, StreamBatches
from bioscan_hf.training.loop import Outcome, Report, train
from bioscan_hf.training.provenance import describe_run, plain_arguments, shown_arguments
from bioscan_hf.training.task import Task
from bioscan_hf.training.tracking import make_accelerator, tracked

RunArguments: TypeAlias = PretrainingArguments | FinetuningArguments | AlignmentArguments
MakeTask: TypeAlias = Callable[[Any, Accelerator], Task]

CURVES, RESULTS, HISTORY = "training.png", "results.json", "history.json"


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes:
        outcome: How the training ended.
        results: What was measured with the final model, and with baselines; in the main process only.
        address: Of the commit on the Hub, if it was pushed.
        main: Whether this is the main process.
    """

    outcome: Outcome
    results: list[Result]
    address: str | None = None
    main: bool = True


def run(
    make_task: MakeTask,
    arguments: RunArguments,
    *,
    command: str,
    report: Report | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Run:
    """Train, measure, and write a model with its card; push it if asked to.

    To be called by each of the processes that train together (`torchrun`).

    Args:
        make_task: `pretraining_task`, `finetuning_task` or `alignment_task`.
        arguments: Of the run.
        command: The command line, for card and results.
        report: Told of the progress of the training, in the main process.
        say: Told what else is going on, in the main process.

    Raises:
        RunFinished: If there is nothing to resume.
        ValueError: If arguments, data or model do not go together; before the first step.
        OSError: If something cannot be read, written or, at the end, pushed; the model is in its folder then.
        RuntimeError: If the loss is not a number.
    """
    folder = arguments.output
    _compared(arguments, [])  # an error now, rather than after the training
    run_folder.open_folder(folder, resume=arguments.resume)
    accelerator = make_accelerator(arguments)
    main = accelerator.is_main_process
    with run_folder.locked(folder) if main else nullcontext():
        if main:  # once more: another process may have ended there meanwhile
            run_folder.open_folder(folder, resume=arguments.resume)
        return _run(make_task, arguments, accelerator, command=command, report=report, say=say)


def _run(
    make_task: MakeTask,
    arguments: RunArguments,
    accelerator: Accelerator,
    *,
    command: str,
    report: Report | None,
    say: Callable[[str], None],
) -> Run:
    folder, main = arguments.output, accelerator.is_main_process
    if main:
        _check_push(arguments)
    set_seed(arguments.seed)
    task = make_task(arguments, accelerator)
    batches = _batches(task, arguments, accelerator)
    data = describe_anywhere(arguments.data, arguments.splits)
    description = describe_run(
        arguments,
        command=command,
        data=data,
        processes=accelerator.num_processes,
        examples_per_step=batches.place.examples,
    )
    checkpoint = _checkpoint(folder, accelerator) if arguments.resume else None
    if main:
        run_folder.begin(folder, description, arguments, resumes=checkpoint is not None)
        run_folder.check_space(folder, task.model, arguments)
        if checkpoint is not None:
            say(f"Going on from {checkpoint}.")
    accelerator.wait_for_everyone()
    uploads = Uploads(arguments.push_to_hub, private=arguments.private) if arguments.push_to_hub and main else None

    def write_model(target: Path, weights: Mapping[str, torch.Tensor]) -> None:
        save_model(target, task.model, task.tokenizer, weights=weights)

    with tracked(accelerator, plain_arguments(arguments)):
        outcome = train(
            task.model,
            batches,
            arguments,
            accelerator=accelerator,
            frozen=task.frozen,
            group_of=task.group_of,
            evaluate=task.evaluate,
            folder=folder,
            write_model=write_model,
            resume=checkpoint,
            report=report if main else None,
            saved=None if uploads is None else lambda written: uploads.checkpoint(written, written.name),
        )
    if outcome.ended == "interrupted" or not main:
        if uploads is not None:
            uploads.close()
        return Run(outcome, [], main=main)
    say("Measuring the final model.")
    results = _write(task, arguments, outcome, folder, data=data, command=command, processes=accelerator.num_processes)
    run_folder.finish(folder, description)
    address = None if uploads is None else uploads.finish(folder)
    return Run(outcome, results, address)


def _check_push(arguments: RunArguments) -> None:
    if arguments.push_to_hub is None:
        return
    check_can_push(arguments.push_to_hub)
    if not isinstance(arguments, FinetuningArguments) or arguments.method != "lora" or arguments.merge_adapter:
        return
    if arguments.model is not None and Path(find_packaged(arguments.model)).exists():
        raise ValueError(
            f"An adapter on the Hub needs its base model there, and '{arguments.model}' is a folder. Push that first "
            "and give its repository as --model, or write a whole model by --merge-adapter."
        )


def _batches(task: Task, arguments: RunArguments, accelerator: Accelerator) -> Batches:
    if arguments.metric_for_best_model is not None and task.evaluate is None:
        raise ValueError(
            f"`metric_for_best_model` ({arguments.metric_for_best_model!r}) needs specimens to evaluate with: the data "
            "have none in the usual splits; say which by `eval_split`."
        )
    place = Place(
        accelerator.process_index,
        accelerator.num_processes,
        arguments.batch_size,
        arguments.gradient_accumulation_steps,
    )
    if isinstance(task.examples, Dataset):
        return MapBatches(task.examples, task.collate, place, seed=arguments.seed, workers=arguments.num_workers)
    return StreamBatches(
        task.examples,
        task.collate,
        place,
        seed=arguments.seed,
        buffer=arguments.shuffle_buffer,
        worker=arguments.num_workers > 0,
    )


def _checkpoint(folder: Path, accelerator: Accelerator) -> Path | None:
    """The last whole checkpoint, which the main process chooses for all."""
    found = [checkpoints.last_checkpoint(folder) if accelerator.is_main_process else None]
    chosen: Path | None = broadcast_object_list(found)[0]
    return chosen


def _write(
    task: Task,
    arguments: RunArguments,
    outcome: Outcome,
    folder: Path,
    *,
    data: tuple[str, str],
    command: str,
    processes: int,
) -> list[Result]:
    """Write the final model, measure it as a user would load it, and describe it."""
    name = folder.resolve().name
    with staged(folder) as stage:
        assert outcome.checkpoint is not None
        for file in model_files(outcome.checkpoint):
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(outcome.checkpoint / file, stage / file)
        if task.finish is not None:
            task.finish(stage)
        results = [
            replace(result, model=name) if result.model == stage.name else result
            for result in task.measure(stage, command)
        ]
        write_results(results, stage / RESULTS)
        own = [r for r in results if r.model == name and (r.benchmark, r.metric) in TASK_RESULTS]
        save_eval_results(stage, own, TASK_IDS)
        history = outcome.state.history
        write_json(stage / HISTORY, history)
        save_picture(loss_curve(history, chance=task.chance, title=f"Training of {name}"), stage / CURVES)
        model: Any = task.model
        training = Training(
            arguments=shown_arguments(arguments),
            history=history,
            seconds=outcome.state.seconds,
            processes=processes,
            resumed=outcome.state.starts - 1,
            **task.facts,
        )
        config = AutoConfig.from_pretrained(stage)  # of the finished model
        card = task.write_card(
            config,
            sum(p.numel() for p in model.parameters() if p.requires_grad or not task.adapter),
            training,
            [*results, *_compared(arguments, results)],
            source=data,
            model_id=arguments.push_to_hub or ".",
            title=name,
            version=__version__,
            picture=CURVES,
            data_license=arguments.data_credit,
        )
        save_card(stage, card)
    if arguments.save_strategy == "no":
        for checkpoint in checkpoints.find_checkpoints(folder):
            shutil.rmtree(checkpoint)
    return results


def _compared(arguments: RunArguments, results: Sequence[Result]) -> list[Result]:
    """Results of other runs, without models that were measured now, such as baselines."""
    models = {result.model for result in results}
    files = [Path(file.strip()) for file in (arguments.compare or "").split(",") if file.strip()]
    return [result for file in files for result in read_results(file) if result.model not in models]
