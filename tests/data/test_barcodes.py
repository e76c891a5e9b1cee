import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from bioscan_hf.data import barcodes as module
from bioscan_hf.data.barcodes import barcode_hashes

TEXTS = st.lists(st.one_of(st.none(), st.text("ACGN", max_size=6)), max_size=30)


def compared(value: str, max_nucleotides: int | None, strip: str) -> str:
    value = value[:max_nucleotides]
    return {"none": value, "trailing": value.rstrip("N"), "both": value.strip("N")}[strip]


@given(TEXTS, st.sampled_from([None, 1, 3, 100]), st.sampled_from(["none", "trailing", "both"]))
def test_hashes_agree_where_the_letters_that_count_agree(values: list, max_nucleotides: int | None, strip: str) -> None:
    hashes = barcode_hashes(pa.array(values, pa.string()), max_nucleotides=max_nucleotides, strip=strip)  # type: ignore[arg-type]
    assert hashes.dtype == np.uint64 and hashes.shape == (len(values),)
    texts = [None if value is None else compared(value, max_nucleotides, strip) for value in values]
    of_text = dict(zip(texts, hashes.tolist(), strict=True))
    assert hashes.tolist() == [of_text[text] for text in texts]
    assert len(set(of_text.values())) == len(of_text)
    assert all((hash_ == 0) == (text is None) for text, hash_ in of_text.items())


def test_chunks_slices_and_types_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["ACGT", None, "", "TTTN", "ACGT"] * 3
    expected = barcode_hashes(pa.array(values)).tolist()
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 2)
    for dtype in (pa.string(), pa.large_string()):
        for chunks in ([values], [values[:7], [], values[7:]]):
            assert barcode_hashes(pa.chunked_array(chunks, dtype)).tolist() == expected
    assert barcode_hashes(pa.array(values)[3:9]).tolist() == expected[3:9]
    assert len(barcode_hashes(pa.chunked_array([], pa.string()))) == 0


def test_distinct_barcodes_of_the_sample(sample: Dataset) -> None:
    hashes = barcode_hashes(sample.data.column("dna_barcode"))
    assert len(set(hashes.tolist())) == len(set(sample["dna_barcode"])) < len(sample)


def test_numbers_are_those_of_every_other_process() -> None:
    assert barcode_hashes(pa.array(["ACGT", None])).tolist() == [17060466519357990319, 0]


@pytest.mark.parametrize("wrong", [{"max_nucleotides": 0}, {"strip": "leading"}])
def test_wrong_arguments_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        barcode_hashes(pa.array(["ACGT"]), **wrong)
