"""The user's own files, FASTA, CSV, TSV or Parquet, in the schema of BIOSCAN-5M."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from bioscan_hf.data.features import COLUMN_NAMES, COLUMNS, RANKS, bioscan_features, resolve_split

FASTA_ENDINGS = (".fasta", ".fas", ".fa", ".fna")
TABLE_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
# Names of the same columns in BOLD exports, BIOSCAN-1M and the files of the BarcodeBERT repository.
SYNONYMS = {
    "dna_barcode": ("nucleotides", "nuc", "nucraw", "sequence", "barcode"),
    "dna_bin": ("bin_uri", "uri"),
    "processid": ("process_id", "id"),
    "sampleid": ("sample_id",),
    "country": ("country/ocean",),
    "province_state": ("province", "province/state"),
    "coord-lat": ("lat", "latitude"),
    "coord-lon": ("lon", "longitude"),
    **{rank: (f"{rank}_name",) for rank in RANKS},
}
IUPAC_LETTERS = "ACGTNRYSWKMBDHV"


def read_specimens(path: Path) -> pa.Table:
    """Read specimens from a FASTA, CSV, TSV or Parquet file.

    Barcodes are put in upper case, U is written T, and gaps (`-`, `.`) and white space are left out. Columns that are
    not part of the schema are dropped, absent ones are null. BOLD's FASTA headers
    (`>processid|identification|marker|accession`) give the process id and the identification.

    Args:
        path: File with one of the endings `.fasta`, `.fas`, `.fa`, `.fna`, `.csv`, `.tsv`, `.txt` (tab-separated) or
            `.parquet`; all but the last may be followed by `.gz`.

    Returns:
        The 23 columns of `bioscan_hf.data.features.COLUMNS`, one row per specimen.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not of a known kind, lacks the process id or the barcode, repeats a process id, or
            holds an empty or non-nucleotide barcode.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file: '{path}'. Expected a FASTA, CSV, TSV or Parquet file of specimens.")
    with _named_in_errors(path):
        table = _to_schema(
            _read_fasta(path) if _ending(path) in FASTA_ENDINGS else _read_table(path, FASTA_ENDINGS), path
        )
    _check(table, path)
    return table


def read_splits(path: Path) -> dict[str, str | None]:
    """Read which specimen belongs to which split.

    Args:
        path: CSV or Parquet file (`.csv`, `.csv.gz`, `.tsv`, `.parquet`) with the column `processid` and one other,
            which holds names of BIOSCAN-5M's splits.

    Returns:
        The split of each process id; None where the field is empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the columns are others or a split is not known.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file: '{path}'. Expected a table with `processid` and a split.")
    with _named_in_errors(path):
        table = _read_table(path)
    others = [name for name in table.column_names if name != "processid"]
    if len(others) != 1 or len(table.column_names) != 2:
        raise ValueError(f"'{path}' must have the column 'processid' and one with the split; got {table.column_names}.")
    return dict(zip(table["processid"].to_pylist(), _one_split_each(table[others[0]], path).to_pylist(), strict=True))


@contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """Errors of the readers say what is wrong, but not in which file."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"'{path}' cannot be read: {str(error).splitlines()[0]}") from error


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def _open_text(path: Path) -> TextIO:
    return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig")


def _fasta_records(lines: TextIO, path: Path) -> Iterator[tuple[str, str]]:
    header: str | None = None
    letters: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(">"):
            if header is not None:
                yield header, "".join(letters)
            header, letters = line[1:].strip(), []
        elif header is None and line.strip():
            raise ValueError(f"'{path}', line {number}: expected '>' and a process id; got {line.strip()[:40]!r}.")
        else:
            letters.append(line.strip())
    if header is not None:
        yield header, "".join(letters)


def _read_fasta(path: Path) -> pa.Table:
    rows = []
    with _open_text(path) as lines:
        for header, letters in _fasta_records(lines, path):
            fields = [field.strip() for field in header.split("|")]
            words = fields[1].split() if len(fields) > 1 else []
            rows.append(
                {
                    "processid": fields[0].split()[0] if fields[0] else None,
                    "dna_barcode": letters,
                    "taxon": " ".join(words) or None,
                    "genus": words[0] if len(words) > 1 else None,
                    "species": " ".join(words) if len(words) > 1 else None,
                }
            )
    columns = ("processid", "dna_barcode", "taxon", "genus", "species")
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in columns]))


def _read_table(path: Path, other_endings: tuple[str, ...] = ()) -> pa.Table:
    """Read a table; an error names `other_endings`, which the caller reads, too."""
    if _ending(path) == ".parquet":
        return pq.read_table(path)
    if _ending(path) not in TABLE_DELIMITERS:
        endings = ", ".join([*other_endings, *TABLE_DELIMITERS, ".parquet"])
        raise ValueError(f"'{path}' is of an unknown kind; expected one of the endings {endings}.")
    delimiter = TABLE_DELIMITERS[_ending(path)]
    # All as text: type inference would turn the chunk '00' into a number. `_to_schema` casts.
    with _open_text(path) as lines:
        names = next(csv.reader(lines, delimiter=delimiter), [])
    if not names:
        raise ValueError(f"'{path}' is empty; expected a line of column names and one line per specimen.")
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def _to_schema(table: pa.Table, path: Path) -> pa.Table:
    by_name = {name.lower(): name for name in reversed(table.column_names)}
    schema = bioscan_features(image=False).arrow_schema
    columns = []
    for column in COLUMNS:
        candidates = [by_name[n] for n in (column.name.lower(), *SYNONYMS.get(column.name, ())) if n in by_name]
        if not candidates and column.name in ("processid", "dna_barcode"):
            raise ValueError(f"'{path}' needs the columns 'processid' and 'dna_barcode'; found {table.column_names}.")
        field = schema.field(column.name)
        columns.append(_cast(table[candidates[0]], field.type) if candidates else pa.nulls(len(table), field.type))
    result = pa.table(columns, schema=schema)
    for name, cleaned in (
        ("dna_barcode", _clean_barcodes(result["dna_barcode"])),
        ("split", _one_split_each(result["split"], path)),
    ):
        result = result.set_column(COLUMN_NAMES.index(name), schema.field(name), cleaned)
    return result


def _cast(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_integer(dtype) and not pa.types.is_integer(column.type):
        # The released CSV writes integers as '146774.0', as pandas does in a column with gaps.
        column = column.cast(pa.float64())
    return column.cast(dtype)


def _clean_barcodes(barcodes: pa.ChunkedArray) -> pa.ChunkedArray:
    upper = pc.utf8_upper(pc.replace_substring_regex(barcodes, r"[\s\-.]", ""))
    return pc.replace_substring(upper, "U", "T")


def _one_split_each(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    """Check the names of splits, and put aliases right."""
    names = {}
    for value in pc.unique(column.drop_null()).to_pylist():
        try:
            names[value] = resolve_split(value)
        except ValueError as error:
            raise ValueError(f"'{path}': {error}") from error
        if len(names[value]) != 1:
            raise ValueError(f"'{path}' must name one split per specimen; got {value!r}.")
    return pa.chunked_array([[names[value][0] if value else None for value in column.to_pylist()]], pa.string())


def _check(table: pa.Table, path: Path) -> None:
    if not len(table):
        raise ValueError(f"'{path}' holds no specimens.")
    processids, barcodes = table["processid"], table["dna_barcode"]
    if processids.null_count:
        row = pc.index(pc.is_null(processids), True).as_py() + 1
        raise ValueError(f"'{path}', record {row}: the process id is empty; every specimen needs one.")
    if pc.count_distinct(processids).as_py() < len(table):
        counts = pc.value_counts(processids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise ValueError(f"'{path}': the process id {repeated!r} occurs more than once; process ids must be unique.")
    valid = pc.fill_null(pc.match_substring_regex(barcodes, f"^[{IUPAC_LETTERS}]+$"), False)
    row = pc.index(valid, False).as_py()
    if row >= 0:
        processid, barcode = processids[row].as_py(), barcodes[row].as_py()
        if not barcode:
            raise ValueError(f"'{path}': the barcode of {processid!r} is empty; expected nucleotide letters.")
        at, letter = next((i, c) for i, c in enumerate(barcode) if c not in IUPAC_LETTERS)
        raise ValueError(
            f"'{path}': the barcode of {processid!r} has {letter!r} at position {at + 1}; expected nucleotide letters "
            f"({IUPAC_LETTERS}, gaps)."
        )
