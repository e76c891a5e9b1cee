import numpy as np
import PIL.Image
import pytest

from bioscan_hf import PixelEncoder
from tests.evaluation.encoders.made_vision_models import made_images, model_inputs, png, specimens, specimens_with


def test_quarters_of_one_colour_each() -> None:
    red, green, blue, grey = (255, 0, 0), (0, 255, 0), (0, 0, 255), (51, 51, 51)
    quarters = np.array([[red, green], [blue, grey]], np.uint8).repeat(112, axis=0).repeat(112, axis=1)
    (vector,) = PixelEncoder(2).embed(specimens_with([png(PIL.Image.fromarray(quarters))]))
    np.testing.assert_allclose(vector, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0.2, 0.2, 0.2], atol=1e-6)


@pytest.mark.parametrize(("squares", "side"), [(1, 224), (3, 225), (16, 224), (100, 200)])
def test_equals_a_naive_mean(squares: int, side: int) -> None:
    encoder = PixelEncoder(squares)
    vectors = encoder.embed(specimens())
    assert vectors.shape == (5, encoder.dimension) == (5, 3 * squares**2) and vectors.dtype == np.float32
    assert encoder.description["size"] == side
    width = side // squares
    for vector, image in zip(vectors, model_inputs(made_images(), side, [0] * 3, [1] * 3).numpy(), strict=True):
        expected = [
            image[channel, row * width : (row + 1) * width, column * width : (column + 1) * width].mean()
            for row in range(squares)
            for column in range(squares)
            for channel in range(3)
        ]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_name_and_progress() -> None:
    encoder, done = PixelEncoder(), list[tuple[int, int]]()
    assert (encoder.name, encoder.revision, encoder.dimension) == ("16x16 pixels", None, 768)
    rows = specimens().select([0, 1] * 40)
    vectors = encoder.embed(rows, report=lambda *counts: done.append(counts))
    assert done == [(64, 80), (80, 80)]
    np.testing.assert_array_equal(vectors[:2], vectors[78:])
    assert encoder.embed(rows.select([])).shape == (0, 768)


@pytest.mark.parametrize("squares", [0, 225])
def test_squares_out_of_range_are_refused(squares: int) -> None:
    with pytest.raises(ValueError, match=f"`squares` must be 1 to 224; got {squares}"):
        PixelEncoder(squares)


def test_a_missing_image_is_named() -> None:
    with pytest.raises(ValueError, match=r"process id P1\): there is no image"):
        PixelEncoder().embed(specimens_with([png(made_images()[0]), None]))
