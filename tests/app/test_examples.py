from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pytest

from bioscan_hf.app.answering import answer
from bioscan_hf.app.asked import read_asked
from bioscan_hf.app.examples import examples_of
from bioscan_hf.app.pictures import Pictures
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.data.specimens import load_specimens
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from tests.app.made_app import pictured, served, served_with_images
from tests.identification.made_library import library


@pytest.fixture(scope="module")
def of_sample() -> Served:
    """A library of the sample; the examples are longer than its barcodes."""
    pictures = Pictures(load_specimens(image=True))
    return Served(Identifier(library(), max_error=0.05, nearest=NEAREST), "sample", True, pictures)


def test_those_of_the_sample_show_what_they_say(of_sample: Served, tmp_path: Path) -> None:
    examples = {example.label: example for example in examples_of(of_sample, tmp_path)}
    assert list(examples) == ["Known species", "Species new to the library", "Reverse complement", "Ten barcodes"]
    specimens = load_specimens()
    species_of = dict(zip(specimens["processid"], specimens["species"], strict=True))
    rows = {}
    for label, example in examples.items():
        assert example.photograph is None
        rows[label] = answer(of_sample.identifier, read_asked(example.text)).table.to_pylist()
    (known,), (new,), (turned,) = (rows[label] for label in list(examples)[:3])
    for row in (known, turned):
        assert row["species"] == species_of[row["processid"]] and not row["novel"]
    assert new["novel"] and species_of[new["processid"]] not in library().taxa["species"]
    assert "reverse complement" in turned["notes"] and not known["notes"]
    assert len(rows["Ten barcodes"]) == 10 and {row["novel"] for row in rows["Ten barcodes"]} == {True, False}


def test_of_a_library_that_compares_images(tmp_path: Path) -> None:
    examples = examples_of(served_with_images(), tmp_path)
    labels = ["A barcode of the library", "Reverse complement", "A photograph of the library"]
    assert [example.label for example in examples] == labels
    path, name = examples[2].photograph or ("", "")
    assert name == pictured()[0]["processid"] and examples[2].text == ""
    with PIL.Image.open(path) as image:
        assert image.size == (30, 24)
    row = answer(served_with_images().identifier, read_asked("", photographs=[(path, name)])).table.to_pylist()[0]
    assert row["nearest_processid"] == name and row["nearest_similarity"] == pytest.approx(1, abs=1e-3)


def test_of_a_library_of_barcodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Those of five million specimens are 3 GB.
    read: list[str] = []
    columns = Library.columns

    def noting(library: Library, names: Sequence[str]) -> pa.Table:
        read.extend(names)
        return columns(library, names)

    monkeypatch.setattr(Library, "columns", noting)
    examples = examples_of(served(), tmp_path)
    assert [example.label for example in examples] == ["A barcode of the library", "Reverse complement"]
    for example in examples:
        row = answer(served().identifier, read_asked(example.text)).table.to_pylist()[0]
        assert row["nearest_identity"] == 1
    assert "dna_barcode" not in read and not list(tmp_path.iterdir())
