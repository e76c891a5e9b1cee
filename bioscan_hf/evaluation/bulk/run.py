"""Embeddings of any number of specimens, in a Parquet file: sharded, resumable, by one process or many.

`datasets.load_dataset("parquet", data_files="E.parquet")` reads them, and so does
`bioscan_hf.Precomputed("E.parquet")`, an encoder that looks specimens up by their process id.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset

from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.records import BadRecord
from bioscan_hf.data.whole_files import nobody_else_writes, whole_file, write_json
from bioscan_hf.evaluation.bulk.chunks import count_barcodes, find_chunks, write_chunk
from bioscan_hf.evaluation.bulk.output import read_plan, write_output
from bioscan_hf.evaluation.bulk.plan import Dtype, Plan
from bioscan_hf.evaluation.bulk.specimens import survey, write_specimens
from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Encoder, Report

CHUNK_SIZE = 8192
"""Distinct barcodes in a chunk, all that is lost when a process is killed: one to three minutes on two cores
(benchmarks/results/README.md). With 768 numbers of float32 each, its file has 25 MB."""

# A process waits for the slowest one, and all wait while one writes the output.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Written:
    """What a bulk embedding wrote.

    Attributes:
        output: File or folder.
        specimens: Number of specimens in it.
        barcodes: Number of distinct barcodes among them.
        dimension: D, the entries of an embedding.
        skipped: Number of specimens that were left out.
        computed: Number of distinct barcodes that were computed by this run, the others by earlier ones.
        seconds: Time that this took, without reading and writing specimens.
    """

    output: Path
    specimens: int
    barcodes: int
    dimension: int
    skipped: int
    computed: int = 0
    seconds: float = 0.0


def embed_to_parquet(
    encoder: Encoder,
    specimens: Dataset | None,
    output: str | Path,
    *,
    dtype: Dtype = "float32",
    normalise: bool = True,
    on_error: OnError = "raise",
    chunk_size: int = CHUNK_SIZE,
    skipped: Sequence[BadRecord] = (),
    report: Report | None = None,
) -> Written:
    """Compute one embedding per specimen, and write them to the disk.

    Each distinct barcode is computed once. What is finished lies in a hidden folder beside the output, until the output
    is written, whole or not at all: killed at any moment, the same call goes on where it was, and the result is the
    same to the byte. If the output is there already, nothing is done. Memory grows by less than 100 bytes per specimen.

    Started by `torchrun`, all processes share the work, each with an encoder of its own on its device; they must see
    the same disk.

    Args:
        encoder: What turns barcodes into vectors, a `BarcodeEncoder`.
        specimens: Needs the columns `processid` and `dna_barcode`; is looked at by the main process only, others may
            give None.
        output: A file `*.parquet`, or else a folder for shards of about 500 MB. Columns: `processid` (string) and
            `embedding` (D numbers); the metadata of the schema say under `bioscan_hf` (JSON) what made them.
        dtype: Type of the numbers.
        normalise: Whether embeddings get length 1.
        on_error: Whether a missing or bad barcode is an error before anything is computed (`raise`), or is left out and
            listed in `<output>.skipped.csv` (`skip`).
        chunk_size: Distinct barcodes that are computed at a time.
        skipped: Records that were left out before (see `load_barcodes`), to be listed, too.
        report: Called in the main process with the number of distinct barcodes done, by all processes, and of all.

    Returns:
        The counts.

    Raises:
        TypeError: If the encoder needs more than barcodes.
        ValueError: If a barcode is bad, there are no specimens, or an unfinished output was begun with other arguments.
        FileExistsError: If there is an output of something else.
        OSError: If the disk is full or cannot be written, or another process writes the same output.
    """
    encoder, state = of_barcodes(encoder), processes()
    if not state.is_main_process:
        return _embed(encoder, None, state)
    if specimens is None:
        raise ValueError("The main process needs the specimens; only others may give None.")
    with nobody_else_writes(Path(output)):
        plan, is_written = prepare(
            encoder,
            specimens,
            Path(output),
            dtype=dtype,
            normalise=normalise,
            on_error=on_error,
            chunk_size=chunk_size,
            skipped=skipped,
        )
        return _embed(encoder, (plan, is_written, count_barcodes(plan)), state, report=report)


def _embed(
    encoder: BarcodeEncoder,
    prepared: tuple[Plan, bool, int] | None,
    state: PartialState,
    *,
    report: Report | None = None,
) -> Written:
    """Do what the main process has prepared, together with the others; its error ends them, too, by torchrun."""
    [agreed] = broadcast_object_list([prepared])
    assert agreed is not None
    plan, is_written, there = agreed
    if is_written:
        return _written(plan)
    start = time.monotonic()
    write_chunks(plan, encoder, rank=state.process_index, world_size=state.num_processes, report=report)
    state.wait_for_everyone()
    seconds = time.monotonic() - start
    if state.is_main_process:
        finish(plan)
    state.wait_for_everyone()
    return _written(plan, computed=plan.barcodes - there, seconds=seconds)


def processes(*, cpu: bool = False) -> PartialState:
    """The processes that `torchrun` started, or this one alone.

    Args:
        cpu: Whether they leave GPUs alone.
    """
    # Where there is no GPU, accelerate takes the processes of torchrun for unrelated ones unless it is told.
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=cpu or (several and not torch.cuda.is_available()), timeout=_PATIENCE)


def prepare(
    encoder: BarcodeEncoder,
    specimens: Dataset,
    output: Path,
    *,
    dtype: Dtype = "float32",
    normalise: bool = True,
    on_error: OnError = "raise",
    chunk_size: int = CHUNK_SIZE,
    skipped: Sequence[BadRecord] = (),
) -> tuple[Plan, bool]:
    """Do what goes before the chunks: check the arguments and the specimens, and write what computing a chunk needs.

    Arguments and errors are those of `embed_to_parquet`.

    Returns:
        The plan, and whether the output is there already.
    """
    _check(dtype, on_error, chunk_size)
    found_output = read_plan(output)
    found = survey(specimens, min_letters=encoder.min_letters, max_letters=encoder.max_letters, on_error=on_error)
    found.skipped[:0] = [(record.processid or "", record.reason) for record in skipped]
    plan = Plan(
        output=output.absolute(),
        encoder=encoder.description,
        dimension=encoder.dimension,
        dtype=dtype,
        normalise=normalise,
        chunk_size=chunk_size,
        specimens=len(found.barcode),
        barcodes=len(found.first),
        skipped=len(found.skipped),
        input=found.digest,
    )
    if found_output is not None:
        if differences := plan.differences(found_output):
            raise FileExistsError(
                f"'{output}' exists and holds other embeddings ({differences}); remove it, or choose another output."
            )
        shutil.rmtree(plan.folder, ignore_errors=True)  # of a process that was killed when all was done
        return plan, True
    if (begun := plan.begun()) and (differences := plan.differences(begun)):
        raise ValueError(
            f"'{output}' was begun with other arguments ({differences}; see '{plan.path}'); give the same ones to go "
            f"on, remove '{plan.folder}' to begin anew, or choose another output."
        )
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_specimens(plan, specimens, found)
    write_json(plan.path, plan.content())
    return plan, False


def of_barcodes(encoder: Encoder) -> BarcodeEncoder:
    """Refuse an encoder that needs more than barcodes.

    Raises:
        TypeError: If it does, such as embeddings that were computed before.
    """
    if not isinstance(encoder, BarcodeEncoder):
        raise TypeError(f"Bulk embedding needs a model or k-mer counts; got {type(encoder).__name__}.")
    return encoder


def _check(dtype: str, on_error: str, chunk_size: int) -> None:
    if dtype not in get_args(Dtype):
        raise ValueError(f"`dtype` must be one of {list(get_args(Dtype))}; got {dtype!r}.")
    if on_error not in get_args(OnError):
        raise ValueError(f"`on_error` must be one of {list(get_args(OnError))}; got {on_error!r}.")
    if chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1; got {chunk_size}.")


def write_chunks(
    plan: Plan, encoder: BarcodeEncoder, *, rank: int = 0, world_size: int = 1, report: Report | None = None
) -> int:
    """Compute the chunks r, r + n, r + 2n and so on that are not there: the part of process r of n.

    Args:
        plan: From `prepare`.
        encoder: The encoder that the plan was made for.
        rank: Number of this process.
        world_size: Number of processes.
        report: As in `embed_to_parquet`.

    Returns:
        Number of distinct barcodes that were computed.

    Raises:
        ValueError: If the encoder is another one, or gives what is no embedding.
        OSError: If a chunk cannot be written.
    """
    own = replace(plan, encoder=encoder.description, dimension=encoder.dimension)
    if differences := own.differences(plan.content()):
        raise ValueError(f"The embedding began with another encoder: {differences}.")
    computed = 0
    for number in range(rank, plan.chunks, world_size):
        there = count_barcodes(plan)

        def count(done: int, total: int, there: int = there) -> None:
            if report:
                report(min(there + done, plan.barcodes), plan.barcodes)

        count(0, 0)
        computed += write_chunk(plan, encoder, number, report=count)
    return computed


def finish(plan: Plan) -> None:
    """Write the output and the list of what was left out, and remove the parts.

    Args:
        plan: From `prepare`, all of whose chunks are there.

    Raises:
        ValueError: If a chunk is missing.
        OSError: If the output cannot be written.
    """
    chunks = find_chunks(plan)
    listed = plan.output.with_name(f"{plan.output.name}.skipped.csv")
    if plan.skipped:
        with whole_file(listed) as file:
            file.write(plan.skipped_path.read_bytes())
    else:
        listed.unlink(missing_ok=True)  # of an output that was removed
    write_output(plan, chunks)
    shutil.rmtree(plan.folder)


def _written(plan: Plan, *, computed: int = 0, seconds: float = 0.0) -> Written:
    return Written(plan.output, plan.specimens, plan.barcodes, plan.dimension, plan.skipped, computed, seconds)
