import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from datasets import Dataset

from bioscan_hf.data import pixels
from bioscan_hf.evaluation.unit_length import unit_length
from bioscan_hf.identification.image_space import ImageSpace, rows_with_images
from bioscan_hf.identification.keys import find_keys
from bioscan_hf.identification.models import load_model
from tests.identification.made_library import joined, picture, save_clibd, specimens, with_barcodes, with_images


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(str(save_clibd(tmp_path_factory.mktemp("clibd") / "tiny"))).towers


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


def keys_of(chosen: Dataset) -> Any:
    return find_keys(chosen).of_specimen


@pytest.fixture(scope="module")
def pictured() -> Dataset:
    """Twelve specimens, of which every third has no image."""
    given = specimens("train", 12)
    return with_images(given, [None if row % 3 == 2 else picture(given[row]["genus"], row) for row in range(12)])


def test_the_nearest_are_those_of_the_highest_cosine(towers: Any, pictured: Dataset) -> None:
    space = ImageSpace.of(pictured, keys_of(pictured), towers, silent)
    assert space.tower == "image" and space.rows.tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    queries = with_images(specimens("test", 5))
    rows, neighbours = space.neighbours(queries, k=4)
    own, others = (unit_length(towers["image"].embed(part)) for part in (queries, pictured.select(space.rows)))
    cosines = own @ others.T
    np.testing.assert_allclose(neighbours.similarities, -np.sort(-cosines)[:, :4], atol=1e-5)
    for row, found in enumerate(rows):
        places = [space.rows.tolist().index(one) for one in found]
        np.testing.assert_allclose(cosines[row, places], neighbours.similarities[row], atol=1e-5)
    np.testing.assert_array_equal(neighbours.keys, keys_of(pictured)[rows])
    assert neighbours.identities is None
    assert space.neighbours(queries)[0].shape == (5, 8), "there are no more"


def test_barcodes_where_there_are_no_images(towers: Any) -> None:
    given = specimens("train", 20)
    given = with_barcodes(given, [None if row == 3 else barcode for row, barcode in enumerate(given["dna_barcode"])])
    keys = find_keys(given)
    space = ImageSpace.of(given, keys.of_specimen, towers, silent)
    assert space.tower == "dna" and 3 not in space.rows
    assert sorted(space.keys) == sorted(set(range(len(keys.first))) - {int(keys.of_specimen[3])})
    expected = unit_length(towers["dna"].embed(given.select(space.rows)))
    np.testing.assert_allclose(space.vectors, expected, atol=1e-6)


class TestAdd:
    """Further specimens are compared with what the first ones have."""

    def test_images_to_images(self, towers: Any, pictured: Dataset) -> None:
        keys, first = keys_of(pictured), pictured.select(range(7))
        added = ImageSpace.of(first, keys_of(first), towers, silent).add(pictured.select(range(7, 12)), 7, keys, silent)
        whole = ImageSpace.of(pictured, keys, towers, silent)
        np.testing.assert_array_equal(added.rows, whole.rows)
        np.testing.assert_array_equal(added.keys, whole.keys)
        np.testing.assert_allclose(added.vectors, whole.vectors, atol=1e-6)

    def test_barcodes_to_barcodes(self, towers: Any) -> None:
        given = specimens("train", 40)
        given = joined(given, given.select([0, 5]))
        keys, first = keys_of(given), given.select(range(25))
        added = ImageSpace.of(first, keys_of(first), towers, silent).add(given.select(range(25, 42)), 25, keys, silent)
        whole = ImageSpace.of(given, keys, towers, silent)
        assert sorted(added.rows) == sorted(whole.rows), "each key once"
        order = np.argsort(added.rows)
        np.testing.assert_allclose(added.vectors[order], whole.vectors[np.argsort(whole.rows)], atol=1e-5)

    def test_what_the_first_ones_lack_is_not_mixed_in(self, towers: Any, pictured: Dataset) -> None:
        then = specimens("test", 5)
        without_images = ImageSpace.of(pictured, keys_of(pictured), towers, silent)
        both = joined(specimens("train", 12), then)
        same = without_images.add(then, 12, keys_of(both), silent)
        assert same.tower == "image" and same.rows.tolist() == without_images.rows.tolist()
        of_barcodes = ImageSpace.of(specimens("train", 12), keys_of(both)[:12], towers, silent)
        more = of_barcodes.add(with_images(then), 12, keys_of(both), silent)
        expected = unit_length(towers["dna"].embed(both.select(more.rows)))
        assert more.tower == "dna" and len(more.rows) > len(of_barcodes.rows)
        np.testing.assert_allclose(more.vectors, expected, atol=1e-5)


def test_models_that_cannot_do_it(towers: Any, pictured: Dataset) -> None:
    with pytest.raises(ValueError, match="no tower for images; give a CLIBD that has one"):
        ImageSpace.of(pictured, keys_of(pictured), {"dna": towers["dna"]}, silent)
    given = specimens("train", 3)
    with pytest.raises(ValueError, match="no images, and the model has no tower for DNA"):
        ImageSpace.of(given, keys_of(given), {"image": towers["image"]}, silent)


def test_rows_with_images(pictured: Dataset) -> None:
    assert rows_with_images(pictured).tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    assert rows_with_images(pictured.select([2, 3, 5, 1])).tolist() == [1, 3]
    assert rows_with_images(specimens("train", 3)).tolist() == []
    assert rows_with_images(pictured.select([])).tolist() == []


def test_why_an_image_cannot_be_embedded(towers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = specimens("train", 2)
    space = ImageSpace.of(given, keys_of(given), towers, silent)
    good = picture("Aus", 0)
    (tmp_path / "a.png").write_bytes(good)
    assert space.why_not({"bytes": good, "path": None}) is None
    assert space.why_not({"bytes": None, "path": str(tmp_path / "a.png")}) is None
    missing = space.why_not({"bytes": None, "path": str(tmp_path / "b.png")})
    assert missing is not None and "No such file" in missing
    for content in (good[:60], b"no image"):
        reason = space.why_not({"bytes": content, "path": None})
        assert reason is not None and reason.startswith("the image cannot be decoded") and "\n" not in reason
    narrow = io.BytesIO()
    PIL.Image.new("RGB", (1, 2000)).save(narrow, "PNG")
    assert space.why_not({"bytes": narrow.getvalue(), "path": None}) is None
    monkeypatch.setattr(pixels, "MAX_PIXELS", 10_000)
    reason = space.why_not({"bytes": narrow.getvalue(), "path": None})
    assert reason is not None and reason == "expected at most 10,000 pixels; got 20,000 x 10"
