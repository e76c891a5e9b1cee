import shutil
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.identification.models import LibraryModel, LibraryModels, load_image_model, load_model, load_models
from tests.identification.made_library import save_clibd


def test_the_librarys_own() -> None:
    assert load_model("aligned") == LibraryModel("aligned", None, None, None, None)


def test_encoders_of_barcodes() -> None:
    model = load_model("kmer:3")
    assert isinstance(model.encoder, KmerCounts) and (model.name, model.folder, model.towers) == ("kmer:3", None, None)
    packaged = load_model("barcodebert-small")
    assert packaged.name == "barcodebert-small" and packaged.folder is None, "others have it, too"
    assert packaged.encoder is not None and packaged.revision == packaged.encoder.revision is not None


def test_a_clibd_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_clibd(tmp_path / "tiny")
    model = load_model(str(folder), device="cpu")
    assert model.towers is not None and list(model.towers) == ["image", "dna"] and model.encoder is None
    assert (model.name, model.folder, model.revision) == ("tiny", folder, digest(folder / "model.safetensors"))
    monkeypatch.chdir(folder)
    assert load_model(".").name == "tiny"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_model("~/tiny").folder == folder


def test_a_clibd_without_images_is_refused_at_once(tmp_path: Path) -> None:
    folder = save_clibd(tmp_path / "tiny", ("dna", "text"))
    for load in (load_model, load_image_model):
        with pytest.raises(ValueError, match="is a CLIBD without tower for images"):
            load(str(folder))


class TestTwoModels:
    """One for barcodes and one for images."""

    def test_each_compares_what_it_is_for(self, tmp_path: Path) -> None:
        folder = save_clibd(tmp_path / "tiny")
        models = load_models("kmer:3", str(folder), device="cpu")
        assert models.images is not None and models.towers is not None and list(models.towers) == ["image", "dna"]
        assert isinstance(models.barcodes.encoder, KmerCounts) and models.barcodes.towers is None
        revision = digest(folder / "model.safetensors")
        assert models.info == {
            **{"model": "kmer:3", "model_revision": models.barcodes.revision},
            **{"image_model": "tiny", "image_model_revision": revision},
        }
        assert models.folders == {"image_model": folder}
        assert load_models("kmer:3", folder, device="cpu").info == models.info, "by its path, too"

    def test_none_for_images(self) -> None:
        models = load_models("aligned")
        assert models == LibraryModels(LibraryModel()) and models.towers is None and models.folders == {}
        assert models.info == {"model": "aligned", "model_revision": None}

    def test_a_clibd_alone_is_for_images(self, tmp_path: Path) -> None:
        folder = str(save_clibd(tmp_path / "tiny"))
        alone, beside = load_models(folder), load_models("aligned", folder)
        assert alone.info == beside.info and alone.folders == beside.folders
        assert alone.barcodes == beside.barcodes == LibraryModel()

    def test_two_for_images(self, tmp_path: Path) -> None:
        model = load_model(str(save_clibd(tmp_path / "tiny")))
        with pytest.raises(ValueError, match=r"'tiny' is a CLIBD, which is for images, .*; give one of them"):
            load_models(model, "never loaded")
        with pytest.raises(ValueError, match="'tiny' is a CLIBD, which is for images"):
            load_models(model, model)

    def test_none_of_images(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="must be a CLIBD; 'kmer:3' is a model of barcodes"):
            load_models("aligned", load_model("kmer:3"))
        for name, message in (
            ("barcodebert-small", "no CLIBD, but of the type 'barcodebert'; expected 'clibd-small'"),
            ("kmer:3", "'kmer:3' is no encoder; expected 'clibd-small'"),
            ("aligned", r"No such file or folder: 'aligned'\. Expected 'clibd-small'"),
            (str(tmp_path / "none"), r"No such file or folder: .*none'\. Expected 'clibd-small', which comes with"),
        ):
            with pytest.raises((ValueError, FileNotFoundError), match=message):
                load_models("aligned", name)


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(
        save_clibd(tmp_path / "broken"), tmp_path / "no config", ignore=shutil.ignore_patterns("config.json")
    )
    (tmp_path / "broken" / "config.json").write_text("{")
    for name, message in (("empty", "has no config"), ("no config", "has no config"), ("broken", "no configuration")):
        with pytest.raises(ValueError, match=message):
            load_model(str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"No such file or folder: '/none/such/model'\. Expected"):
        load_model("/none/such/model")
    with pytest.raises(ValueError, match=r"'models/none/such' is no encoder; expected"):
        load_model("models/none/such")


def test_vectors_of_known_specimens_name_no_new_ones(tmp_path: Path) -> None:
    np.savez(tmp_path / "vectors.npz", processids=np.array(["A"]), embeddings=np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"vectors\.npz' computes nothing for new barcodes; a library needs 'aligned'"):
        load_model(str(tmp_path / "vectors.npz"))
