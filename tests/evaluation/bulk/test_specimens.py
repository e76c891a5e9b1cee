import csv
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.data.release import METADATA_ARCHIVE
from bioscan_hf.evaluation.bulk.specimens import load_barcodes, survey
from bioscan_hf.tokenization.letters import why_no_barcode
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import Row, make_release
from tests.tiny import CSV

LONG = "ACGT" * 200


def columns_of(specimens: Dataset) -> dict[str, str]:
    assert specimens.column_names == ["processid", "dna_barcode"]
    return dict(zip(specimens["processid"][:], specimens["dna_barcode"][:], strict=True))


def of(rows: list[Row], *splits: str) -> dict[str, str]:
    return {str(row["processid"]): str(row["dna_barcode"]) for row in rows if not splits or row["split"] in splits}


@pytest.fixture
def in_csv() -> dict[str, str]:
    return {row["processid"]: row["dna_barcode"] for row in csv.DictReader(CSV.splitlines())}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_photographs_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.png")
    message = r"photos' has images and no barcodes, .* in Python: `bioscan_hf\.load_image_encoder\('clibd-small'\)"
    for on_error in ("raise", "skip"):
        with pytest.raises(ValueError, match=message):
            load_barcodes(tmp_path / "photos", on_error=on_error)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A release and what it was converted to, with all images removed."""
    root = tmp_path_factory.mktemp("release")
    rows = make_release(root / "archives")
    rows[0]["dna_barcode"] = LONG
    make_release(root / "archives", rows)
    make_conversion(root / "converted", rows)
    for path in [*(root / "archives").iterdir(), *(root / "converted" / "cropped_256").iterdir()]:
        if path.name != METADATA_ARCHIVE:
            path.unlink()
    return root, rows


@pytest.mark.parametrize("name", ["a.csv", "a.fasta", "a.parquet"])
def test_files(name: str, in_csv: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.csv":
        path.write_text(CSV)
    elif name == "a.fasta":
        path.write_text("".join(f">{processid}\n{barcode}\n" for processid, barcode in in_csv.items()))
    else:
        Dataset.from_dict({"processid": list(in_csv), "dna_barcode": list(in_csv.values())}).to_parquet(path)
    assert columns_of(load_barcodes(path)) == in_csv
    assert columns_of(load_barcodes(str(path))) == in_csv


def test_split_of_a_file(in_csv: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    assert list(columns_of(load_barcodes(tmp_path / "a.csv", split="train"))) == ["A1", "B1"]
    assert list(columns_of(load_barcodes(tmp_path / "a.csv", split="train+test"))) == ["A1", "A2", "B1", "B2"]
    with pytest.raises(ValueError, match=r"a.csv' has no specimens of the split 'val'; it has \['pretrain', 'test'"):
        load_barcodes(tmp_path / "a.csv", split="val")
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        load_barcodes(tmp_path / "a.csv", split="trian")


def test_bad_records_of_a_file_are_an_error_or_left_out(in_csv: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV + "X1,MSLLPEFKIVLDLSG,,,,train\n")
    with pytest.raises(ValueError, match=r"line 8 \(process id 'X1'\): the barcode looks like a protein"):
        load_barcodes(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match="'X1'"):
        assert columns_of(load_barcodes(tmp_path / "a.csv", on_error="skip")) == in_csv


def test_folder_of_images_with_a_table(in_csv: dict[str, str], tmp_path: Path) -> None:
    for processid in in_csv:
        PIL.Image.new("RGB", (2, 2)).save(tmp_path / f"{processid}.jpg")
    (tmp_path / "metadata.csv").write_text(CSV)
    assert columns_of(load_barcodes(tmp_path)) == in_csv


@pytest.mark.parametrize("kind", ["archives", "converted"])
def test_release_without_its_images(kind: str, rows: tuple[Path, list[Row]]) -> None:
    root, made = rows
    found = columns_of(load_barcodes(root / kind))
    assert found == of(made) and LONG in found.values(), "an encoder cuts barcodes itself"
    assert columns_of(load_barcodes(root / kind, split="val+test_unseen")) == of(made, "val", "test_unseen")
    assert len(load_barcodes(root / kind, split="train[:10%]")) == 2


def test_archive_alone(rows: tuple[Path, list[Row]]) -> None:
    root, made = rows
    assert columns_of(load_barcodes(root / "archives" / METADATA_ARCHIVE)) == of(made)


def test_repository_on_the_hub_of_which_no_images_are_downloaded(hub: LocalHub, tmp_path: Path) -> None:
    made = make_conversion(tmp_path / "converted")
    hub.api().create_repo("tester/bulk", repo_type="dataset")
    hub.api().upload_folder(repo_id="tester/bulk", folder_path=tmp_path / "converted", repo_type="dataset")
    program = """
        from bioscan_hf.evaluation.bulk.specimens import load_barcodes
        print(*load_barcodes("tester/bulk", split="val")["processid"], len(load_barcodes("tester/bulk")))
    """
    shown = hub.run(program, tmp_path).stdout.split()
    assert shown == [*of(made, "val"), str(len(made))]
    assert hub.requests("resolve/.*metadata/") and not hub.requests("tester/bulk/resolve/.*cropped_256/")


@pytest.mark.parametrize("name", ["no.fasta", "no/such/folder", "no-such-folder", "/no/such"])
def test_what_is_not_there_is_not_sought_on_the_hub(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"No such file or folder: '{name}'"):
        load_barcodes(name)


@given(st.lists(st.none() | st.text("ACGTNRacgtEL-", max_size=8), min_size=1), st.integers(1, 4), st.integers(3, 6))
def test_survey_equals_a_look_at_each(barcodes: list[str | None], min_letters: int, max_letters: int) -> None:
    specimens = Dataset.from_dict(
        {"processid": [f"P{i}" for i in range(len(barcodes))], "dna_barcode": barcodes},
        features=datasets.Features({"processid": datasets.Value("string"), "dna_barcode": datasets.Value("string")}),
    )
    reasons = [why_no_barcode(barcode, min_letters=min_letters) for barcode in barcodes]
    good = [str(barcode)[:max_letters] for barcode, reason in zip(barcodes, reasons, strict=True) if reason is None]
    if not good:
        with pytest.raises(ValueError, match="no specimens to embed"):
            survey(specimens, min_letters=min_letters, max_letters=max_letters, on_error="skip")
        return
    found = survey(specimens, min_letters=min_letters, max_letters=max_letters, on_error="skip")
    assert found.kept.tolist() == [reason is None for reason in reasons]
    assert found.skipped == [(f"P{i}", reason) for i, reason in enumerate(reasons) if reason is not None]
    distinct = list(dict.fromkeys(good))
    assert [good[i] for i in found.first] == distinct
    assert [distinct[i] for i in found.barcode] == good


def test_survey_looks_at_more_than_one_batch() -> None:
    draw = random.Random(0)
    barcodes = ["".join(draw.choices("ACGT", k=4)) for _ in range(45_000)]
    barcodes[33_333] = "AC"
    specimens = Dataset.from_dict({"processid": [f"P{i}" for i in range(45_000)], "dna_barcode": barcodes})
    found = survey(specimens, min_letters=3, on_error="skip")
    assert found.skipped[0][0] == "P33333" and len(found.first) == 256
    good = [barcode for barcode in barcodes if barcode != "AC"]
    assert [good[i] for i in found.first[found.barcode]] == good


@pytest.mark.parametrize("change", ["order", "processid", "barcode"])
def test_digest_tells_inputs_apart(change: str) -> None:
    columns = {"processid": ["a", "b"], "dna_barcode": ["ACGT", "CCGT"]}
    others = {
        "order": {name: values[::-1] for name, values in columns.items()},
        "processid": {**columns, "processid": ["a", "c"]},
        "barcode": {**columns, "dna_barcode": ["ACGT", "CCGA"]},
    }
    digests = {survey(Dataset.from_dict(content)).digest for content in (columns, others[change])}
    assert len(digests) == 2
    assert survey(Dataset.from_dict(columns)).digest in digests


MEASURE = """
    import sys, threading, time
    from datasets import Dataset
    from bioscan_hf.evaluation.bulk.run import embed_to_parquet
    from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts

    def watch():
        while True:  # kB that are not pages of files, which the system can drop
            used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
            peaks[-1] = max(peaks[-1], used)
            time.sleep(0.002)

    peaks = [0]
    threading.Thread(target=watch, daemon=True).start()
    for file in sys.argv[2:]:
        embed_to_parquet(KmerCounts(2), Dataset.from_file(file), f"{sys.argv[1]}/{len(peaks)}.parquet")
        peaks.append(0)
    print(*peaks[:-1])
"""


@pytest.mark.slow  # 200,000 barcodes
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_hardly_grows_with_the_number_of_specimens(tmp_path: Path) -> None:
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), (200_000, 660))
    barcodes = letters.view("S660").ravel().astype(str).tolist()
    for count, name in ((50_000, "small"), (200_000, "large")):
        processids = [f"P{i:07}" for i in range(count)]
        Dataset.from_dict({"processid": processids, "dna_barcode": barcodes[:count]}).save_to_disk(tmp_path / name)
    files = [str(next((tmp_path / name).glob("*.arrow"))) for name in ("small", "large")]
    command = [sys.executable, "-c", textwrap.dedent(MEASURE), str(tmp_path), *files]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=Path(__file__).parents[3], env=env, capture_output=True, text=True, check=True)
    small, large = map(int, result.stdout.split())
    assert large - small < 40_000, "kB; the 150,000 barcodes that are more have 99,000"
