"""Bulk embedding on a cluster: a datatrove pipeline whose tasks compute the chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from bioscan_hf.data.executors import DocumentsPipeline, ExecutorName, PipelineStep, checked_options, run_tasks
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.records import BadRecord
from bioscan_hf.data.whole_files import nobody_else_writes
from bioscan_hf.evaluation.bulk.plan import Dtype, Plan
from bioscan_hf.evaluation.bulk.run import (
    CHUNK_SIZE,
    Written,
    finish,
    of_barcodes,
    prepare,
    write_chunks,
)
from bioscan_hf.evaluation.encoders.base import Encoder

_BARCODES_PER_TASK = 100_000  # half an hour to an hour on a core (benchmarks/results/README.md)


class EmbedChunks(PipelineStep):
    """Computes the chunks of a plan: task r of n computes the chunks r, r + n, r + 2n and so on.

    Args:
        plan: From `prepare`.
        load: Loads the encoder in the task, which may run on another machine.
    """

    type = "BIOSCAN-5M"
    name = "embeddings"

    def __init__(self, plan: Plan, load: Callable[[], Encoder]) -> None:
        super().__init__()
        self.plan = plan
        self.load = load

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Compute the chunks of one task; no documents come in, none go out."""
        with self.track_time():
            computed = write_chunks(self.plan, of_barcodes(self.load()), rank=rank, world_size=world_size)
            self.stat_update("barcodes", value=computed)
        return data


def embed_on_cluster(
    load: Callable[[], Encoder],
    specimens: Dataset,
    output: str | Path,
    *,
    executor: ExecutorName = "local",
    tasks: int | None = None,
    dtype: Dtype = "float32",
    normalise: bool = True,
    on_error: OnError = "raise",
    chunk_size: int = CHUNK_SIZE,
    skipped: Sequence[BadRecord] = (),
    options: Mapping[str, Any] | None = None,
) -> Written | None:
    """Embed on the machines of a cluster; the result is that of `embed_to_parquet`.

    Specimens are read where this is called; tasks compute the chunks. What is not finished, such as a task that failed,
    is done when this, or `embed_to_parquet`, is called again with the same arguments.

    Args:
        load: Loads the encoder, here for its description and in each task; can be pickled, as
            `functools.partial(load_encoder, "my-barcodebert")`.
        specimens: As in `embed_to_parquet`.
        output: As in `embed_to_parquet`, on a disk that all machines see. Logs go to `.<output>.logs` beside it.
        executor: Where the tasks run: processes of this machine, jobs of Slurm, or a Ray cluster (`ray.init` is the
            caller's).
        tasks: Number of tasks; one per 100,000 distinct barcodes unless given, and never more than chunks.
        dtype: As in `embed_to_parquet`.
        normalise: As in `embed_to_parquet`.
        on_error: As in `embed_to_parquet`.
        chunk_size: As in `embed_to_parquet`.
        skipped: As in `embed_to_parquet`.
        options: Further arguments of datatrove's executor, such as `workers` or `gpus_per_task`; Slurm needs
            `partition` and `time`.

    Returns:
        The counts; None with Slurm, where a last job writes the output after the others.

    Raises:
        TypeError: If the executor has no such option, or lacks one.
        ValueError: As in `embed_to_parquet`.
        OSError: As in `embed_to_parquet`.
    """
    options = checked_options(executor, options)
    # With Slurm until the jobs are submitted.
    with nobody_else_writes(Path(output)):
        plan, is_written = prepare(
            of_barcodes(load()),
            specimens,
            Path(output),
            dtype=dtype,
            normalise=normalise,
            on_error=on_error,
            chunk_size=chunk_size,
            skipped=skipped,
        )
        written = Written(plan.output, plan.specimens, plan.barcodes, plan.dimension, plan.skipped)
        if is_written:
            return written
        wanted = tasks or -(-plan.barcodes // _BARCODES_PER_TASK)
        step, tasks = EmbedChunks(plan, load), min(wanted, plan.chunks)
        logs = plan.output.with_name(f".{plan.output.name}.logs")
        if not run_tasks(executor, step, tasks, partial(finish, plan), logs=logs, options=options):
            return None
        finish(plan)
        return written
