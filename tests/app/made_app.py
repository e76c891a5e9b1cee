"""What the app serves in tests: libraries of the sample with short barcodes, with and without a model for images."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from bioscan_hf.app.pictures import Pictures
from bioscan_hf.app.served import NEAREST, Served
from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.library import Library
from tests.identification.made_library import library, save_clibd, specimens, with_images

MAX_ERROR = 0.05


@cache
def served() -> Served:
    """Barcodes only, without pictures."""
    return Served(Identifier(library(), max_error=MAX_ERROR, nearest=NEAREST), "made", False, Pictures())


@cache
def pictured() -> Dataset:
    """Specimens of three splits, with images in the colour of their genus."""
    return with_images(concatenate_datasets([specimens("train", 60), specimens("val", 20)]))


@cache
def served_with_images() -> Served:
    """Barcodes and images, by a CLIBD with random weights, which tells colours apart all the same."""
    with tempfile.TemporaryDirectory() as folder:
        model = save_clibd(Path(folder) / "clibd")
        chosen = pictured()
        known, others = chosen.select(range(60)), chosen.select(range(60, 80))
        built = Library.build(known, calibration=others, image_model=str(model))
    return Served(Identifier(built, max_error=MAX_ERROR, nearest=NEAREST), "made", False, Pictures(known))


def hostile(name: str = "") -> str:
    """A name that is code on a page that does not escape it, and in its templates."""
    return f"""{name}<script>alert(1)</script><img src=x onerror="alert(2)">'`${{alert(3)}}{{{{4}}}}"""
