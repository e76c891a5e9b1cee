"""The metadata of a release, CSV, JSON-LD and in its archive, and checks of what they were converted to."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bioscan_hf.data.json_records import LONGEST_RECORD
from bioscan_hf.data.metadata import LONGEST_HEADER, Skipped, find_metadata, read_metadata
from bioscan_hf.data.metadata_conversion import convert_metadata
from bioscan_hf.data.verification import verify
from tests.fuzz.helpers import growth, memory_below, tried
from tests.fuzz.mutations import encoded, mutated
from tests.fuzz.targets import METADATA_CSV, METADATA_JSON, ROWS, TARGETS, made_zip
from tests.made_release import make_release

CSV_NAME, JSON_NAME = (f"BIOSCAN_5M_Insect_Dataset_metadata.{kind}" for kind in ("csv", "jsonld"))


@tried(50)
@given(content=encoded(mutated(METADATA_CSV)))
@example(content=METADATA_CSV[0] + b"A9,\xff\n")  # Arrow printed the traceback of an error in our handler
@example(content=METADATA_CSV[0].replace(b"-1.5", b"nan"))
def test_any_csv(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["metadata_csv"].run(content, tmp_path_factory.mktemp("metadata"))


def _json(**fields: Any) -> bytes:
    return json.dumps([ROWS[0] | fields]).encode()


@tried(50)
@given(content=encoded(mutated(METADATA_JSON)))
@example(content=b"[" * 100_000)  # RecursionError
@example(content=b'[{"a":' + b"[" * 100_000)
@example(content=b'[{"a":' + b"1" * 5_000 + b"}]")  # an error of Python that named no file
@example(content=_json(species="\ud800"))  # UnicodeEncodeError
@example(content=_json(species={"a": ["b"]}))  # a name was "{'a': ['b']}"
@example(content=_json(**{"coord-lat": float("nan"), "area_fraction": float("inf")}))
@example(content=_json(genus="Aus\nbus", species="Aus\u2028bus"))  # two lines in the list of names, which is numbered
@example(content=b"\xef\xbb\xbf" + METADATA_JSON[0])
@example(content=METADATA_JSON[0][:-40])
def test_any_json(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["metadata_json"].run(content, tmp_path_factory.mktemp("metadata"))


@tried(50)
@given(content=mutated(TARGETS["metadata_zip"].seeds))
@example(content=made_zip({f"met\x1b[2J/{CSV_NAME}": b"x"}))  # found by atheris: the member's name was in the message
def test_any_archive(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    TARGETS["metadata_zip"].run(content, tmp_path_factory.mktemp("metadata"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression_are_refused(method: int, tmp_path: Path) -> None:
    # The header of LZMA says how many gigabytes to take.
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr(CSV_NAME, METADATA_CSV[0])
    with pytest.raises(ValueError, match=rf"a\.zip.*is compressed by method {method}; expected stored or deflated"):
        list(read_metadata(find_metadata(tmp_path / "a.zip")))


@pytest.mark.parametrize("kind", ["header", "record"])
def test_a_line_without_end_takes_little_memory(kind: str, tmp_path: Path) -> None:
    # Arrow ended the process when there were millions of columns.
    text = b"ab," if kind == "header" else METADATA_CSV[0] + b'A4,"'
    (tmp_path / CSV_NAME).write_bytes(text + b"ab," * (8 << 20))
    reason = (
        f"no line of column names in its first {LONGEST_HEADER:,} bytes" if kind == "header" else "expected 23 fields"
    )
    with memory_below(300), pytest.raises(ValueError, match=rf"metadata\.csv'.*{reason}"):
        list(read_metadata(find_metadata(tmp_path / CSV_NAME)))


@pytest.mark.parametrize("more", [" ", ",", "x", "[1,"])
def test_a_json_record_without_end_takes_little_memory(more: str, tmp_path: Path) -> None:
    start = '[{"a":"' if more == "x" else "["
    (tmp_path / JSON_NAME).write_text(start + more * ((LONGEST_RECORD + (4 << 20)) // len(more)))
    with memory_below(150), pytest.raises(ValueError, match=r"metadata\.jsonld', record 1: "):
        list(read_metadata(find_metadata(tmp_path / JSON_NAME)))


@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).map(str.strip).filter(bool),
        min_size=1,
        max_size=4,
    )
)
@tried(15)
@example(names=["Aus\nbus", "B", "C\x85d", "E\u2028f"])
def test_each_name_is_a_line_of_the_vocabulary(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("metadata")
    rows = [ROWS[0] | {"processid": f"A{i}", "genus": name} for i, name in enumerate(names)]
    (folder / JSON_NAME).write_text(json.dumps(rows))
    skipped: list[Skipped] = []
    try:
        convert_metadata(find_metadata(folder / JSON_NAME), folder / "to", on_error="skip", skipped=skipped)
    except ValueError:
        assert all(any(ord(letter) < 32 or 126 < ord(letter) < 160 for letter in name) for name in names)
        return
    found = pq.read_table(folder / "to" / "metadata", columns=["genus"])["genus"].drop_null().to_pylist()
    assert (folder / "to" / "labels" / "genus.txt").read_text(encoding="utf-8").splitlines() == sorted(set(found))
    assert len(found) + len(skipped) == len(names)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    make_release(folder / "release")
    convert_metadata(find_metadata(folder / "release"), folder / "to")
    return folder / "to"


_TABLES = [
    pa.table({"processid": [None], "species": ["x"], "dna_barcode": ["A"], "split": ["train"], "chunk": ["1"]}),
    pa.table({"processid": ["A1"], "species": [1], "dna_barcode": [b"A"], "split": [["train"]], "chunk": [1.5]}),
    pa.table({"processid": ["A1\x1b"], "species": ["x"], "dna_barcode": ["A"], "split": ["t\x1b"], "chunk": [None]}),
    pa.table({"row": ["x"]}),
    pa.table({"processid": ["A1"]}),
]


@tried(20)
@given(
    name=st.sampled_from(["metadata/train-00000-of-00001.parquet", "order/train.parquet"]),
    content=st.binary(max_size=20) | st.sampled_from(_TABLES),
    plan=st.sampled_from(["{}", "[]", '{"skipped": [{"x": 1}]}', '{"skipped": 3}', "[" * 50_000, "", None]),
)
def test_a_converted_folder_with_any_file_is_checked(
    name: str, content: bytes | pa.Table, plan: str | None, converted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("converted") / "to"
    shutil.copytree(converted, folder)
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    (folder / "cropped_256").mkdir()
    shutil.copy(
        folder / "metadata" / "validation-00000-of-00001.parquet", folder / "cropped_256" / "validation-x.parquet"
    )
    if plan is not None:
        (folder / "plan.json").write_text(plan)
    checks = verify(folder)
    assert any(check.passed is False and check.name == "metadata and order" for check in checks)
    assert any(check.passed is False and check.name.startswith("cropped_256: the specimens") for check in checks)
    assert all(check.detail.isprintable() for check in checks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "bad csv", "jsonld", "bad jsonld"])
def test_time_is_in_proportion(kind: str, tmp_path: Path) -> None:
    name = JSON_NAME if "json" in kind else CSV_NAME

    def run(count: int) -> None:
        folder = tmp_path / str(count)
        folder.mkdir(exist_ok=True)
        if "json" in kind:
            bad = {"genus": 1} if "bad" in kind else {}
            rows = [{"processid": f"A{i}"} if bad else ROWS[0] | {"processid": f"A{i}"} for i in range(count)]
            (folder / name).write_text(json.dumps([*rows, ROWS[1]]))
        else:
            line = b"A%d,1\n" if "bad" in kind else b"A%d" + METADATA_CSV[0].splitlines()[1][2:] + b"\n"
            (folder / name).write_bytes(METADATA_CSV[0] + b"".join(line % (i + 9) for i in range(count)))
        with warnings.catch_warnings(action="ignore"):
            for _ in read_metadata(find_metadata(folder / name), on_error="skip"):
                pass

    assert growth(run, 10_000, 10) < 13


def test_the_hook_for_errors_that_nobody_hears_is_put_back(tmp_path: Path) -> None:
    before = sys.unraisablehook
    (tmp_path / CSV_NAME).write_bytes(METADATA_CSV[0])
    assert list(read_metadata(find_metadata(tmp_path / CSV_NAME))) and sys.unraisablehook is before
