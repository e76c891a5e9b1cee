import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.evaluation.encoders import kmer_counts
from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts


def counted(barcode: str, k: int) -> list[int]:
    kmers = map("".join, itertools.product("ACGT", repeat=k))
    return [sum(barcode[i : i + k] == kmer for i in range(len(barcode))) for kmer in kmers]


@given(st.lists(st.text("ACGTNR", min_size=3, max_size=20), max_size=5), st.integers(1, 3))
def test_equals_a_count_by_hand(barcodes: list[str], k: int) -> None:
    vectors = KmerCounts(k).encode(barcodes)
    assert vectors.dtype == np.float32 and vectors.shape == (len(barcodes), 4**k)
    assert vectors.tolist() == [counted(barcode, k) for barcode in barcodes]


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    barcodes = ["ACGTACGT", "AC", "GGTTACA", "CCCCCC"]
    whole = KmerCounts(2).encode(barcodes)
    monkeypatch.setattr(kmer_counts, "_COUNTS_AT_A_TIME", 40)
    done: list[tuple[int, int]] = []
    np.testing.assert_array_equal(KmerCounts(2).encode(barcodes, report=lambda *counts: done.append(counts)), whole)
    assert done == [(2, 4), (4, 4)]


def test_what_follows_660_letters_does_not_count() -> None:
    encoder = KmerCounts(4)
    assert encoder.encode(["A" * 700])[0, 0] == 657 == encoder.encode(["A" * encoder.max_letters])[0, 0]  # type: ignore[operator]


def test_describes_itself() -> None:
    encoder = KmerCounts(4)
    assert (encoder.name, encoder.revision, encoder.dimension, encoder.min_letters) == ("4-mer counts", None, 256, 4)
    assert json.loads(json.dumps(encoder.description))["kmer_size"] == 4
    with pytest.raises(ValueError, match="between 1 and 10"):
        KmerCounts(0)
