from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from huggingface_hub import constants
from numpy.typing import NDArray

from bioscan_hf.evaluation import cached
from bioscan_hf.evaluation.cached import default_cache, embed_cached
from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
from bioscan_hf.evaluation.encoders.base import Report
from bioscan_hf.evaluation.encoders.image_inputs import Preprocessing
from bioscan_hf.evaluation.encoders.images import ImageEncoder
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
from bioscan_hf.evaluation.encoders.pixels import PixelEncoder
from bioscan_hf.evaluation.encoders.precomputed import Precomputed
from tests.evaluation.encoders.made_vision_models import SIZE, specimens, vision_model
from tests.tiny import tiny_masked_lm

BARCODES = Dataset.from_dict(
    {"processid": ["P2", "P0", "P1", "P3"], "dna_barcode": ["ACGTACGT", "TTTTACGA", "ACGTACGT", "GGGACGTT"]}
)
IMAGES = specimens(5)


class CountingDna(BarcodeBertEncoder):
    """Remembers what it computed."""

    computed: list[str]

    def encode(self, barcodes: Sequence[str], *, report: Report | None = None) -> NDArray[np.float32]:
        self.computed = [*getattr(self, "computed", []), *barcodes]
        return super().encode(barcodes, report=report)


class CountingImages(ImageEncoder):
    """Remembers what it computed, and fails when it has computed some specimens."""

    def __init__(self, fails_after: int = 99, **options: Any) -> None:
        super().__init__(vision_model("vit"), Preprocessing(size=SIZE), **options)
        self.computed: list[str] = []
        self.fails_after = fails_after

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        if len(self.computed) >= self.fails_after:
            raise RuntimeError("killed")
        self.computed += specimens["processid"][:]
        return super().embed(specimens, report=report)


def dna_encoder(**options: Any) -> CountingDna:
    return CountingDna(tiny_masked_lm(), **{"revision": "abc", "name": "my/model", **options})


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_barcodes_are_computed_once(tmp_path: Path) -> None:
    first = dna_encoder()
    vectors = embed_cached(first, BARCODES, tmp_path, data_revision="1")
    np.testing.assert_allclose(vectors, dna_encoder().embed(BARCODES), atol=1e-6)
    assert sorted(first.computed) == sorted(set(BARCODES["dna_barcode"])) and vectors.dtype == np.float32
    [name] = content(tmp_path)
    assert name.startswith("my-model-") and name.endswith(".parquet")
    again = dna_encoder()
    np.testing.assert_array_equal(embed_cached(again, BARCODES, tmp_path, data_revision="2"), vectors)
    assert not hasattr(again, "computed")


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"revision": "other"}, [0, 1, 2, 3]),
        ({"reading_frames": 2}, [0, 1, 2, 3]),
        ({"name": "another"}, [0, 1, 2, 3]),
        ({}, [0, 1, 2]),
        ({}, [1, 0, 2, 3]),
    ],
)
def test_other_settings_or_specimens_are_computed_anew(
    options: dict[str, Any], rows: list[int], tmp_path: Path
) -> None:
    embed_cached(dna_encoder(), BARCODES, tmp_path, data_revision="1")
    other, chosen = dna_encoder(**options), BARCODES.select(rows)
    np.testing.assert_allclose(
        embed_cached(other, chosen, tmp_path, data_revision="1"), dna_encoder(**options).embed(chosen), atol=1e-6
    )
    assert other.computed and len(content(tmp_path)) == 2


def test_other_versions_compute_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed_cached(dna_encoder(), BARCODES, tmp_path, data_revision="1")
    monkeypatch.setattr(cached, "__version__", "9.9")
    embed_cached(dna_encoder(), BARCODES, tmp_path, data_revision="1")
    assert len(content(tmp_path)) == 2


def test_what_is_quick_or_there_already_is_not_kept(tmp_path: Path) -> None:
    counts, cache = KmerCounts(2), tmp_path / "cache"
    np.testing.assert_array_equal(embed_cached(counts, BARCODES, cache, data_revision="1"), counts.embed(BARCODES))
    np.savez(tmp_path / "a.npz", processids=np.array(["P0", "P1", "P2", "P3"]), embeddings=np.eye(4, dtype=np.float32))
    stored = embed_cached(Precomputed(tmp_path / "a.npz"), BARCODES, cache, data_revision="1")
    np.testing.assert_array_equal(stored, np.eye(4)[[2, 0, 1, 3]])
    pixels = embed_cached(PixelEncoder(2), IMAGES, cache, data_revision="1")
    assert pixels.shape == (5, 12)
    without = dna_encoder(revision=None)
    embed_cached(without, BARCODES, cache, data_revision="1")
    assert without.computed and not cache.exists()


def test_images_go_on_where_a_killed_run_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "_IMAGES_AT_A_TIME", 2)
    killed = CountingImages(fails_after=4, revision="abc")
    with pytest.raises(RuntimeError, match="killed"):
        embed_cached(killed, IMAGES, tmp_path, data_revision="1")
    assert killed.computed == ["P0", "P1", "P2", "P3"]
    [folder] = tmp_path.iterdir()
    assert content(folder) == {"00000000.npy", "00000002.npy"}
    resumed, done = CountingImages(revision="abc"), list[tuple[int, int]]()
    vectors = embed_cached(resumed, IMAGES, tmp_path, data_revision="1", report=lambda *counts: done.append(counts))
    assert resumed.computed == ["P4"] and done == [(5, 5)]
    np.testing.assert_allclose(vectors, CountingImages().embed(IMAGES), atol=1e-5)
    embed_cached(resumed, IMAGES, tmp_path, data_revision="1")
    assert resumed.computed == ["P4"] and content(tmp_path) == {folder.name}


@pytest.mark.parametrize(
    ("options", "data_revision", "rows"),
    [
        ({"revision": "def"}, "1", [0, 1, 2]),
        ({"pooling": "mean"}, "1", [0, 1, 2]),
        ({}, "2", [0, 1, 2]),
        ({}, "1", [2, 1, 0]),
    ],
)
def test_other_models_poolings_data_or_specimens_are_computed_anew(
    options: dict[str, Any], data_revision: str, rows: list[int], tmp_path: Path
) -> None:
    embed_cached(CountingImages(revision="abc"), IMAGES.select(range(3)), tmp_path, data_revision="1")
    other = CountingImages(**{"revision": "abc", **options})
    embed_cached(other, IMAGES.select(rows), tmp_path, data_revision=data_revision)
    assert other.computed == [f"P{row}" for row in rows]


def test_the_cache_lies_in_that_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "bioscan_hf" / "embeddings"


def test_specimens_without_what_the_encoder_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need the column 'dna_barcode'"):
        embed_cached(dna_encoder(), IMAGES, tmp_path, data_revision="1")
    with pytest.raises(ValueError, match="image"):
        embed_cached(CountingImages(revision="a"), BARCODES, tmp_path, data_revision="1")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
