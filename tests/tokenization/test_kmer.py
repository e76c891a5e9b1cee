import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from bioscan_hf.tokenization.kmer import MASK_ID, UNKNOWN_ID, KmerEncoder, build_tokenizer

LETTERS = st.text(alphabet="ACGTNacgtRYU-\n é", max_size=60)


def naive(barcode: str, k: int, stride: int, max_nucleotides: int) -> list[int]:
    """Token by token, from the definition."""
    vocabulary = {"".join(kmer): i for i, kmer in enumerate(itertools.product("ACGT", repeat=k), start=2)}
    cut = barcode[:max_nucleotides]
    return [vocabulary.get(cut[i : i + k], UNKNOWN_ID) for i in range(0, len(cut) - k + 1, stride)]


@given(barcodes=st.lists(LETTERS, min_size=1, max_size=5), k=st.integers(1, 4), stride=st.integers(1, 5))
def test_encoder_equals_the_definition(barcodes: list[str], k: int, stride: int) -> None:
    ids, mask = KmerEncoder(k, stride=stride, max_nucleotides=40)(barcodes)
    expected = [naive(barcode, k, stride, 40) for barcode in barcodes]
    assert [row[kept == 1].tolist() for row, kept in zip(ids, mask, strict=True)] == expected
    assert (ids[mask == 0] == UNKNOWN_ID).all()
    # Padding follows the barcode, never comes before it.
    assert (np.diff(mask, axis=1) <= 0).all()


@settings(deadline=None)
@given(barcodes=st.lists(LETTERS, min_size=1, max_size=5), k=st.integers(1, 4))
def test_fast_tokenizer_equals_the_encoder(barcodes: list[str], k: int) -> None:
    ids, mask = KmerEncoder(k, max_nucleotides=40)(barcodes)
    tokenizer = build_tokenizer(k, max_nucleotides=40)
    batch = tokenizer(barcodes, padding="max_length", truncation=True, return_tensors="np")
    width = ids.shape[1]
    assert (batch["attention_mask"][:, :width] == mask).all() and not batch["attention_mask"][:, width:].any()
    assert (batch["input_ids"][:, :width] == ids).all() and (batch["input_ids"][:, width:] == UNKNOWN_ID).all()


@given(barcode=st.text("ACGT", min_size=12, max_size=50), offset=st.integers(0, 5))
def test_offset_leaves_out_letters_at_the_start(barcode: str, offset: int) -> None:
    encoder = KmerEncoder(3)
    assert np.array_equal(encoder([barcode], [offset])[0], encoder([barcode[offset:]])[0])


@pytest.mark.parametrize("k", range(3, 9))
def test_ids_and_masks_equal_the_reference(k: int, shared: Path) -> None:
    folder = shared / "parity" / "barcodebert"
    records = json.loads((folder / "inputs.json").read_text())
    tokens = load_file(folder / "tokens.safetensors")
    ids, mask = KmerEncoder(k)([record["seq"] for record in records])
    # With k = 6 the reference takes the letters "[MASK]" in a barcode for its special token; here they are unknown.
    same = [record["category"] != "special_token_text" for record in records]
    assert np.array_equal(ids[same], tokens[f"ids/gen3_k{k}"][same])
    assert np.array_equal(mask, tokens[f"mask/gen3_k{k}"])


def test_saved_tokenizer_loads_as_auto_tokenizer(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    build_tokenizer(4).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("ACGTNNNNAC")["input_ids"] == [29, UNKNOWN_ID]
    assert tokenizer.mask_token_id == MASK_ID and tokenizer.pad_token_id == UNKNOWN_ID
    assert tokenizer.model_max_length == 165


@pytest.mark.parametrize("arguments", [{"k": 0}, {"k": 11}, {"k": 4, "stride": 0}, {"k": 4, "max_nucleotides": 3}])
def test_sizes_that_make_no_sense_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        KmerEncoder(**arguments)
