"""Fine-tuning as a part of benchmark 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bioscan_hf.evaluation.benchmarks.paper import FINE_TUNED
from bioscan_hf.evaluation.results import Result, read_results
from bioscan_hf.training.arguments import FinetuningArguments
from bioscan_hf.training.checkpoints import find_checkpoints
from bioscan_hf.training.classification import finetuning_task
from bioscan_hf.training.run import RESULTS, run
from bioscan_hf.training.run_folder import RunFinished


def finetuned_results(
    arguments: FinetuningArguments,
    name: str,
    *,
    command: str,
    report: Callable[[str, int, int], None],
    say: Callable[[str], None],
) -> list[Result]:
    """Fine-tune a model to name species, or go on with it, or read what came of it before.

    Args:
        arguments: Of the run; its folder may hold an earlier one of the same.
        name: Of the model in the results.
        command: The command line.
        report: Told of the progress.
        say: Told what else is going on.

    Returns:
        Results of the question `FINE_TUNED`.

    Raises:
        InterruptedError: If a signal ended the training; the same call goes on.
        ValueError: As `run`.
        OSError: As `run`.
    """
    folder = arguments.output
    try:
        done = run(
            finetuning_task,
            replace(arguments, resume=bool(find_checkpoints(folder)) or (folder / RESULTS).exists()),
            command=command,
            report=lambda step, steps, _: report(f"fine-tuning {name}, steps", step, steps),
            say=say,
        )
    except RunFinished:
        results = read_results(folder / RESULTS)
    else:
        if done.outcome.ended == "interrupted":
            raise InterruptedError(f"The fine-tuning of {name} was interrupted; the same command goes on with it.")
        results = done.results
    return [replace(result, model=name) for result in results if result.benchmark == FINE_TUNED]
