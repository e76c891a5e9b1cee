"""The specimens of a bulk embedding: read from anywhere, checked, and written as distinct barcodes."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from bioscan_hf.data.anywhere import is_own, load_anywhere
from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.metadata import OnError
from bioscan_hf.data.records import BadRecord
from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.evaluation.bulk.plan import Plan
from bioscan_hf.models.pretrained import SMALL_CLIBD
from bioscan_hf.tokenization.letters import IUPAC_LETTERS, MAX_LETTERS, why_no_barcode

_COLUMNS = ["processid", "dna_barcode"]
_ROWS_AT_A_TIME = 20_000


def load_barcodes(
    source: str | Path,
    *,
    split: str | None = None,
    on_error: OnError = "raise",
    skipped: list[BadRecord] | None = None,
) -> Dataset:
    """Load process ids and barcodes from wherever specimens may lie; no images are read.

    Args:
        source: A FASTA, CSV, TSV or Parquet file or a folder of images with a table (see `load_specimens`), a folder
            with the released archives, unpacked or converted, or a repository on the Hub (see `load_dataset`).
        split: As in `load_dataset`, by default all; of a file those with this value in the column `split`.
        on_error: As in `load_specimens`.
        skipped: Takes the bad records of a file that were left out; those of a release are named in a warning.

    Returns:
        The columns `processid` and `dna_barcode`, whole: an encoder cuts barcodes itself.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a record is bad, there is nothing of the split, or there are only images.
        OSError: If the Hub does not answer.
    """
    specimens = load_anywhere(source, _COLUMNS, split=split, on_error=on_error, skipped=skipped)
    if is_own(source) and Path(source).expanduser().is_dir() and not any(specimens["dna_barcode"]):
        raise ValueError(
            f"The folder '{source}' has images and no barcodes, and only barcodes are embedded here. Embed images in "
            f"Python: `bioscan_hf.load_image_encoder('{SMALL_CLIBD}').embed(bioscan_hf.load_specimens('{source}'))`."
        )
    return specimens


@dataclass(frozen=True)
class Survey:
    """What a look at all specimens finds; about 10 bytes per specimen.

    Attributes:
        kept: bool (N,), whether a specimen is embedded.
        first: Rows, among the kept ones, of the first specimen of each distinct barcode, in ascending order.
        barcode: int32, for each kept specimen, the number of its barcode, which counts in the order of `first`.
        skipped: Process id and reason of the other specimens.
        digest: Digest of the process ids and barcodes that are kept.
    """

    kept: np.ndarray
    first: np.ndarray
    barcode: np.ndarray
    skipped: list[tuple[str, str]]
    digest: str


def survey(
    specimens: Dataset, *, min_letters: int = 1, max_letters: int | None = None, on_error: OnError = "raise"
) -> Survey:
    """Look for bad and for equal barcodes.

    Args:
        specimens: Needs the columns `processid` and `dna_barcode`.
        min_letters: Letters that a barcode needs (see `why_no_barcode`).
        max_letters: Letters that count, None for all: barcodes that agree in them are taken for equal.
        on_error: Whether a bad barcode is an error (`raise`), or is left out (`skip`).

    Raises:
        ValueError: If a column is missing or is no text, a process id is missing, a barcode is bad, or none is good.
    """
    kept, hashes, skipped = [], [], []
    names, letters = hashlib.sha256(), hashlib.sha256()
    for processids, barcodes in _batches(specimens):
        reasons = _reasons(barcodes, min_letters)
        for i, reason in reasons.items():
            skipped.append((processids[i].as_py(), reason))
            if on_error == "raise":
                raise ValueError(
                    f"{skipped[0][0]!r} cannot be embedded: {reason}. Correct it, or leave such specimens out with "
                    "`--on-error skip` (in Python `on_error='skip'`)."
                )
        kept.append(np.isin(np.arange(len(barcodes)), list(reasons), invert=True))
        mask = pa.array(kept[-1])
        hashes.append(barcode_hashes(barcodes.filter(mask), max_nucleotides=max_letters))
        names.update(barcode_hashes(processids.filter(mask)).tobytes())
        letters.update(hashes[-1].tobytes())
    if not any(map(len, hashes)):
        why = f": all {len(skipped):,} are bad; of {skipped[0][0]!r}, {skipped[0][1]}" if skipped else ""
        raise ValueError(f"There are no specimens to embed{why}.")
    first, barcode = _distinct(np.concatenate(hashes))
    digest = hashlib.sha256(names.digest() + letters.digest()).hexdigest()[:16]
    return Survey(np.concatenate(kept), first, barcode, skipped, digest)


def write_specimens(plan: Plan, specimens: Dataset, found: Survey) -> None:
    """Write what a process needs to compute a chunk, and what the output needs: the files that `Plan` names.

    Raises:
        OSError: If they cannot be written.
    """
    with whole_file(plan.skipped_path) as file:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("processid", "reason"), *found.skipped])
        file.write(text.getvalue().encode())
    is_first = np.zeros(plan.specimens, bool)
    is_first[found.first] = True
    rows = pa.schema({"processid": pa.string(), "barcode": pa.int32()})
    distinct = pa.schema({"processid": pa.string(), "dna_barcode": pa.string()})
    with (
        whole_file(plan.specimens_path) as rows_file,
        whole_file(plan.barcodes_path) as distinct_file,
        pa.ipc.new_file(rows_file, rows) as rows_writer,
        pa.ipc.new_file(distinct_file, distinct) as distinct_writer,
    ):
        waiting, row, place = distinct.empty_table(), 0, 0
        for processids, barcodes in _batches(specimens):
            mask = pa.array(found.kept[row : row + len(barcodes)])
            row += len(barcodes)
            processids, barcodes = processids.filter(mask), barcodes.filter(mask)
            here = slice(place, place + len(barcodes))
            place = here.stop
            rows_writer.write_table(pa.table([processids, pa.array(found.barcode[here])], schema=rows))
            new = pa.table([processids, barcodes], schema=distinct).filter(pa.array(is_first[here]))
            waiting = pa.concat_tables([waiting, new])
            while len(waiting) >= plan.chunk_size:
                distinct_writer.write_batch(_batch(waiting.slice(0, plan.chunk_size)))
                waiting = waiting.slice(plan.chunk_size)
        if len(waiting):
            distinct_writer.write_batch(_batch(waiting))


def _batch(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]


def _batches(specimens: Dataset) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Process ids and barcodes, some thousand at a time."""
    for name in _COLUMNS:
        if name not in specimens.column_names:
            raise ValueError(f"The specimens need the columns {_COLUMNS}; they have {specimens.column_names}.")
        dtype = getattr(specimens.features[name], "dtype", specimens.features[name])
        if dtype not in ("string", "large_string", "null"):
            raise ValueError(f"The column {name!r} must be text; its values are of the type {dtype}.")
    row = 0
    for table in specimens.select_columns(_COLUMNS).with_format("arrow").iter(_ROWS_AT_A_TIME):
        processids, barcodes = (table[name].cast(pa.string()).combine_chunks() for name in _COLUMNS)
        if processids.null_count:
            place = row + pc.index(processids.is_null(), True).as_py()
            raise ValueError(f"The specimen in row {place} has no process id.")
        row += len(table)
        yield processids, barcodes


def _reasons(barcodes: pa.Array, min_letters: int) -> dict[int, str]:
    """What is wrong with barcodes, by their place; almost all are seen to be right without a look at each."""
    lengths = pc.binary_length(barcodes)
    in_range = pc.and_(pc.greater_equal(lengths, min_letters), pc.less_equal(lengths, MAX_LETTERS))
    plain = pc.and_(in_range, pc.equal(pc.binary_length(pc.ascii_trim(barcodes, IUPAC_LETTERS)), 0))
    reasons = {}
    for i in np.flatnonzero(~np.asarray(pc.fill_null(plain, False))).tolist():
        reason = why_no_barcode(barcodes[i].as_py(), min_letters=min_letters)
        if reason is not None:
            reasons[i] = reason
    return reasons


def _distinct(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of each distinct value, in ascending order, and for each value the number of its place."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), np.int32)
    number[order] = np.arange(len(first), dtype=np.int32)
    return first[order], number[inverse]
