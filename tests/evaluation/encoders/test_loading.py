import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from bioscan_hf import BarcodeBertForMaskedLM, build_tokenizer
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders import model_files
from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
from bioscan_hf.evaluation.encoders.clibd import load_clibd
from bioscan_hf.evaluation.encoders.image_loading import load_image_encoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.encoders.loading import load_encoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from bioscan_hf.hub.push import save_model
from tests.evaluation.encoders.test_hub import save_grover
from tests.hub_server.fixture import LocalHub

BARCODES = ["ACGTACGTACGTAC", "TTTGGGCCCAAA"]


@pytest.fixture
def folder(masked_lm: BarcodeBertForMaskedLM, tmp_path: Path) -> Path:
    save_model(tmp_path / "tiny", masked_lm, build_tokenizer(3))
    return tmp_path / "tiny"


def test_a_folder_with_the_weights_of_a_head(folder: Path, masked_lm: BarcodeBertForMaskedLM) -> None:
    encoder = load_encoder(str(folder), reading_frames=2, device="cpu")
    assert isinstance(encoder, BarcodeBertEncoder)
    assert (encoder.name, encoder.revision) == ("tiny", digest(folder / "model.safetensors"))
    expected = BarcodeBertEncoder(masked_lm, reading_frames=2).encode(BARCODES)
    np.testing.assert_array_equal(encoder.encode(BARCODES), expected)
    assert not encoder.model.training


def test_baseline_and_files(tmp_path: Path) -> None:
    encoder = load_encoder("kmer:3")
    assert isinstance(encoder, KmerCounts) and encoder.dimension == 64
    np.savez(tmp_path / "a.npz", processids=["a"], embeddings=np.ones((1, 2)))
    assert isinstance(load_encoder(tmp_path / "a.npz"), Precomputed)
    for spec in ("kmer:3", tmp_path / "a.npz"):
        with pytest.raises(ValueError, match="`precision` and `reading_frames` are for models"):
            load_encoder(spec, reading_frames=2)


@pytest.mark.parametrize("spec", ["kmer:", "kmer:x", "kmer:-1", "kmer:4.0", "a b", "x/y/z", ""])
def test_what_is_no_encoder_is_refused(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"(is no encoder|has no config.json).*expected .*'kmer:4' for k-mer counts"):
        load_encoder(spec)


@pytest.mark.parametrize(
    "spec", ["./x", "/no/such/model", "~/no-such-model", "a.parquet", "no/such.npz", Path("x"), "barcodebert-smal"]
)
def test_what_can_be_no_repository_is_not_sought_on_the_hub(spec: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "hf_hub_download", None)
    for load in (load_encoder, load_clibd, load_image_encoder):
        with pytest.raises(FileNotFoundError, match=r"^No such file or folder: '.*'\. Expected '"):
            load(spec)


def test_only_where_it_is_allowed_a_repository_has_no_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, name: str, revision: str | None) -> str:
        raise LocalEntryNotFoundError(f"asked for {repo}")

    monkeypatch.setattr(model_files, "hf_hub_download", download)
    with pytest.raises(OSError, match="asked for bert-base-uncased"):
        model_files.find_model("bert-base-uncased", Path("bert-base-uncased"), None, expected="one", ownerless=True)


def test_folders_without_model_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no config.json, nor embeddings in Parquet"):
        load_encoder(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no weights"):
        load_encoder(folder)
    (folder / "model.safetensors").touch()
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="no configuration of a model"):
        load_encoder(folder)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="unknown kind"):
        load_encoder(tmp_path / "a.txt")


def test_missing_surplus_and_misshapen_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    other = weights["classifier.bias"]
    changes: dict[str, dict[str, Any]] = {
        "1 (encoder.layer.0.output.dense.bias) missing, none surplus": {"bert.encoder.layer.0.output.dense.bias": None},
        "none missing, 1 (": {"bert.encoder.layer.1.output.dense.bias": other.clone()},
        "none missing, 1 (something": {"something.else": other.clone()},
        "cannot be loaded": {"bert.encoder.layer.0.output.dense.bias": other.clone()},
    }
    for message, change in changes.items():
        changed = {key: value for key, value in (weights | change).items() if value is not None}
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError) as error:
            load_encoder(folder)
        assert message in str(error.value) and str(folder) in str(error.value)


def test_tokenizer_and_model_must_agree(folder: Path) -> None:
    build_tokenizer(4).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"tokenizer.json' does not belong to the model: k = 3"):
        load_encoder(folder)
    (folder / "tokenizer.json").unlink()
    assert load_encoder(folder).embed is not None


def test_code_in_the_folder_is_never_run_for_a_barcodebert(folder: Path) -> None:
    for file in folder.glob("*.py"):
        file.write_text("raise RuntimeError('foreign code')")
    assert isinstance(load_encoder(folder), BarcodeBertEncoder)


FROM_THE_HUB = """
import json
from bioscan_hf.evaluation.encoders.loading import load_encoder

found = []
for name, revision in (("encoder-tiny", None), ("encoder-tiny", "first"), ("encoder-grover", "main")):
    encoder = load_encoder(f"bioscan-ml/{name}", revision=revision, device="cpu")
    found.append([encoder.name, encoder.revision, encoder.encode(["ACGTACGTAC"])[0].tolist()])
try:
    load_encoder("bioscan-ml/no-such-model")
except OSError as error:
    print(error)
print(json.dumps(found))
"""


def test_models_of_the_hub(hub: LocalHub, folder: Path, tmp_path: Path) -> None:
    api, tiny, grover = hub.api(), "bioscan-ml/encoder-tiny", "bioscan-ml/encoder-grover"
    save_grover(tmp_path / "grover")
    commits = []
    for repo, pushed in ((tiny, folder), (grover, tmp_path / "grover")):
        api.create_repo(repo)
        commits.append(api.upload_folder(repo_id=repo, folder_path=pushed).oid)
    api.create_tag(tiny, tag="first")
    first, other = (load_encoder(place).encode(["ACGTACGTAC"])[0] for place in (folder, tmp_path / "grover"))  # type: ignore[attr-defined]
    weights = load_file(folder / "model.safetensors")
    save_file({key: value * 1.5 for key, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    newest = api.upload_folder(repo_id=tiny, folder_path=folder).oid

    error, found = hub.run(FROM_THE_HUB, tmp_path).stdout.splitlines()[-2:]
    assert "'bioscan-ml/no-such-model' is no folder, and cannot be loaded from the Hub" in error
    names, revisions, vectors = zip(*json.loads(found), strict=True)
    assert names == (tiny, tiny, grover) and revisions == (newest, *commits)
    np.testing.assert_allclose(vectors[1], first, atol=1e-6)
    np.testing.assert_allclose(vectors[2], other, atol=1e-6)
    assert abs(np.array(vectors[0]) - first).max() > 1e-3
