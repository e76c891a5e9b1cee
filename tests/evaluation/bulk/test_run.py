import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from bioscan_hf.data.whole_files import nobody_else_writes
from bioscan_hf.evaluation.bulk import output as bulk_output
from bioscan_hf.evaluation.bulk import specimens as bulk_specimens
from bioscan_hf.evaluation.bulk.run import embed_to_parquet, finish, prepare, write_chunks
from bioscan_hf.evaluation.embeddings import embed
from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from tests.letter_counts import LetterCounts
from tests.tiny import tiny_masked_lm

ROOT = Path(__file__).parents[3]
CHUNK = 4


def made_specimens(count: int = 37, seed: int = 0) -> Dataset:
    """Specimens of which about every second shares its barcode with another."""
    draw = random.Random(seed)
    barcodes = ["".join(draw.choices("ACGTN", k=draw.randint(3, 40))) for _ in range(count // 2)]
    return Dataset.from_dict(
        {"processid": [f"P{i}" for i in range(count)], "dna_barcode": [draw.choice(barcodes) for _ in range(count)]}
    )


SPECIMENS = made_specimens()
DISTINCT = len(set(SPECIMENS["dna_barcode"]))
CHUNKS = -(-DISTINCT // CHUNK)


def vectors_of(path: Path) -> np.ndarray:
    return np.array(pq.read_table(path)["embedding"].to_pylist())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an output that was written without any trouble."""
    path = tmp_path_factory.mktemp("whole") / "E.parquet"
    embed_to_parquet(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    return path.read_bytes()


def test_setting_has_several_chunks_the_last_one_not_full() -> None:
    assert CHUNKS >= 4 and DISTINCT % CHUNK and len(SPECIMENS) > DISTINCT


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_embeddings_equal_those_one_by_one(
    dtype: Literal["float32", "float16"], normalise: bool, tmp_path: Path
) -> None:
    path = tmp_path / "E.parquet"
    embed_to_parquet(LetterCounts(), SPECIMENS, path, dtype=dtype, normalise=normalise, chunk_size=CHUNK)
    table = pq.read_table(path)
    assert table["processid"].to_pylist() == SPECIMENS["processid"][:]
    assert table.schema.field("embedding").type == pa.list_(pa.from_numpy_dtype(dtype), 5)
    for barcode, found in zip(SPECIMENS["dna_barcode"], vectors_of(path), strict=True):
        [expected] = LetterCounts().encode([barcode])
        expected = expected / np.linalg.norm(expected) if normalise else expected
        np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "float32" else 1e-3)


def test_barcodebert_gives_what_embed_gives_and_precomputed_reads_it(tmp_path: Path) -> None:
    encoder = BarcodeBertEncoder(tiny_masked_lm().bert, batch_size=3)
    embed_to_parquet(encoder, SPECIMENS, tmp_path / "E", chunk_size=CHUNK)
    expected = embed(encoder, SPECIMENS).vectors
    np.testing.assert_allclose(vectors_of(tmp_path / "E"), expected, atol=1e-6)
    backwards = SPECIMENS.select(range(len(SPECIMENS) - 1, -1, -1))
    np.testing.assert_allclose(Precomputed(tmp_path / "E").embed(backwards), expected[::-1], atol=1e-6)
    made_by = json.loads(pq.read_schema(next((tmp_path / "E").iterdir())).metadata[bulk_output.METADATA_KEY])
    assert made_by["encoder"] == encoder.description and made_by["encoder"]["precision"] == "float32"


def test_a_barcode_without_length_stays_zero(tmp_path: Path) -> None:
    class Zero(LetterCounts):
        def encode(self, barcodes: Any, *, report: Any = None) -> np.ndarray:
            return np.zeros((len(barcodes), 5), np.float32)

    embed_to_parquet(Zero(), SPECIMENS, tmp_path / "E.parquet")
    assert not vectors_of(tmp_path / "E.parquet").any()


def test_each_distinct_barcode_is_computed_once_and_reported(tmp_path: Path) -> None:
    encoder, done = LetterCounts(), []
    written = embed_to_parquet(
        encoder, SPECIMENS, tmp_path / "E.parquet", chunk_size=CHUNK, report=lambda *counts: done.append(counts)
    )
    computed = [barcode for call in encoder.calls for barcode in call]
    assert sorted(computed) == sorted(set(SPECIMENS["dna_barcode"]))
    assert (written.specimens, written.barcodes, written.computed) == (len(SPECIMENS), DISTINCT, DISTINCT)
    assert (written.dimension, written.skipped, written.output) == (5, 0, tmp_path / "E.parquet")
    assert done == sorted(done) and done[0] == (0, DISTINCT) and done[-1] == (DISTINCT, DISTINCT)


def test_barcodes_that_agree_in_what_the_encoder_sees_are_computed_once(tmp_path: Path) -> None:
    class FirstTwo(LetterCounts):
        max_letters = 2

        def encode(self, barcodes: Any, *, report: Any = None) -> np.ndarray:
            return super().encode([barcode[:2] for barcode in barcodes], report=report)

    encoder, path = FirstTwo(), tmp_path / "E.parquet"
    embed_to_parquet(encoder, SPECIMENS, path, normalise=False)
    assert len(encoder.calls[0]) == len({barcode[:2] for barcode in SPECIMENS["dna_barcode"]}) < DISTINCT
    expected = FirstTwo().encode(SPECIMENS["dna_barcode"])
    np.testing.assert_array_equal(vectors_of(path), expected)


def test_datasets_reads_it_and_the_metadata_say_what_made_it(tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    embed_to_parquet(LetterCounts(), SPECIMENS, path, dtype="float16", normalise=False)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    ).with_format("numpy")
    np.testing.assert_array_equal(loaded["embedding"][:], LetterCounts().encode(SPECIMENS["dna_barcode"]))
    made_by = json.loads(pq.read_schema(path).metadata[bulk_output.METADATA_KEY])
    assert made_by["encoder"] == {"model": "letter counts", "revision": None}
    assert (made_by["dtype"], made_by["normalise"], made_by["specimens"]) == ("float16", False, len(SPECIMENS))
    assert str(tmp_path) not in json.dumps(made_by)


def test_rows_that_were_selected_in_another_order(tmp_path: Path) -> None:
    chosen = [20, 3, 3, 7]
    embed_to_parquet(LetterCounts(), SPECIMENS.select(chosen), tmp_path / "E.parquet")
    assert pq.read_table(tmp_path / "E.parquet")["processid"].to_pylist() == [f"P{i}" for i in chosen]


def test_specimens_that_are_read_in_several_parts(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_specimens, "_ROWS_AT_A_TIME", 10)
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E.parquet", chunk_size=CHUNK)
    assert (tmp_path / "E.parquet").read_bytes() == whole
    columns = {"processid": [*SPECIMENS["processid"][:30], None], "dna_barcode": SPECIMENS["dna_barcode"][:31]}
    with pytest.raises(ValueError, match="row 30 has no process id"):
        embed_to_parquet(LetterCounts(), Dataset.from_dict(columns), tmp_path / "F.parquet")


def test_folder_gets_shards_of_like_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_output, "SHARD_BYTES", 400)
    monkeypatch.setattr(bulk_output, "_ROWS_PER_GROUP", 3)
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E", chunk_size=CHUNK)
    shards = sorted((tmp_path / "E").iterdir())
    assert [path.name for path in shards] == [f"embeddings-0000{i}-of-00004.parquet" for i in range(4)]
    assert {pq.read_metadata(path).num_rows for path in shards} == {9, 10}
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E.parquet")
    assert pq.read_table(tmp_path / "E").equals(pq.read_table(tmp_path / "E.parquet"))
    assert {path.name for path in tmp_path.iterdir()} == {"E", "E.parquet"}
    loaded = datasets.load_dataset("parquet", data_dir=str(tmp_path / "E"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["processid"][:] == SPECIMENS["processid"][:]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_goes_on_after_a_failure_at_any_chunk(chunk: int, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    with pytest.raises(RuntimeError, match="power cut"):
        embed_to_parquet(LetterCounts(fails_at=chunk), SPECIMENS, path, chunk_size=CHUNK)
    assert not path.exists()
    done: list[tuple[int, int]] = []
    written = embed_to_parquet(
        LetterCounts(), SPECIMENS, path, chunk_size=CHUNK, report=lambda *counts: done.append(counts)
    )
    assert written.computed == DISTINCT - chunk * CHUNK and done[0] == (chunk * CHUNK, DISTINCT)
    assert path.read_bytes() == whole
    assert [item.name for item in tmp_path.iterdir()] == ["E.parquet"]


@pytest.mark.parametrize("name", ["E.parquet", "E"])
def test_goes_on_after_a_failure_while_the_output_is_written(
    name: str, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather, calls = bulk_output._gather, []

    def failing(*arguments: Any) -> np.ndarray:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return gather(*arguments)

    monkeypatch.setattr(bulk_output, "_ROWS_PER_GROUP", 10)
    monkeypatch.setattr(bulk_output, "SHARD_BYTES", 800)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(bulk_output, "_gather", failing)
        embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / name, chunk_size=CHUNK)
    assert not (tmp_path / name).exists()
    assert embed_to_parquet(LetterCounts(fails_at=0), SPECIMENS, tmp_path / name, chunk_size=CHUNK).computed == 0
    assert pq.read_table(tmp_path / name).equals(pq.read_table(pa.BufferReader(whole)))
    assert [item.name for item in tmp_path.iterdir()] == [name]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [flip_a_bit, cut, Path.unlink])
def test_damaged_chunk_is_computed_anew(damage: Any, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    plan, _ = prepare(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    write_chunks(plan, LetterCounts())
    damage(sorted(plan.folder.glob("00001-*.npy"))[0])
    with pytest.raises(ValueError, match=rf"1 of {CHUNKS} chunks of '.*E.parquet' are missing, such as number 1"):
        finish(plan)
    assert not path.exists()
    encoder = LetterCounts()
    embed_to_parquet(encoder, SPECIMENS, path, chunk_size=CHUNK)
    assert len(encoder.calls) == 1 and path.read_bytes() == whole


def test_chunks_of_another_plan_are_not_taken(whole: bytes, tmp_path: Path) -> None:
    """As a process leaves them that was killed while it removed the parts of an output, the plan before them."""
    path = tmp_path / "E.parquet"
    plan, _ = prepare(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK, normalise=False)
    write_chunks(plan, LetterCounts())
    plan.path.unlink()
    embed_to_parquet(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["", "{", "[]", '{"encoder": 1}'])
def test_damaged_plan_does_not_matter(content: str, whole: bytes, tmp_path: Path) -> None:
    path, encoder = tmp_path / "E.parquet", LetterCounts()
    plan, _ = prepare(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    write_chunks(plan, LetterCounts())
    plan.path.write_text(content)
    embed_to_parquet(encoder, SPECIMENS, path, chunk_size=CHUNK)
    assert path.read_bytes() == whole and not encoder.calls


def test_second_process_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    with nobody_else_writes(path), pytest.raises(OSError, match=r"Another process writes '.*E\.parquet'; wait"):
        embed_to_parquet(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    embed_to_parquet(LetterCounts(), SPECIMENS, path, chunk_size=CHUNK)
    assert path.read_bytes() == whole and [item.name for item in tmp_path.iterdir()] == ["E.parquet"]


def test_flipped_bit_of_an_output_is_noticed(tmp_path: Path) -> None:
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E")
    [shard] = (tmp_path / "E").iterdir()
    content = bytearray(shard.read_bytes())
    content[content.index(vectors_of(shard)[20].astype(np.float32).tobytes())] ^= 1
    shard.write_bytes(content)
    with pytest.raises(FileExistsError, match=r"embeddings-00000-of-00001\.parquet' exists .* is damaged .* remove"):
        embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E")
    with pytest.raises(ValueError, match=r"cannot be used: .*CRC"):
        Precomputed(tmp_path / "E").embed(SPECIMENS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float16"}, "dtype 'float32', not 'float16'"),
        ({"normalise": False}, "normalise True, not False"),
        ({"chunk_size": 5}, "chunk_size 4, not 5"),
        ({"specimens": made_specimens(seed=1)}, "input '"),
        ({"specimens": SPECIMENS.select(range(36, -1, -1))}, "input '"),
        ({"encoder": "another"}, "encoder.model 'letter counts', not 'another'"),
    ],
)
@pytest.mark.parametrize("is_written", [False, True])
def test_another_run_is_not_gone_on_with(
    is_written: bool, changes: dict[str, Any], message: str, whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "E.parquet"
    if is_written:
        path.write_bytes(whole)
    else:
        with pytest.raises(RuntimeError):
            embed_to_parquet(LetterCounts(fails_at=2), SPECIMENS, path, chunk_size=CHUNK)

    before = {item: item.stat().st_mtime_ns for item in tmp_path.rglob("*")}
    arguments = {"chunk_size": CHUNK, "specimens": SPECIMENS, **changes}
    encoder = LetterCounts()
    encoder.description = {**encoder.description, "model": arguments.pop("encoder", "letter counts")}
    with pytest.raises((ValueError, FileExistsError), match=message) as caught:
        embed_to_parquet(encoder, output=path, **arguments)
    assert ("exists and holds other" if is_written else "was begun with other arguments") in str(caught.value)
    assert "remove" in str(caught.value) and not encoder.calls
    assert {item: item.stat().st_mtime_ns for item in tmp_path.rglob("*")} == before


def test_a_process_with_another_encoder_is_refused(tmp_path: Path) -> None:
    class Wider(LetterCounts):
        dimension = 6

    plan, _ = prepare(LetterCounts(), SPECIMENS, tmp_path / "E.parquet", chunk_size=CHUNK)
    with pytest.raises(ValueError, match="began with another encoder: dimension 5, not 6"):
        write_chunks(plan, Wider())


def test_what_is_there_is_not_computed_again(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "E.parquet"
    path.write_bytes(whole)
    before = path.stat().st_mtime_ns
    (tmp_path / ".E.parquet.partial").mkdir()  # of a process that was killed when the output was written
    written = embed_to_parquet(LetterCounts(fails_at=0), SPECIMENS, path, chunk_size=CHUNK)
    assert (written.computed, written.barcodes) == (0, DISTINCT) and path.stat().st_mtime_ns == before
    assert [item.name for item in tmp_path.iterdir()] == ["E.parquet"]


@pytest.mark.parametrize("name", ["E.parquet", "E", "F"])
def test_files_of_others_are_not_replaced(name: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "E.parquet")
    for folder in ("E", "F"):
        (tmp_path / folder).mkdir()
    (tmp_path / "E" / "thesis.txt").write_text("all of it")
    shutil.copy(tmp_path / "E.parquet", tmp_path / "F" / "embeddings-00000-of-00001.parquet")
    with pytest.raises(FileExistsError, match=rf"{name}.*' exists and holds something else"):
        embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / name)
    assert len(list(tmp_path.rglob("*"))) == 5


def test_folder_that_lacks_a_shard_is_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_output, "SHARD_BYTES", 400)
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E")
    next((tmp_path / "E").glob("*-00001-*")).unlink()
    with pytest.raises(FileExistsError, match="something else"):
        embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E")


def test_an_empty_folder_and_one_that_is_not_there_are_welcome(tmp_path: Path) -> None:
    (tmp_path / "E").mkdir()
    for output in (tmp_path / "E", tmp_path / "new" / "deep" / "E.parquet"):
        embed_to_parquet(LetterCounts(), SPECIMENS, output)
        assert pq.read_table(output).num_rows == len(SPECIMENS)


BAD = {"B0": None, "B1": "", "B2": "AC", "B3": "A" * 2001, "B4": "MSLLPEFKIVLD", "B5": "12345"}


def with_bad() -> Dataset:
    bad = Dataset.from_dict({"processid": list(BAD), "dna_barcode": list(BAD.values())})
    return datasets.concatenate_datasets([bad, SPECIMENS, bad.select([])]).select([*range(10, 20), *range(10)])


@pytest.mark.parametrize("processid", BAD)
def test_bad_barcode_is_named_before_anything_is_computed(processid: str, tmp_path: Path) -> None:
    specimens = datasets.concatenate_datasets(
        [SPECIMENS, Dataset.from_dict({"processid": [processid], "dna_barcode": [BAD[processid]]})]
    )
    encoder = LetterCounts()
    with pytest.raises(ValueError, match=rf"'{processid}' cannot be embedded: the barcode .*--on-error skip"):
        embed_to_parquet(encoder, specimens, tmp_path / "E.parquet")
    assert not encoder.calls and not list(tmp_path.iterdir())


def test_bad_barcodes_are_left_out_and_listed(tmp_path: Path) -> None:
    written = embed_to_parquet(LetterCounts(), with_bad(), tmp_path / "E.parquet", on_error="skip", chunk_size=CHUNK)
    good = [row["processid"] for row in with_bad() if row["processid"] not in BAD]
    assert pq.read_table(tmp_path / "E.parquet")["processid"].to_pylist() == good
    for row, found in zip((r for r in with_bad() if r["processid"] in good), vectors_of(written.output), strict=True):
        [expected] = LetterCounts().encode([row["dna_barcode"]])
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-6)
    assert (written.specimens, written.skipped) == (len(good), len(BAD))
    lines = (tmp_path / "E.parquet.skipped.csv").read_text().splitlines()
    assert lines[0] == "processid,reason" and [line.split(",")[0] for line in lines[1:]] == list(BAD)
    assert "protein" in lines[5] and all(len(line) > 10 for line in lines)
    assert len(list(tmp_path.iterdir())) == 2


def test_list_of_an_output_that_was_removed_goes(tmp_path: Path) -> None:
    embed_to_parquet(LetterCounts(), with_bad(), tmp_path / "E.parquet", on_error="skip")
    (tmp_path / "E.parquet").unlink()
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E.parquet", on_error="skip")
    assert [item.name for item in tmp_path.iterdir()] == ["E.parquet"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"processid": [], "dna_barcode": []}, "There are no specimens to embed"),
        (
            {"processid": ["a", "b"], "dna_barcode": [None, None]},
            "all 2 are bad; of 'a', the barcode is missing",
        ),
        ({"processid": ["a"], "dna_barcode": [12345]}, "'dna_barcode' must be text; .* int64"),
        ({"processid": ["a"], "sequence": ["ACGT"]}, "need the columns .*'dna_barcode'.*'sequence'"),
        ({"processid": ["a", None], "dna_barcode": ["ACGT", "ACGT"]}, "row 1 has no process id"),
    ],
)
def test_what_cannot_be_embedded_at_all(columns: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        embed_to_parquet(LetterCounts(), Dataset.from_dict(columns), tmp_path / "E.parquet", on_error="skip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"dtype": "float64"}, {"on_error": "ignore"}, {"chunk_size": 0}])
def test_wrong_options_are_told(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E.parquet", **options)


def test_what_is_no_encoder_of_barcodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="needs a model or k-mer counts; got str"):
        embed_to_parquet("kmer:4", SPECIMENS, tmp_path / "E.parquet")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e5])
def test_embedding_that_is_not_finite_is_an_error(bad: float, tmp_path: Path) -> None:
    class Broken(LetterCounts):
        def encode(self, barcodes: Any, *, report: Any = None) -> np.ndarray:
            vectors = super().encode(barcodes)
            vectors[2, 1] = bad
            return vectors

    third = list(dict.fromkeys(SPECIMENS["dna_barcode"]))[2]
    processid = SPECIMENS["processid"][SPECIMENS["dna_barcode"][:].index(third)]
    with pytest.raises(ValueError, match=f"barcode of '{processid}' is not finite in float16"):
        embed_to_parquet(Broken(), SPECIMENS, tmp_path / "E.parquet", dtype="float16", normalise=False)


def test_embeddings_of_another_shape_are_an_error(tmp_path: Path) -> None:
    class Wider(LetterCounts):
        dimension = 6

    with pytest.raises(ValueError, match=rf"shape \({DISTINCT}, 5\) .* expected \({DISTINCT}, 6\)"):
        embed_to_parquet(Wider(), SPECIMENS, tmp_path / "E.parquet")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
@pytest.mark.parametrize("limit", [150, 700, 1600])
def test_full_disk_is_told_and_loses_nothing(limit: int, tmp_path: Path) -> None:
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "whole.parquet")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="free some space and run this again"):
            embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "E.parquet").exists() and not list(tmp_path.rglob(".partial-*"))
    embed_to_parquet(LetterCounts(), SPECIMENS, tmp_path / "E.parquet")
    assert (tmp_path / "E.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "specimens.parquet"
    SPECIMENS.to_parquet(path)
    return path


def program(table: Path, output: Path, *, pause: float = 0, failing_rank: int = -1) -> list[str]:
    return [sys.executable, "-m", "tests.letter_counts", str(table), str(output), str(pause), str(failing_rank)]


@pytest.mark.slow  # starts Python twice
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_it_goes_on(table: Path, whole: bytes, tmp_path: Path) -> None:
    output = tmp_path / "E.parquet"
    with subprocess.Popen(program(table, output, pause=0.5), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while len(list(tmp_path.rglob("*.npy"))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not output.exists()
    result = subprocess.run(program(table, output), cwd=ROOT, capture_output=True, text=True, check=True)
    computed = int(result.stdout.split("computed=")[1].split(",")[0])
    assert 0 < computed <= DISTINCT - 2 * CHUNK
    assert output.read_bytes() == whole and [item.name for item in tmp_path.iterdir()] == ["E.parquet"]


def by_torchrun(command: list[str]) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    return subprocess.run(
        [sys.executable, *launcher, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow  # starts three times Python
def test_two_processes_write_the_bytes_of_one(table: Path, whole: bytes, tmp_path: Path) -> None:
    output = tmp_path / "E.parquet"
    result = by_torchrun(program(table, output))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f"computed={DISTINCT}") == 2
    assert output.read_bytes() == whole and [item.name for item in tmp_path.iterdir()] == ["E.parquet"]
    again = by_torchrun(program(table, output))
    assert again.returncode == 0 and again.stdout.count("computed=0") == 2, again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("failing_rank", [0, 1])
def test_all_processes_end_when_one_fails(failing_rank: int, table: Path, whole: bytes, tmp_path: Path) -> None:
    output = tmp_path / "E.parquet"
    result = by_torchrun(program(table, output, failing_rank=failing_rank))
    assert result.returncode != 0 and "power cut" in result.stderr
    assert not output.exists()
    embed_to_parquet(LetterCounts(), SPECIMENS, output, chunk_size=CHUNK)
    assert output.read_bytes() == whole
