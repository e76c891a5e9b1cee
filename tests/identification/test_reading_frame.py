import numpy as np
import pytest

from bioscan_hf.identification.letters import as_codes
from bioscan_hf.identification.reading_frame import has_open_frame, has_stop, reading_frame
from tests.identification.made_gene import made_barcodes


@pytest.mark.parametrize("before", [0, 1, 2])
def test_the_frame_is_where_there_are_no_stops(before: int) -> None:
    barcodes = ["ACG"[:before] + barcode for barcode in made_barcodes(40)]
    assert reading_frame(as_codes(barcodes)) == before


def test_letters_in_any_order_have_no_frame() -> None:
    codes = np.random.default_rng(0).integers(0, 4, (40, 300)).astype(np.uint8)
    assert reading_frame(codes) is None
    assert reading_frame(as_codes(["ACGC" * 30] * 5)) is None  # no stops in any


@pytest.mark.parametrize(
    ("barcode", "frame", "expected"),
    [
        ("ACGTAAACG", 0, True),
        ("ACGTAGACG", 0, True),
        ("ACGTGAACG", 0, False),  # tryptophan in mitochondria of insects
        ("ACGTAAACG", 1, False),
        ("AACGTAAAC", 1, True),
        ("ACGTARACG", 0, False),  # R is A or G: a stop in both cases, but not a letter that is known
        ("ACGTA", 0, False),
        ("TA", 0, False),
        ("", 0, False),
        ("ACGTAAACG", None, False),
    ],
)
def test_stops(barcode: str, frame: int | None, expected: bool) -> None:
    assert has_stop(as_codes([barcode]), frame).tolist() == [expected]


def test_stops_of_no_barcodes() -> None:
    assert has_stop(np.empty((0, 300), np.uint8), 1).shape == (0,)


def test_open_frames() -> None:
    assert has_open_frame("ACGTAAACGTAA")  # from the second letter on
    assert not has_open_frame("TAAATAAATAA")
    assert has_open_frame("")
