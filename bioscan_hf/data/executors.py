"""Work in tasks, on this machine, in jobs of Slurm or on a Ray cluster: what all datatrove pipelines of ours share."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

try:
    import multiprocess  # type: ignore[import-untyped]
    from datatrove.data import DocumentsPipeline
    from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
    from datatrove.executor.base import PipelineExecutor
    from datatrove.pipeline.base import PipelineStep
except ImportError as error:
    raise ImportError("The executors need datatrove: `pip install bioscan-hf[cluster]`.") from error

ExecutorName = Literal["local", "slurm", "ray"]

_EXECUTORS: dict[ExecutorName, type[PipelineExecutor]] = {
    "local": LocalPipelineExecutor,
    "slurm": SlurmPipelineExecutor,
    "ray": RayPipelineExecutor,
}


class Last(PipelineStep):
    """What is done once, when all tasks have ended.

    Args:
        work: Can be pickled, as a `functools.partial`.
    """

    type = "BIOSCAN-5M"
    name = "last"

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work = work

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Do it; no documents come in, none go out."""
        self.work()
        return data


def checked_options(executor: ExecutorName, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Complete the options of an executor, and refuse wrong ones, before a long preparation.

    Args:
        executor: Name of the executor.
        options: Arguments of datatrove's executor, such as `workers`; Slurm needs `partition` and `time`.

    Returns:
        The options; on this machine there are as many workers as cores, unless they say otherwise.

    Raises:
        TypeError: If the executor has no such option, or lacks one.
    """
    complete = {**({"workers": os.cpu_count()} if executor == "local" else {}), **(options or {})}
    inspect.signature(_EXECUTORS[executor]).bind(pipeline=[], tasks=1, **complete)
    return complete


def run_tasks(
    executor: ExecutorName,
    step: PipelineStep,
    tasks: int,
    last: Callable[[], object],
    *,
    logs: Path,
    options: Mapping[str, Any],
) -> bool:
    """Run a step in tasks. Results, not logs, must tell what is done: each task is started, also if it ended before.

    Args:
        executor: Where the tasks run.
        step: Its `run` gets the number of the task and how many there are.
        tasks: Number of tasks; may be 0.
        last: With Slurm, done in a job of its own after the others, because this process ends long before them. It gets
            no GPU.
        logs: Folder for the logs.
        options: From `checked_options`.

    Returns:
        Whether all tasks have ended, and `last` is the caller's to do; False with Slurm.
    """

    def made(step: PipelineStep, tasks: int, **more: Any) -> PipelineExecutor:
        folder = str(logs / type(step).__name__)
        return _EXECUTORS[executor](
            [step], tasks=tasks, logging_dir=folder, skip_completed=False, **{**options, **more}
        )

    if executor == "local":
        # The workers are forks of a process that has imported what the step needs: once, not once for each of them.
        multiprocess.get_context("forkserver").set_forkserver_preload([type(step).__module__])
    first = made(step, tasks)
    if executor == "slurm":
        made(Last(last), 1, gpus_per_task=0, depends=first if tasks else None).run()
        return False
    if tasks:
        first.run()
    return True
