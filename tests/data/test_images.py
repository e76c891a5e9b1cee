import io
import threading
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, Features, Image, IterableDataset, Value, load_dataset
from PIL import Image as PillowImage

from bioscan_hf.data import images
from bioscan_hf.data.images import ImageBatches
from bioscan_hf.data.pixels import crop, decode_image

FEATURES = Features(
    {
        "image": Image(),
        "processid": Value("string"),
        "species": Value("string"),
        "species_index": Value("int64"),
        "coord-lat": Value("float64"),
    }
)
SMALL: dict[str, Any] = {"size": 8, "shorter_side": 10}
ROWS = 23


def jpeg(number: int) -> bytes:
    """An image of 10 pixels' shorter side that tells its number by its mean."""
    file = io.BytesIO()
    grey = np.full((10, 10 + number % 3, 3), 10 * number, np.uint8)
    grey[:, ::2] += 5
    PillowImage.fromarray(grey).save(file, "JPEG", quality=95)
    return file.getvalue()


def rows(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Specimens; those named by their process id have other values."""
    found = []
    for i in range(ROWS):
        row = {
            "image": {"bytes": jpeg(i), "path": f"P{i}.jpg"},
            "processid": f"P{i}",
            "species": f"Aus no{i}" if i % 2 else None,
            "species_index": i if i % 2 else None,
            "coord-lat": None if i == 3 else i / 2,
        }
        found.append(row | changed.get(f"P{i}", {}))
    return found


def complete_rows() -> list[dict[str, Any]]:
    return [row | {"species": "Aus bus", "species_index": 0, "coord-lat": 0.0} for row in rows()]


def made(**changed: dict[str, Any]) -> Dataset:
    return Dataset.from_list(rows(**changed), features=FEATURES)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return made()


def numbers(batches: ImageBatches | list[dict[str, Any]]) -> list[list[int]]:
    """Which images are in each batch, by their pixels."""
    return [[round(float(image.float().mean() - 2.5) / 10) for image in batch["pixel_values"]] for batch in batches]


def equal(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_are_the_decoded_and_cropped_images_in_order(threads: int, dataset: Dataset) -> None:
    batches = ImageBatches(dataset, batch_size=5, threads=threads, columns=["processid"], **SMALL)
    found = list(batches)
    assert len(batches) == len(found) == 5
    assert [len(batch["pixel_values"]) for batch in found] == [5, 5, 5, 5, 3]
    assert [name for batch in found for name in batch["processid"]] == [f"P{i}" for i in range(ROWS)]
    pixels = torch.cat([batch["pixel_values"] for batch in found])
    assert pixels.dtype == torch.uint8 and pixels.shape == (ROWS, 8, 8, 3)
    for i, image in enumerate(pixels.numpy()):
        np.testing.assert_array_equal(image, crop(decode_image(jpeg(i)), 8))


def test_columns_keep_their_form_where_values_are_missing(dataset: Dataset) -> None:
    columns = ["species", "species_index", "coord-lat"]
    first, *_, last = ImageBatches(dataset, batch_size=4, columns=columns, **SMALL)
    assert list(first) == ["pixel_values", *columns]
    assert first["species"] == [None, "Aus no1", None, "Aus no3"]
    assert first["species_index"].tolist() == [-1, 1, -1, 3]
    assert first["coord-lat"].isnan().tolist() == [False, False, False, True]
    assert last["species_index"].dtype == torch.int64 and last["coord-lat"].dtype == torch.float64
    first["species_index"] += 1  # the memory is the caller's own


def test_images_of_other_sizes_are_scaled(dataset: Dataset) -> None:
    [batch] = ImageBatches(dataset)
    assert dataset[1]["image"].size == (11, 10)
    # As `Resize(256)` and `CenterCrop(224)` of torchvision: to 281 x 256, of which 28.5 columns are left of the centre.
    resized = dataset[1]["image"].resize((281, 256), PillowImage.Resampling.BILINEAR).crop((28, 16, 252, 240))
    np.testing.assert_array_equal(batch["pixel_values"][1], np.asarray(resized))


def test_shuffled_passes_differ_and_can_be_repeated(dataset: Dataset) -> None:
    batches = ImageBatches(dataset, batch_size=5, shuffle=True, seed=4, **SMALL)
    first, second = numbers(batches), numbers(batches)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(ROWS))
    assert first != second and list(chain(*first)) != list(range(ROWS))
    batches.epoch = 0
    assert numbers(batches) == first
    assert numbers(ImageBatches(dataset, batch_size=5, shuffle=True, seed=5, **SMALL)) != first


def test_random_crops_follow_the_seed_not_the_threads(dataset: Dataset) -> None:
    def passes(**arguments: Any) -> list[dict[str, Any]]:
        batches = ImageBatches(dataset, batch_size=5, random_crop=True, shuffle=True, **SMALL, **arguments)
        return [*batches, *batches]

    assert equal(passes(), passes(threads=2))
    assert not equal(passes(), passes(seed=1))
    assert not equal(passes()[:5], passes()[5:])
    centred = list(ImageBatches(dataset, batch_size=5, **SMALL))
    assert not equal(centred, list(ImageBatches(dataset, batch_size=5, random_crop=True, **SMALL)))


def test_selected_and_shuffled_datasets_give_their_rows(dataset: Dataset) -> None:
    chosen = dataset.select([7, 2, 9]).with_format("torch")
    assert numbers(ImageBatches(chosen, **SMALL)) == [[7, 2, 9]]
    again = dataset.shuffle(seed=1)
    assert [f"P{i}" for i in numbers(ImageBatches(again, batch_size=ROWS, **SMALL))[0]] == again["processid"][:]


def test_drop_last(dataset: Dataset) -> None:
    batches = ImageBatches(dataset, batch_size=5, drop_last=True, **SMALL)
    assert len(batches) == len(list(batches)) == 4
    assert len(ImageBatches(dataset.select(range(20)), batch_size=5, drop_last=True, **SMALL)) == 4


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, "there is no image"),
        ({"bytes": jpeg(4)[:300], "path": None}, "cannot be decoded"),
        ({"bytes": None, "path": "absent.jpg"}, "absent.jpg"),
    ],
)
def test_bad_image_is_named(image: Any, reason: str, threads: int) -> None:
    batches = ImageBatches(made(P12={"image": image}), batch_size=5, shuffle=True, threads=threads, **SMALL)
    with pytest.raises(ValueError, match=rf"^Row 12 \(process id P12\): .*{reason}"):
        list(batches)


@pytest.mark.parametrize("threads", [0, 2])
def test_bad_images_are_left_out_and_counted(threads: int) -> None:
    bad: dict[str, dict[str, Any]] = {f"P{i}": {"image": None} for i in (0, 5, 6, 7, 8, 9, 22)}
    batches = ImageBatches(made(**bad), batch_size=5, on_error="skip", columns=["processid"], threads=threads, **SMALL)
    with pytest.warns(UserWarning, match=r"7 of 23 specimens were left out. Row 0 \(process id P0\): .* \.\.\.$"):
        found = list(batches)
    assert batches.skipped == 7
    assert numbers(found) == [[1, 2, 3, 4], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19], [20, 21]]
    with pytest.warns(UserWarning):
        assert numbers(ImageBatches(made(**bad), on_error="skip", **SMALL)) == [[*range(1, 5), *range(10, 22)]]
    assert [[f"P{i}" for i in batch] for batch in numbers(found)] == [batch["processid"] for batch in found]


def test_images_in_files_are_read(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
    paths = [str(tmp_path / f"{i}.jpg") for i in range(2)]
    files = Dataset.from_dict({"image": paths}).cast_column("image", Image())
    assert numbers(ImageBatches(files, **SMALL)) == [[0, 1]]


def streams(tmp_path: Path) -> Iterator[IterableDataset]:
    yield made().to_iterable_dataset(num_shards=3)
    made().to_parquet(tmp_path / "shard.parquet")
    yield load_dataset("parquet", data_files=str(tmp_path / "*.parquet"), split="train", streaming=True)
    yield IterableDataset.from_generator(complete_rows, features=FEATURES)


@pytest.mark.parametrize("threads", [0, 2])
def test_streams_give_the_same_batches(threads: int, tmp_path: Path, dataset: Dataset) -> None:
    expected = list(ImageBatches(dataset, batch_size=5, random_crop=True, **SMALL))
    for stream in streams(tmp_path):
        batches = ImageBatches(
            stream, batch_size=5, random_crop=True, threads=threads, columns=["species_index"], **SMALL
        )
        assert equal(list(batches), expected)
        with pytest.raises(TypeError, match="stream"):
            len(batches)


def test_shuffled_stream_has_another_order_each_pass(dataset: Dataset) -> None:
    batches = ImageBatches(dataset.to_iterable_dataset().shuffle(seed=1, buffer_size=10), **SMALL)
    [first], [second] = numbers(batches), numbers(batches)
    assert first != second and sorted(first) == sorted(second) == list(range(ROWS))


def test_stream_of_python_rows_with_gaps_is_explained() -> None:
    stream = IterableDataset.from_generator(rows, features=FEATURES)
    with pytest.raises(ValueError, match=r"with_format\('arrow'\)"):
        list(ImageBatches(stream, columns=["species"], **SMALL))


def test_bad_image_of_a_stream_is_named() -> None:
    stream = made(P12={"image": None}).to_iterable_dataset()
    with pytest.raises(ValueError, match=r"^Row 12 \(process id P12\): there is no image"):
        list(ImageBatches(stream, batch_size=5, **SMALL))


def test_threads_end_with_the_loop(dataset: Dataset) -> None:
    before = threading.active_count()
    passed = iter(ImageBatches(dataset, batch_size=2, threads=2, **SMALL))
    assert len(list(islice(passed, 2))) == 2
    assert threading.active_count() > before
    passed.close()  # type: ignore[attr-defined]  # as the end of a `for` loop with `break` does
    assert threading.active_count() == before


def test_no_more_is_read_ahead_than_is_needed(dataset: Dataset) -> None:
    read = []

    def note(number: int) -> int:
        read.append(number)
        return number

    passed = images._in_order(str, map(note, range(100)), threads=2)
    assert [next(passed), next(passed)] == ["0", "1"]
    assert len(read) <= 7
    assert list(passed) == [str(number) for number in range(2, 100)]


def test_error_of_the_source_reaches_the_caller() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ConnectionError("the Hub is gone")

    with pytest.raises(ConnectionError, match="the Hub is gone"):
        list(images._in_order(str, items(), threads=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 300}, "`size` must be 1 to `shorter_side`; got 300 and 256"),
        ({"size": 0}, "`size`"),
        ({"batch_size": 0}, "`batch_size` of at least 1"),
        ({"threads": -1}, "`threads` of at least 0"),
        ({"on_error": "ignore"}, "'raise' or 'skip'"),
        ({"columns": ["sepcies"]}, r"no columns \['sepcies'\]"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=message):
        ImageBatches(dataset, **arguments)


def test_what_is_no_dataset_of_images_is_refused(dataset: Dataset, sample: Dataset) -> None:
    with pytest.raises(ValueError, match=r"one split.*got DatasetDict"):
        ImageBatches(DatasetDict({"train": dataset}))
    with pytest.raises(ValueError, match=r"no columns \['image'\]"):
        ImageBatches(sample)
    with pytest.raises(ValueError, match=r"must be a `datasets.Image`; got string"):
        list(ImageBatches(Dataset.from_dict({"image": ["a.jpg"]})))
    with pytest.raises(ValueError, match=r"use `dataset.shuffle\(seed, buffer_size\)`"):
        ImageBatches(dataset.to_iterable_dataset(), shuffle=True)
