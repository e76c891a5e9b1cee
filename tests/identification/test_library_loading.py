import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bioscan_hf import BarcodeBertEncoder, build_tokenizer
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_files import read_manifest
from bioscan_hf.identification.queries import Queries
from bioscan_hf.identification.search import CellIndex, ExactIndex
from tests.identification.made_library import (
    library,
    non_coi,
    picture,
    save_clibd,
    specimens,
    with_images,
    without_digests,
)
from tests.tiny import tiny_masked_lm

QUERIES = [*specimens("test")["dna_barcode"], *specimens("test_unseen")["dna_barcode"], non_coi()]


def save_model(folder: Path) -> Path:
    tiny_masked_lm().save_pretrained(folder)
    build_tokenizer(3).save_pretrained(folder)
    (folder / "checkpoint-7").mkdir()
    (folder / "checkpoint-7" / "large").write_text("of a training")
    return folder


def share_equal(one: list[object], other: list[object]) -> float:
    return float(np.mean([mine == theirs for mine, theirs in zip(one, other, strict=True)]))


def test_what_is_loaded_names_as_what_was_built(saved_library: Path) -> None:
    made, loaded = library(), Library.load(saved_library)
    options = {"max_error": 0.05, "nearest": 3}
    assert Identifier(loaded, **options)(QUERIES).equals(Identifier(made, **options)(QUERIES))  # type: ignore[arg-type]
    assert (
        loaded.specimens.to_list() == made.specimens.to_list() and loaded.specimens.features == made.specimens.features
    )
    assert loaded.info == made.info and loaded.model_folders == {}
    assert Library.load(str(saved_library)).info == made.info


def test_what_is_loaded_is_saved_and_added_to_as_what_was_built(saved_library: Path, tmp_path: Path) -> None:
    loaded = Library.load(saved_library)
    loaded.save(tmp_path / "again")
    for path in saved_library.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    # Over the files that it is mapped from.
    again = Library.load(tmp_path / "again")
    more = again.add(specimens("test", 10))
    more.save(tmp_path / "again")
    found = Identifier(Library.load(tmp_path / "again"))(specimens("test", 10)["dna_barcode"][:])
    assert found["nearest_identity"].to_pylist() == [1.0] * 10
    assert found["species"].to_pylist() == specimens("test", 10)["species"][:]
    assert (
        Library.load(tmp_path / "again").specimens.to_list() == library().add(specimens("test", 10)).specimens.to_list()
    )


def test_half_precision_is_nearly_the_same(saved_library: Path, tmp_path: Path) -> None:
    library().save(tmp_path / "half", dtype="float16")
    sizes = [read_manifest(folder)["files"]["keys.safetensors"] for folder in (saved_library, tmp_path / "half")]
    assert sizes[1] < 0.65 * sizes[0]
    exact, half = (Identifier(Library.load(folder))(QUERIES) for folder in (saved_library, tmp_path / "half"))
    assert share_equal(exact["species"].to_pylist(), half["species"].to_pylist()) > 0.99
    mine, theirs = (np.array(table["nearest_similarity"].to_pylist(), float) for table in (exact, half))
    np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_cells_are_nearly_the_same(saved_library: Path, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    made = Library.load(saved_library)
    made.index = CellIndex.build(made.vectors)
    made.save(tmp_path / "made")
    Library.load(tmp_path / "made").save(tmp_path / "cells")
    assert (tmp_path / "made" / "cells.faiss").read_bytes() == (tmp_path / "cells" / "cells.faiss").read_bytes()
    loaded = Library.load(tmp_path / "cells")
    assert isinstance(loaded.index, CellIndex)
    names = Identifier(loaded)(QUERIES)["genus"].to_pylist()
    assert share_equal(names, Identifier(library())(QUERIES)["genus"].to_pylist()) > 0.97


@pytest.mark.parametrize(
    "name", ["keys.safetensors", "space.safetensors", "specimens.parquet", "calibration-barcode.parquet"]
)
def test_a_file_that_is_damaged(saved_library: Path, tmp_path: Path, name: str) -> None:
    folder = without_digests(shutil.copytree(saved_library, tmp_path / "lib"))
    size = (folder / name).stat().st_size
    (folder / name).write_bytes(b"\xff" * size)
    with pytest.raises(ValueError, match=rf"{name}' is damaged \(.+\); copy or build the library again\.") as error:
        Library.load(folder)
    assert "\n" not in str(error.value)


def test_files_of_a_former_version_are_not_read(saved_library: Path, tmp_path: Path) -> None:
    """A repository keeps them when a library without them is pushed."""
    folder = shutil.copytree(saved_library, tmp_path / "lib")
    (folder / "cells.faiss").write_text("of other keys")
    (folder / "model").mkdir()
    loaded = Library.load(folder)
    assert isinstance(loaded.index, ExactIndex) and loaded.model_folders == {}


@pytest.fixture(scope="module")
def with_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a model, which was removed from where it was."""
    folder = tmp_path_factory.mktemp("with model")
    model = save_model(folder / "tiny-bert")
    made = Library.build(specimens("train", 50), calibration=specimens("val_unseen", 40), model=str(model))
    made.save(folder / "lib")
    before = Identifier(made)(QUERIES[:20])
    shutil.rmtree(model)
    assert Identifier(Library.load(folder / "lib"))(QUERIES[:20]).equals(before)
    return folder / "lib"


class TestModels:
    """A library that was made with a model is asked with this one."""

    def test_it_comes_with_it(self, with_model: Path, tmp_path: Path) -> None:
        manifest = read_manifest(with_model)
        assert manifest["model"] == "tiny-bert" and len(manifest["model_revision"]) == 12
        assert {"model/config.json", "model/model.safetensors"} <= set(manifest["files"])
        assert not (with_model / "model" / "checkpoint-7").exists()
        loaded = Library.load(with_model)
        found = Identifier(loaded)(specimens("train", 50)["dna_barcode"][:])
        assert found["nearest_identity"].to_pylist() == [1.0] * 50
        loaded.add(specimens("test", 3)).save(tmp_path / "more")
        assert read_manifest(tmp_path / "more")["model"] == "tiny-bert"
        assert len(Library.load(tmp_path / "more").specimens) == 53

    def test_another_one_is_refused(self, with_model: Path, tmp_path: Path) -> None:
        folder = without_digests(shutil.copytree(with_model, tmp_path / "lib"))
        weights = folder / "model" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=r"made with the model 'tiny-bert', revision \w+; the one at hand has"):
            Library.load(folder)

    def test_a_part_of_it_is_missing(self, with_model: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(with_model, tmp_path / "lib")
        shutil.rmtree(folder / "model")
        with pytest.raises(ValueError, match=r"not whole: model/config\.json must have .* bytes, and is missing"):
            Library.load(folder)

    def test_by_its_name(self, tmp_path: Path) -> None:
        made = Library.build(specimens("train", 30), calibration=specimens("val_unseen", 2), model="kmer:4")
        made.save(tmp_path / "lib")
        assert not (tmp_path / "lib" / "model").exists()
        loaded = Library.load(tmp_path / "lib")
        assert loaded.barcodes.encoder is not None and loaded.barcodes.encoder.dimension == 256
        assert Identifier(loaded)(QUERIES[:20]).equals(Identifier(made)(QUERIES[:20]))

    def test_the_one_of_the_package_beside_a_folder_of_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Library.build(specimens("train", 30), calibration=specimens("val_unseen", 2), model="barcodebert-small")
        made.save(tmp_path / "lib")
        save_model(tmp_path / "barcodebert-small")
        monkeypatch.chdir(tmp_path)
        loaded = Library.load("lib")
        assert loaded.info == made.info and loaded.model_folders == {}
        assert Identifier(loaded)(QUERIES[:5]).equals(Identifier(made)(QUERIES[:5]))

    def test_another_revision_of_the_same_name(self, tmp_path: Path) -> None:
        given = specimens("train", 30)
        Library.build(given, calibration=specimens("val_unseen", 2), model="kmer:4").save(tmp_path / "lib")
        manifest = json.loads((tmp_path / "lib" / "library.json").read_text())
        other = {**manifest, "model_revision": "f" * 12, "digest": None}
        (tmp_path / "lib" / "library.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match="Vectors of two models cannot be compared: build the library again"):
            Library.load(tmp_path / "lib")


@pytest.fixture(scope="module")
def with_two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one model for barcodes and one for images, which were removed from where they were."""
    folder = tmp_path_factory.mktemp("two models")
    save_model(folder / "tiny-bert")
    save_clibd(folder / "tiny-clibd")
    made = Library.build(
        with_images(specimens("train", 50)),
        calibration=with_images(specimens("val_unseen", 40)),
        model=str(folder / "tiny-bert"),
        image_model=str(folder / "tiny-clibd"),
    )
    made.save(folder / "lib")
    shutil.rmtree(folder / "tiny-bert")
    shutil.rmtree(folder / "tiny-clibd")
    return folder / "lib"


class TestTwoModels:
    """Barcodes by one, images by another."""

    def test_both_come_with_it(self, with_two_models: Path, tmp_path: Path) -> None:
        manifest = read_manifest(with_two_models)
        assert (manifest["model"], manifest["image_model"]) == ("tiny-bert", "tiny-clibd")
        assert manifest["model_revision"] != manifest["image_model_revision"]
        assert {"model/model.safetensors", "image_model/model.safetensors"} <= set(manifest["files"])
        loaded = Library.load(with_two_models)
        assert isinstance(loaded.barcodes.encoder, BarcodeBertEncoder)
        assert loaded.images is not None and loaded.images.tower == "image" and len(loaded.images.rows) == 50
        # From there to another place.
        loaded.add(with_images(specimens("test", 3))).save(tmp_path / "more")
        more = read_manifest(tmp_path / "more")
        assert {name: more[name] for name in loaded.info if "model" in name} == {
            name: manifest[name] for name in ("model", "model_revision", "image_model", "image_model_revision")
        }
        images = Library.load(tmp_path / "more").images
        assert images is not None and len(images.rows) == 53

    def test_each_answers_what_it_is_for(self, with_two_models: Path) -> None:
        given = specimens("train", 50)
        images = [{"bytes": picture(given[row]["genus"], row), "path": None} for row in range(3)]
        barcodes = given["dna_barcode"][:3]
        nowhere = np.full(6, np.nan)
        asked = Queries(
            list("abcdef"), [*barcodes, None, None, None], [None, None, None, *images], [None] * 6, nowhere, nowhere
        )
        found = Identifier(Library.load(with_two_models)).identify(asked)
        assert found["evidence"].to_pylist() == ["barcode"] * 3 + ["image"] * 3
        assert found["nearest_processid"].to_pylist() == given["processid"][:3] * 2

    def test_another_image_model_is_refused(self, with_two_models: Path, tmp_path: Path) -> None:
        folder = without_digests(shutil.copytree(with_two_models, tmp_path / "lib"))
        weights = folder / "image_model" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=r"made with the model 'tiny-clibd', revision \w+; the one at hand has"):
            Library.load(folder)

    def test_a_clibd_that_stands_as_the_only_model(self, with_two_models: Path, tmp_path: Path) -> None:
        """It is for images, whichever of the two it is called; saved again, it is called the image model."""
        folder = save_clibd(tmp_path / "tiny")
        made = Library.build(with_images(specimens("train", 30)), calibration=specimens("val", 2), model=str(folder))
        made.save(tmp_path / "lib")
        manifest = read_manifest(without_digests(tmp_path / "lib"))
        assert manifest["model"] == "aligned" and manifest["image_model"] == "tiny"
        (tmp_path / "lib" / "image_model").rename(tmp_path / "lib" / "model")
        manifest["model"], manifest["model_revision"] = "tiny", manifest.pop("image_model_revision")
        del manifest["image_model"]
        manifest["files"] = {name.replace("image_model/", "model/"): size for name, size in manifest["files"].items()}
        (tmp_path / "lib" / "library.json").write_text(json.dumps(manifest))
        loaded = Library.load(tmp_path / "lib")
        assert loaded.info["model"] == "aligned" and loaded.info == made.info
        loaded.save(tmp_path / "again")
        assert Library.load(tmp_path / "again").images is not None
