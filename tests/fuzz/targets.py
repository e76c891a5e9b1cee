"""What is fuzzed, by name: each target takes the content of a file, and fails only where the product is at fault.

Used by the tests of hypothesis beside this file and by `coverage_guided.py`.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from bioscan_hf.data.features import COLUMN_NAMES, bioscan_features
from bioscan_hf.data.image_folder import read_image_folder
from bioscan_hf.data.inputs import read_specimens, read_splits
from bioscan_hf.data.metadata import find_metadata, read_metadata
from bioscan_hf.data.pixels import MAX_PIXELS, decode_image
from bioscan_hf.data.records import BadRecord
from bioscan_hf.data.zips import LARGEST_MEMBER, ZipIndex, climbs_out
from bioscan_hf.identification.queries import read_queries
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.tokenization.letters import IUPAC_LETTERS

LONGEST_MESSAGE = 4_000
_SCHEMA = bioscan_features(image=False).arrow_schema
_PROCESSID = re.compile(r"[!-.0-\[\]-~]+")
_BARCODE = re.compile(f"[{IUPAC_LETTERS}]+")


class Target(NamedTuple):
    """A way into the package.

    Attributes:
        run: Takes the content of a file and an empty folder; raises if the product is at fault.
        seeds: Contents that are right, and that it is worth to start from.
    """

    run: Callable[[bytes, Path], None]
    seeds: tuple[bytes, ...]


@contextmanager
def only_told(path: Path) -> Iterator[None]:
    """Let our own errors pass: they name the file, in one line that is fit for a terminal. So must warnings be."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests left open
        try:
            yield
        except ValueError as error:
            assert type(error) is ValueError, f"{type(error).__name__}: {error}"
            assert path.name in str(error), f"names no file: {error}"
            _check_message(str(error))
    for warning in caught:
        assert warning.category is UserWarning, f"{warning.category.__name__}: {warning.message}"
        _check_message(str(warning.message))


def _check_message(message: str) -> None:
    assert message.isprintable(), f"not fit for a terminal: {message!r}"
    assert len(message) <= LONGEST_MESSAGE, f"{len(message)} characters: {message[:200]}"


def _check_table(table: pa.Table, *, barcode_needed: bool = True) -> None:
    """What `read_specimens` promises of each row."""
    assert table.schema == _SCHEMA and len(table)
    rows = table.to_pylist()
    processids = [row["processid"] for row in rows]
    assert all(map(_PROCESSID.fullmatch, processids)) and len(set(processids)) == len(processids)
    for row in rows:
        barcode = row["dna_barcode"]
        assert (barcode is None and not barcode_needed) or _BARCODE.fullmatch(barcode)
        for name, limit in (("coord-lat", 90), ("coord-lon", 180)):
            assert row[name] is None or abs(row[name]) <= limit, row[name]
        for value in row.values():
            assert not isinstance(value, float) or math.isfinite(value), row
            assert not isinstance(value, str) or value.isprintable(), row


def _specimens(name: str) -> Callable[[bytes, Path], None]:
    """Read the file in all ways."""

    def run(content: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(content)
        strict = lenient = None
        skipped: list[BadRecord] = []
        with only_told(path):
            strict = read_specimens(path)
        with only_told(path):
            lenient = read_specimens(path, on_error="skip", skipped=skipped)
        has_images = name == "a.parquet"
        for table in (strict, lenient):
            if table is not None:
                _check_table(table, barcode_needed=not has_images)
        if strict is not None:
            assert lenient is not None and lenient.equals(strict) and not skipped
        good = 0 if lenient is None else len(lenient)
        with only_told(path):
            _check_queries(path, good)

    return run


def _check_queries(path: Path, good: int) -> None:
    count = usable = 0
    for queries in read_queries(path, image=True, batch_size=3):
        assert len({len(column) for column in queries if column is not None}) == 1
        barcodes = [barcode for barcode in queries.barcodes if barcode is not None]
        assert all(map(_BARCODE.fullmatch, barcodes))
        KmerEncoder(4)(barcodes)
        for places in (queries.latitudes, queries.longitudes):
            assert not np.isinf(places).any()
        for processid, note in zip(queries.processids, queries.notes, strict=True):
            assert processid and (note is None or note.isprintable()), (processid, note)
            usable += note is None
        count += len(queries.processids)
    assert count >= good, "a record is lost"


def _splits(content: bytes, folder: Path) -> None:
    path = folder / "splits.csv"
    path.write_bytes(content)
    with only_told(path):
        read_splits(path)


def _metadata(name: str) -> Callable[[bytes, Path], None]:
    def run(content: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(content)
        strict = lenient = None
        with only_told(path):
            strict = pa.concat_tables(read_metadata(find_metadata(path)))
        with only_told(path):
            lenient = pa.concat_tables(read_metadata(find_metadata(path), on_error="skip"))
        for table in (strict, lenient):
            if table is not None:
                _check_table(table.select(COLUMN_NAMES))
        if strict is not None:
            assert lenient is not None and lenient.equals(strict)

    return run


def _zip(content: bytes, folder: Path) -> None:
    path = folder / "a.zip"
    path.write_bytes(content)
    with only_told(path):
        index = ZipIndex(path)
        names = [*ZIP_MEMBERS, "absent.jpg"]
        sizes = index.sizes(names)
        for name, size in zip(names, sizes.tolist(), strict=True):
            with only_told(path):
                (read,) = index.read([name])
                assert (size == -1) if read is None else len(read) == size <= LARGEST_MEMBER
                assert not climbs_out(name)


def _image(content: bytes, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is odd in a file
        try:
            pixels = decode_image(content)
        except ValueError as error:
            _check_message(str(error))
            return
    height, width, channels = pixels.shape
    assert channels == 3 and pixels.dtype == np.uint8 and 0 < height * width <= MAX_PIXELS


def _image_folder(content: bytes, folder: Path) -> None:
    """The image of a folder that has a table."""
    (folder / "A1.jpg").write_bytes(content)
    (folder / "metadata.csv").write_text("processid,genus\nA1,Aus\n", encoding="utf-8")
    with only_told(folder / "metadata.csv"):
        read_image_folder(folder)


def _image_table(content: bytes, folder: Path) -> None:
    """The table of a folder of images."""
    (folder / "A1.jpg").write_bytes(JPEG)
    (folder / "metadata.csv").write_bytes(content)
    with only_told(folder / "metadata.csv"):
        read_image_folder(folder)
    with only_told(folder / "metadata.csv"):
        table = read_image_folder(folder, on_error="skip")
        _check_table(table.select(COLUMN_NAMES), barcode_needed=False)
        assert {row["path"] for row in table["image"].to_pylist()} == {str(folder / "A1.jpg")}


ZIP_MEMBERS = {"a/1.jpg": b"one" * 20, "a/2.jpg": b"two" * 30, "a/3.jpg": b"", "b/4.txt": b"4" * 500}


def made_zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _made_image(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    pixels = (np.arange(24 * 20 * 4) % 251).astype(np.uint8).reshape(24, 20, 4)
    PIL.Image.fromarray(pixels, "RGBA").convert(mode).save(file, kind, **options)
    return file.getvalue()


def _made_parquet(table: pa.Table, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


FASTA = (
    b">A1|Aus bus|COI-5P|GB1\nACGTAACC\nacg-t\n\n>B1 some words\nUUUN\n>C1;tax=k:Animalia,g:Aus,s:Aus_bus;\nACGTN\n",
    b">A1|COI-5P|Kenya|Animalia,Arthropoda,Insecta,Diptera,Aidae,None,None,Aus,Aus bus,None\nACGT\n"
    b">A2|28S|Kenya|Animalia,Arthropoda,Insecta,Diptera,Aidae,None,None,Aus,Aus bus,None\nGGGG\n",
    b">A1\nACGT\n>A1\nACGT\n>\nACGT\n>A2\n\n>A3\nMFINRWLF*\n",
)
CSV = (
    b"processid,dna_barcode,species,genus,coord-lat,coord-lon,split,chunk\n"
    b"A1,ACGT,Aus bus,Aus,-1.5,30,train,1a\nA2,acg-t,,Aus,,,test,\nA3,ACGE,Aus bus,Aus,91,0,val,00\nA1,AC,,,,,,\n",
    b'processid,nuc,marker_code,coord,country/ocean\n"A1","ACGT",COI-5P,"(-1.5, 30)","a ""b"" c"\nA2,AC,28S,"1, 2",\n',
    b"processid,dna_barcode\nA1\nA2,ACGT,x\nA3,\n",
)
TSV = (
    *(text.replace(b",", b"\t") for text in CSV[:1]),
    b'processid\tmarker_code\tnuc\tcollectors\nA1\tCOI-5P\tAC\t"\n',
)
SPLITS = (b"processid,split\nA1,train\nA2,val\nA3,\n", b"processid,fold\nA1,test_unseen\n")
IMAGE_TABLE = (
    b"processid,file_name,dna_barcode,genus\nA1,A1.jpg,ACGT,Aus\n",
    b"file_name,genus\n./A1.jpg,Aus\n",
    b"processid\nA1\nA2\n",
)
JPEG = _made_image("JPEG")
IMAGES = (
    JPEG,
    *(_made_image("JPEG", "L"), _made_image("JPEG", "CMYK"), _made_image("JPEG", progressive=True)),
    *(_made_image("PNG"), _made_image("PNG", "RGBA"), _made_image("PNG", "P"), _made_image("PNG", "1")),
    *(
        _made_image("TIFF"),
        _made_image("TIFF", compression="tiff_lzw"),
        _made_image("WEBP"),
        _made_image("WEBP", "RGBA"),
    ),
    *(_made_image("TIFF", compression="tiff_adobe_deflate"), _made_image("WEBP", lossless=True)),
)
_TABLE = pa.table(
    {
        "processid": ["A1", "A2", "A3"],
        "dna_barcode": ["ACGT", "acgt", None],
        "species": ["Aus bus", None, "Aus cus"],
        "coord-lat": [1.5, None, 3.0],
        "image": [{"bytes": JPEG, "path": "a.jpg"}, None, {"bytes": None, "path": "b.jpg"}],
    }
)
PARQUET = (
    _made_parquet(_TABLE),
    _made_parquet(_TABLE.drop_columns("image"), compression="none", use_dictionary=False),
    _made_parquet(_TABLE.drop_columns("image"), compression="zstd", data_page_version="2.0", row_group_size=1),
)


def _row(processid: str, split: str, **fields: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMN_NAMES, "")
    return row | {"processid": processid, "split": split, "dna_barcode": "ACGT", "genus": "Aus"} | fields


ROWS = (
    _row("A1", "train", species="Aus bus", **{"coord-lat": "-1.5", "coord-lon": "30", "chunk": "1a"}),
    _row("A2", "pretrain", image_measurement_value="146774.0", country="Costa Rica"),
    _row("A3", "val", dna_bin="BOLD:AAA0001"),
)


def _csv_of(rows: tuple[dict[str, object], ...]) -> bytes:
    lines = [",".join(COLUMN_NAMES), *(",".join(str(row[name]) for name in COLUMN_NAMES) for row in rows)]
    return "\n".join([*lines, ""]).encode()


METADATA_CSV = (_csv_of(ROWS), _csv_of(ROWS[:1]).replace(b"Aus bus", b'"Aus, ""b"" us"'))
METADATA_JSON = (json.dumps(ROWS).encode(), json.dumps({"@context": {}, "@graph": ROWS}, indent=1).encode())
_NAME = "bioscan5m/metadata/csv/BIOSCAN_5M_Insect_Dataset_metadata.csv"
METADATA_ZIP = tuple(
    made_zip({_NAME: METADATA_CSV[0]}, method) for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
)

TARGETS = {
    "fasta": Target(_specimens("a.fasta"), FASTA),
    "fasta_gz": Target(_specimens("a.fa.gz"), tuple(map(gzip.compress, FASTA))),
    "csv": Target(_specimens("a.csv"), CSV),
    "csv_gz": Target(_specimens("a.csv.gz"), tuple(map(gzip.compress, CSV))),
    "tsv": Target(_specimens("a.tsv"), TSV),
    "parquet": Target(_specimens("a.parquet"), PARQUET),
    "splits": Target(_splits, SPLITS),
    "metadata_csv": Target(_metadata("BIOSCAN_5M_Insect_Dataset_metadata.csv"), METADATA_CSV),
    "metadata_json": Target(_metadata("BIOSCAN_5M_Insect_Dataset_metadata.jsonld"), METADATA_JSON),
    "metadata_zip": Target(_metadata("BIOSCAN_5M_metadata.zip"), METADATA_ZIP),
    "zip": Target(_zip, (made_zip(ZIP_MEMBERS), made_zip(ZIP_MEMBERS, zipfile.ZIP_STORED))),
    "image": Target(_image, IMAGES),
    "image_folder": Target(_image_folder, IMAGES),
    "image_table": Target(_image_table, IMAGE_TABLE),
}
