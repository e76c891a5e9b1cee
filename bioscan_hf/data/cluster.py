"""Conversion on a cluster: a datatrove pipeline whose tasks write the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bioscan_hf.data.conversion import finish, prepare
from bioscan_hf.data.executors import DocumentsPipeline, ExecutorName, PipelineStep, checked_options, run_tasks
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.plan import SHARD_BYTES, Plan, Report
from bioscan_hf.data.shards import write_shard
from bioscan_hf.data.whole_files import nobody_else_writes


class WriteShards(PipelineStep):
    """Writes the shards of a plan: task r of n writes the shards r, r + n, r + 2n and so on.

    Args:
        plan: From `prepare`.
    """

    type = "BIOSCAN-5M"
    name = "image shards"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write the shards of one task; no documents come in, none go out."""
        for index in range(rank, len(self.plan.shards or ()), world_size):
            with self.track_time("shard"):
                self.stat_update("images", value=write_shard(self.plan, index), unit="shard")
        return data


def convert_on_cluster(
    root: Path,
    folder: Path,
    packages: Sequence[str] | None = None,
    *,
    executor: ExecutorName = "local",
    on_error: OnError = "raise",
    shard_bytes: int = SHARD_BYTES,
    report: Report | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Convert a release on the machines of a cluster; the result is that of `convert`, to the byte.

    The metadata are converted where this is called, then each shard is a task. A task that failed, and a shard that is
    not finished, is done when this is called again.

    Args:
        root: As in `convert`; like `folder`, on a disk that all machines see.
        folder: As in `convert`. Logs go to `.logs` in it.
        packages: As in `convert`.
        executor: Where the tasks run: processes of this machine, jobs of Slurm, or a Ray cluster (`ray.init` is the
            caller's).
        on_error: As in `convert`.
        shard_bytes: As in `convert`.
        report: As in `convert`.
        options: Further arguments of datatrove's executor, such as `workers`; Slurm needs `partition` and `time`.

    Returns:
        The content of `report.json`; None with Slurm, where a last job writes it after the others.

    Raises:
        TypeError: If the executor has no such option, or lacks one.
        ValueError: As in `convert`.
        OSError: As in `convert`.
    """
    options = checked_options(executor, options)
    # With Slurm until the jobs are submitted.
    with nobody_else_writes(folder):
        plan = prepare(
            root.absolute(), folder.absolute(), packages, on_error=on_error, shard_bytes=shard_bytes, report=report
        )
        ended = run_tasks(
            executor,
            WriteShards(plan),
            len(plan.shards or ()),
            partial(finish, plan),
            logs=plan.folder / ".logs",
            options=options,
        )
        return finish(plan, report=report) if ended else None
