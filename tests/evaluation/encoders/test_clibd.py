import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from numpy.typing import NDArray

from bioscan_hf import ClibdModel, ImageEncoder, build_tokenizer, load_encoder, load_image_encoder
from bioscan_hf.data.files import digest
from bioscan_hf.evaluation.encoders.clibd import (
    ClibdBarcodeEncoder,
    ClibdTextEncoder,
    clibd_encoders,
    clibd_preprocessing,
    load_clibd,
)
from bioscan_hf.hub.push import save_model
from tests.evaluation.encoders.made_vision_models import made_images, png
from tests.hub_server.fixture import LocalHub
from tests.tiny import tiny_clibd, tiny_clibd_processor, tiny_masked_lm

BARCODES = ["ACGTACGTTTGACCA", "ACGTACGTTTGACC", "ACGNNCGTTTGACCATTG", "TTTTTTTTTTTT", "ACG"]
TAXA: list[tuple[str | None, ...]] = [
    ("Aptera", None, "Aus", "Aus bus"),
    ("Aptera", None, "Aus", None),
    ("Bptera", None, "Cus", "Cus dus"),
    ("Aptera", None, "Aus", "Aus bus"),
    (None, None, None, "Cus eus"),
]
TEXTS = [" ".join(name or "not_classified" for name in names) for names in TAXA]


def specimens() -> Dataset:
    """Five specimens with images, barcodes and names."""
    columns = dict.fromkeys(("processid", "dna_barcode", "order", "family", "genus", "species"), Value("string"))
    rows = [
        {"processid": f"P{i}", "dna_barcode": barcode, "image": {"bytes": png(image.resize((36, 30)))}}
        | dict(zip(("order", "family", "genus", "species"), names, strict=True))
        for i, (barcode, names, image) in enumerate(zip(BARCODES, TAXA, made_images(), strict=True))
    ]
    return Dataset.from_list(rows, features=Features({**columns, "image": Image()}))


SPECIMENS = specimens()


def by_hand(model: ClibdModel, modality: str) -> NDArray[np.float32]:
    """What the model gives, for one specimen after the other."""
    processor = tiny_clibd_processor()
    found = []
    for i in range(len(BARCODES)):
        given: dict[str, Any] = {"image": {"images": SPECIMENS[i]["image"]}, "dna": {"dna": BARCODES[i]}}
        given["text"] = {"text": TEXTS[i]}
        inputs = processor(**given[modality])
        with torch.no_grad():
            if modality == "image":
                vectors = model.get_image_features(**inputs).pooler_output
            elif modality == "dna":
                vectors = model.get_dna_features(*inputs.values()).pooler_output
            else:
                vectors = model.get_text_features(*inputs.values()).pooler_output
        found.append(vectors[0].numpy())
    return np.array(found)


@pytest.mark.parametrize(
    "fields",
    [{}, {"dna_pooling": "head_softmax_mean", "dna_head": "mlm", "text_pooling": "mean"}, {"dna_pooling": "mean"}],
)
@pytest.mark.parametrize("modality", ["image", "dna", "text"])
def test_each_encoder_gives_what_the_model_gives(modality: str, fields: dict[str, Any]) -> None:
    model = tiny_clibd(**fields)
    for size in (1, 2, 64):
        encoder = clibd_encoders(model, tiny_clibd_processor(), batch_size=size)[modality]
        found = encoder.embed(SPECIMENS)
        assert found.dtype == np.float32 and found.shape == (5, 16)
        # Pillow rounds a scaled image to whole numbers in more than one way.
        np.testing.assert_allclose(found, by_hand(model, modality), atol=2e-2 if modality == "image" else 1e-5)


def test_size_of_batches_does_not_matter() -> None:
    model, processor = tiny_clibd(), tiny_clibd_processor()
    for modality in ("image", "dna", "text"):
        one, all_ = (clibd_encoders(model, processor, batch_size=size)[modality].embed(SPECIMENS) for size in (1, 64))
        np.testing.assert_allclose(one, all_, atol=1e-5)


def test_modalities_are_those_of_the_model_and_its_mode_stays() -> None:
    for names in (["image", "dna"], ["image", "text"], ["dna", "text"]):
        model = tiny_clibd(modalities=names).train()
        encoders = clibd_encoders(model, tiny_clibd_processor())
        assert list(encoders) == names
        for encoder in encoders.values():
            encoder.embed(SPECIMENS)
        assert model.training


class TestTexts:
    """Names of taxa as texts, each computed once."""

    def test_each_distinct_text_is_computed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoder = ClibdTextEncoder(tiny_clibd(), tiny_clibd_processor().tokenizer)
        asked: list[list[str]] = []
        compute = encoder._features

        def noted(texts: list[str]) -> torch.Tensor:
            asked.append(texts)
            return compute(texts)

        monkeypatch.setattr(encoder, "_features", noted)
        vectors = encoder.embed(SPECIMENS)
        assert asked == [[TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[4]]]
        np.testing.assert_array_equal(vectors[0], vectors[3])
        assert not np.allclose(vectors[0], vectors[1], atol=1e-3)

    def test_the_form_is_that_of_the_training(self) -> None:
        encoder = ClibdTextEncoder(tiny_clibd(text_form="labelled"), tiny_clibd_processor().tokenizer)
        more = SPECIMENS.add_column("class", [None] * 5).add_column("subfamily", [None] * 5)
        expected = encoder.encode(["Order: Bptera, Genus: Cus, Species: Cus dus"])
        np.testing.assert_allclose(encoder.embed(more)[2], expected[0], atol=1e-6)
        assert encoder.description["text_form"] == "labelled"

    def test_a_specimen_without_a_name_is_told(self) -> None:
        encoder = ClibdTextEncoder(tiny_clibd(), tiny_clibd_processor().tokenizer)
        nameless = SPECIMENS.remove_columns(["order", "family", "genus", "species"])
        for rank in ("order", "family", "genus", "species"):
            nameless = nameless.add_column(rank, ["Aus", None, "Aus", None, "Aus"])
        with pytest.raises(
            ValueError, match=r"'P1' has no name at any of the ranks .*so that there is no text \(2 such\)"
        ):
            encoder.embed(nameless)

    def test_progress_is_told_and_the_order_kept(self) -> None:
        encoder = ClibdTextEncoder(tiny_clibd(), tiny_clibd_processor().tokenizer, batch_size=2)
        told: list[tuple[int, int]] = []
        vectors = encoder.encode(TEXTS, report=lambda done, total: told.append((done, total)))
        assert told == [(2, 5), (4, 5), (5, 5)]
        np.testing.assert_allclose(vectors[::-1], encoder.encode(TEXTS[::-1]), atol=1e-5)


class TestBarcodes:
    """The tower for DNA is used like a BarcodeBERT."""

    def test_reading_frames_are_averaged_as_asked_or_as_the_model_says(self) -> None:
        model = tiny_clibd(dna_config={"reading_frames": 2})
        encoder, alone = ClibdBarcodeEncoder(model), ClibdBarcodeEncoder(model, reading_frames=1)
        assert (encoder.reading_frames, alone.reading_frames) == (2, 1)
        barcode = "ACGTACGTTTGACCA"
        frames = [alone.encode([barcode[start:]])[0] for start in (0, 1)]
        np.testing.assert_allclose(encoder.encode([barcode])[0], np.mean(frames, axis=0), atol=1e-5)
        assert not np.allclose(frames[0], frames[1], atol=1e-3)

    def test_letters_are_those_that_the_tower_reads(self) -> None:
        encoder = ClibdBarcodeEncoder(tiny_clibd())
        assert (encoder.min_letters, encoder.max_letters, encoder.dimension) == (3, 24, 16)
        long = "ACGT" * 10
        np.testing.assert_allclose(encoder.encode([long]), encoder.encode([long[:24]]), atol=1e-6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "tiny", tiny_clibd(), tiny_clibd_processor())
    return tmp_path / "tiny"


class TestLoading:
    """A folder, by each of the functions."""

    def test_all_encoders(self, folder: Path) -> None:
        found, expected = load_clibd(folder, device="cpu"), clibd_encoders(tiny_clibd(), tiny_clibd_processor())
        assert list(found) == ["image", "dna", "text"]
        for modality, encoder in found.items():
            assert (encoder.name, encoder.revision) == ("tiny", digest(folder / "model.safetensors"))
            np.testing.assert_allclose(encoder.embed(SPECIMENS), expected[modality].embed(SPECIMENS), atol=1e-5)

    def test_one_encoder(self, folder: Path) -> None:
        expected = load_clibd(folder, device="cpu")
        dna = load_encoder(folder, device="cpu", batch_size=3)
        image = load_image_encoder(folder, device="cpu", batch_size=3)
        assert isinstance(dna, ClibdBarcodeEncoder) and isinstance(image, ImageEncoder)
        assert (dna.batch_size, image.batch_size) == (3, 3)
        np.testing.assert_allclose(dna.embed(SPECIMENS), expected["dna"].embed(SPECIMENS), atol=1e-5)
        np.testing.assert_allclose(image.embed(SPECIMENS), expected["image"].embed(SPECIMENS), atol=1e-5)

    def test_images_are_prepared_as_in_training(self, folder: Path) -> None:
        encoder: Any = load_image_encoder(folder, device="cpu")
        assert encoder.pooling == "projection"
        assert (encoder.preprocessing.size, encoder.preprocessing.shorter_side) == (8, 10)
        assert encoder.preprocessing == clibd_preprocessing(tiny_clibd_processor(), tiny_clibd().config)
        assert encoder.preprocessing.mean == (0, 0, 0) and encoder.preprocessing.std == (1, 1, 1)

    def test_lower_precision_is_close(self, folder: Path) -> None:
        for load in (load_encoder, load_image_encoder):
            exact, rough = (load(folder, device="cpu", precision=p).embed(SPECIMENS) for p in ("float32", "bfloat16"))
            assert 0 < abs(exact - rough).max() < 0.2, load

    def test_towers_that_are_not_there(self, tmp_path: Path) -> None:
        for name, left, load in (
            ("DNA", ["image", "text"], load_encoder),
            ("images", ["dna", "text"], load_image_encoder),
        ):
            path = tmp_path / name
            save_model(path, tiny_clibd(modalities=left), tiny_clibd_processor())
            with pytest.raises(ValueError, match=f"has no tower for {name}, but for {', '.join(left)}"):
                load(path)

    def test_what_is_no_clibd(self, tmp_path: Path) -> None:
        save_model(tmp_path, tiny_masked_lm(), build_tokenizer(3))
        with pytest.raises(ValueError, match=r"is no CLIBD, but of the type 'barcodebert'; expected 'clibd-small', "):
            load_clibd(tmp_path)
        with pytest.raises(ValueError, match=r"config\.json' is a file; expected 'clibd-small', which comes"):
            load_clibd(tmp_path / "config.json")
        with pytest.raises(FileNotFoundError, match=r"No such file or folder: 'nowhere'.*'clibd-small', which comes"):
            load_clibd("./nowhere")

    def test_weights_that_are_missing_or_of_another_configuration(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "loss_type": "sigmoid"}))
        with pytest.raises(ValueError, match=r"1 \(logit_scale.bias\) missing, none surplus"):
            load_clibd(folder)
        (folder / "config.json").write_text(json.dumps({**config, "modalities": ["image"]}))
        with pytest.raises(ValueError, match="makes no model: `modalities` must be two or three of"):
            load_clibd(folder)


FROM_THE_HUB = """
import json
from bioscan_hf import load_encoder, load_image_encoder
from bioscan_hf.evaluation.encoders.clibd import load_clibd
from tests.evaluation.encoders.test_clibd import SPECIMENS

found = dict(load_clibd("tester/tiny-clibd", device="cpu"))
found["dna alone"] = load_encoder("tester/tiny-clibd", device="cpu", revision="main")
found["image alone"] = load_image_encoder("tester/tiny-clibd", device="cpu")
print(json.dumps({name: [own.name, own.revision, own.embed(SPECIMENS).tolist()] for name, own in found.items()}))
"""


@pytest.mark.slow  # a Python of its own, whose clients ask the local Hub
def test_a_model_of_the_hub(hub: LocalHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = hub.api()
    api.create_repo("tester/tiny-clibd")
    commit = api.upload_folder(repo_id="tester/tiny-clibd", folder_path=folder).oid
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    found = json.loads(hub.run(FROM_THE_HUB, tmp_path).stdout.splitlines()[-1])
    expected = clibd_encoders(tiny_clibd(), tiny_clibd_processor())
    assert list(found) == ["image", "dna", "text", "dna alone", "image alone"]
    for modality, (name, revision, vectors) in found.items():
        assert (name, revision) == ("tester/tiny-clibd", commit)
        np.testing.assert_allclose(vectors, expected[modality.split()[0]].embed(SPECIMENS), atol=1e-5)
