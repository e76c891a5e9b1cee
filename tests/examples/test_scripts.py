"""The scripts run, say something sensible, and write what they say; wrong input is one line."""

import contextlib
import io
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from datasets import Dataset

from bioscan_hf.hub.dataset_cards import save_dataset_card
from bioscan_hf.identification.results import results_schema
from tests.examples.made_data import write_image_table, write_table
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.training.made_alignments import without_pictures

EXAMPLES = Path(__file__).parents[2] / "examples"
HUB = "bioscan-ml/BIOSCAN-5M"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a script in a folder of its own, as a user does, and returns what it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        without_pictures(patch)  # of the reports, not of the scripts

        def run_script(name: str, *options: str) -> str:
            patch.setattr(sys, "argv", [name, *options])
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                runpy.run_path(str(EXAMPLES / name), run_name="__main__")
            return said.getvalue()

        yield run_script


@pytest.fixture(scope="module")
def table(run: Run, sample: Dataset) -> str:
    return write_table(Path("table.csv"), sample)


@pytest.fixture(scope="module")
def pictured(run: Run) -> str:
    return write_image_table(Path("pictured.parquet"))


def test_embedding(run: Run, table: str) -> None:
    said = run("embed_barcodes.py", "--data", table, "--output", "embeddings")
    assert "110 specimens, 256 numbers each, by barcodebert-small" in said
    shares = re.findall(r"the same (\w+) for ([\d.]+)% of the (\d+) named", said)
    assert [rank for rank, *_ in shares] == ["order", "family", "genus", "species"]
    assert float(shares[0][1]) > 80 and int(shares[0][2]) == 110 > int(shares[3][2]), "not all have a species"
    assert said.count("is nearest to") == 5
    assert Path("embeddings/map.png").stat().st_size > 10_000
    # What was written is an encoder that gives the same.
    again = run("embed_barcodes.py", "--data", table, "--model", "embeddings/embeddings.parquet", "--output", "again")
    assert re.findall(r"[\d.]+% of the", again) == re.findall(r"[\d.]+% of the", said)


def test_clustering(run: Run, table: str) -> None:
    said = run("zero_shot_clustering.py", "--data", table, "--split", "test", "--reduction", "none", "--output", "out")
    assert re.search(r"^10 specimens of \d+ species, into as many clusters", said)
    (numbers,) = re.findall(r"^ +kmer:6((?: +[\d.]+)+)$", said, re.MULTILINE)
    assert len(numbers.split()) == 5 and float(numbers.split()[-1]) > 80
    rows = Path("out/clusters.csv").read_text().splitlines()
    assert rows[0] == '"processid","species","barcodebert-small","kmer:6"' and len(rows) == 11
    assert Path("out/ami.png").stat().st_size > 10_000


def test_identification_of_the_sample(run: Run) -> None:
    said = run("identify_specimens.py", "--output", "names.csv")
    assert "A library of 603 specimens of 153 species" in said
    found = re.findall(
        r": (\w+) ([\w ]+) \(\d+%\); new to the library: (\d+)%\n    nearest .*; it is ([\w. ]+)$", said, re.M
    )
    assert len(found) == 8
    for rank, taxon, new, truth in found:
        # Simulated new species are called `sp. 29SIM`.
        assert (int(new) > 50) == ("sp. " in truth)
        assert rank not in ("genus", "species") or truth.startswith(taxon)
    assert said.count("    nearest to ") == 8
    assert re.search(r"393 queries: 1\d\d are safe to species, 2\d\d are probably of new species; see names.csv", said)
    header, *rows = Path("names.csv").read_text().splitlines()
    assert header.split(",") == results_schema(3).names and len(rows) == 393


def test_identification_of_own_barcodes(run: Run, table: str, sample: Dataset) -> None:
    Path("own.fasta").write_text(f">good\n{sample[0]['dna_barcode']}\n>bad\n{'A' * 600}\n")
    said = run("identify_specimens.py", "--data", table, "--queries", "own.fasta", "--output", "own.csv")
    assert "bad: no name, not like the barcodes of the library" in said
    assert re.search(r"good: no name is safe\n    nearest to \w+", said), "five and five are too few to calibrate with"
    assert "2 queries: 0 are safe to species, 0 are" in said


def test_streaming_with_and_without_images(run: Run, table: str, pictured: str) -> None:
    said = run("stream_bioscan5m.py", "--data", table, "--split", "pretrain+val")
    assert re.search(r"^  dna_barcode: [ACGT]{20,}$", said, re.MULTILINE) and "pixel" not in said
    assert re.search(
        r"^45 specimens: the first 45 after [\d.]+ s, the others in [\d.]+ s, 0 per second$", said, re.MULTILINE
    )
    orders = re.findall(r"(\w+) (\d+)(?:;|$)", said.splitlines()[-1])
    assert orders and sum(int(count) for _, count in orders) <= 45
    said = run("stream_bioscan5m.py", "--data", pictured, "--modalities", "image", "dna", "--limit", "20")
    assert "pixel_values: torch.Size([20, 224, 224, 3])" in said and "20 specimens: the first 20 after" in said
    said = run("stream_bioscan5m.py", "--modalities", "image", "--limit", "40", "--split", "train")
    assert re.search(r"^\d+ more have no image$", said, re.MULTILINE)


def test_training_by_transformers(run: Run, table: str) -> None:
    given = ["--data", table, "--rank", "order", "--max-steps", "20", "--output", "trained"]
    said = run("train_with_transformers_trainer.py", *given)
    assert re.search(r"^40 specimens of \d+ taxa of the rank order; 10 to test with", said)
    accuracy = re.search(r"accuracy on test: ([\d.]+)% of \d+", said)
    assert accuracy and float(accuracy[1]) > 50, "of guesses, a quarter"
    assert len(re.findall(r"^(\w+) \(\d+%\); it is \w+$", said, re.MULTILINE)) == 5
    assert {"config.json", "model.safetensors", "tokenizer.json"} < {path.name for path in Path("trained").iterdir()}


def test_pretraining(run: Run, table: str) -> None:
    said = run("pretrain_barcodebert.py", "--data", table, "--max-steps", "2", "--output", "my-barcodebert")
    assert "step 2 of 2: loss" in said
    assert "1-NN species, seen species" in said
    assert len(re.findall(r"^\w+ \w+ is nearest to \w+ \w+ \(cosine [01]\.\d+\)$", said, re.MULTILINE)) == 5
    assert Path("my-barcodebert/model.safetensors").exists()


def test_adapters_of_barcodes(run: Run, table: str) -> None:
    said = run("finetune_barcodebert_lora.py", "--data", table, "--max-steps", "2", "--output", "my-classifier")
    assert "genus, seen species (LoRA)" in said
    assert len(re.findall(r"^family \w+ \(\d+%\), genus \w+ \(\d+%\); it is ", said, re.MULTILINE)) == 5
    difference = re.search(
        r"my-classifier-merged holds the merged model; its probabilities differ by (\S+) at most", said
    )
    assert difference and float(difference[1]) < 1e-4
    assert Path("my-classifier/adapter_model.safetensors").exists()
    assert Path("my-classifier-merged/model.safetensors").exists()


def test_adapters_of_three_modalities(run: Run, pictured: str) -> None:
    said = run("finetune_clibd_lora.py", "--data", pictured, "--max-steps", "2", "--output", "my-clibd")
    assert "image to DNA retrieval, family, seen species" in said
    assert len(re.findall(r"^family \w+ \(\d+%\); it is \w+$", said, re.MULTILINE)) == 5
    assert Path("my-clibd/model.safetensors").exists()


def test_retrieval(run: Run, pictured: str) -> None:
    said = run("cross_modal_retrieval.py", "--data", pictured, "--output", "found.png")
    assert "12 photographs, of which the nearest is of the same" in said
    shares = re.findall(r"^ +(\w+): +([\d.]+)% of 74 barcodes, +([\d.]+)% of 74 photographs$", said, re.MULTILINE)
    assert [rank for rank, *_ in shares] == ["order", "family", "genus", "species"]
    assert float(shares[0][2]) > 60, "photographs of one order are alike"
    assert Path("found.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("embed_barcodes.py", ["--data", "absent.fasta"], "No such file or folder: 'absent.fasta'"),
        ("embed_barcodes.py", ["--model", "kmer:many"], "'kmer:many' is no encoder"),
        ("embed_barcodes.py", ["--split", "tset"], "tset"),
        ("zero_shot_clustering.py", ["--split", "pretrain"], "two species or more; got 0"),
        ("identify_specimens.py", ["--library", "absent"], "absent"),
        ("stream_bioscan5m.py", ["--data", "absent.csv"], "No such file or folder: 'absent.csv'"),
        ("finetune_barcodebert_lora.py", ["--data", "absent.csv"], "No such file or folder: 'absent.csv'"),
        ("cross_modal_retrieval.py", ["--model", "barcodebert-small"], "'barcodebert-small' is no CLIBD"),
        ("train_with_transformers_trainer.py", ["--data", "absent.csv"], "No such file or folder: 'absent.csv'"),
    ],
)
def test_wrong_input_is_one_line(name: str, options: list[str], message: str, run: Run) -> None:
    output = [] if name.startswith("stream") else ["--output", "wrong.csv"]
    with pytest.raises(SystemExit) as stopped:
        run(name, *options, *output)
    said = str(stopped.value)
    assert said.startswith(f"{name}: ") and message in said and "\n" not in said


HUB_CLIENT = """
import runpy, sys
for words in (
    ["stream_bioscan5m.py", "--data", "bioscan-ml/BIOSCAN-5M", "--split", "train+val"],
    ["stream_bioscan5m.py", "--data", "bioscan-ml/BIOSCAN-5M", "--split", "val", "--modalities", "image", "dna"],
    ["train_with_transformers_trainer.py", "--data", "bioscan-ml/BIOSCAN-5M", "--max-steps", "2", "--output", "trained",
     "--push-to-hub", "tester/trained-by-trainer"],
):
    print("##", flush=True)
    sys.argv = words
    runpy.run_path(FOLDER + "/" + words[0], run_name="__main__")
"""


def test_scripts_read_the_hub_and_push_to_it(hub: LocalHub, tmp_path: Path) -> None:
    rows = make_conversion(tmp_path / "converted")
    save_dataset_card(tmp_path / "converted")
    hub.api().create_repo(HUB, repo_type="dataset", exist_ok=True)
    hub.api().upload_folder(repo_id=HUB, folder_path=tmp_path / "converted", repo_type="dataset", delete_patterns="*")
    before = len(hub.requests())
    done = hub.run(f"FOLDER = {str(EXAMPLES)!r}\n{HUB_CLIENT}", tmp_path)
    _, barcodes, images, trained = done.stdout.split("##\n")
    count = {split: sum(row["split"] == split for row in rows) for split in ("train", "val", "test")}
    assert f"{count['train'] + count['val']} specimens: the first" in barcodes
    assert f"{count['val']} specimens: the first" in images and "224, 224, 3])" in images
    assert f"{count['test']} to test with" in trained and "pushed to " in trained
    asked = [request["path"] for request in hub.requests()[before:]]
    # Images of the split that they were asked for, and of no other.
    assert any("cropped_256/validation" in path for path in asked)
    assert not any("cropped_256/train" in path or "cropped_256/pretrain" in path for path in asked)
    assert hub.api().file_exists("tester/trained-by-trainer", "model.safetensors")
