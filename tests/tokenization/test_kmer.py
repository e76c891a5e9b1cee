import hashlib
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from bioscan_hf import BarcodeBertConfig
from bioscan_hf.tokenization.kmer import MASK_ID, UNKNOWN_ID, KmerEncoder, Vocabulary, build_tokenizer, tokenizer_for

VOCABULARIES: tuple[Vocabulary, ...] = ("acgt", "acgt_2023", "acgt_then_n", "acgnt")
LETTERS = st.text(alphabet="ACGTNacgtRYU-\n é", max_size=60) | st.text(alphabet="ACGTN", max_size=60)


@cache
def definition(k: int, vocabulary: Vocabulary) -> dict[str, int]:
    """Id of each known k-mer, written out from the table of the vocabularies."""
    if vocabulary == "acgnt":
        return {"".join(kmer): i for i, kmer in enumerate(itertools.product("ACGNT", repeat=k), start=1)}
    kmers = ["".join(kmer) for kmer in itertools.product("ACGT", repeat=k)]
    if vocabulary == "acgt_then_n":
        kmers += ["".join(kmer) for kmer in itertools.product("ACGTN", repeat=k) if "N" in kmer]
    return {kmer: i for i, kmer in enumerate(kmers, start=3 if vocabulary == "acgt_2023" else 2)}


def unknown(k: int, vocabulary: Vocabulary) -> int:
    return {"acgt_2023": 2, "acgnt": definition(k, "acgnt")[k * "N"]}.get(vocabulary, 1)


def naive(barcode: str, encoder: KmerEncoder) -> list[int]:
    """Token by token, from the definition."""
    k, cut = encoder.k, barcode[: encoder.max_nucleotides]
    known, other = definition(k, encoder.vocabulary), unknown(k, encoder.vocabulary)
    starts = range(0, len(cut) - k + 1, encoder.step)
    if encoder.vocabulary == "acgnt":
        cut = cut.ljust(encoder.max_nucleotides, "N")
        starts = range(0, min(len(barcode), len(cut) - k + 1), encoder.step)
    first = [] if encoder.cls_token_id is None else [encoder.cls_token_id]
    return first + [known.get(cut[i : i + k], other) for i in starts]


@settings(deadline=None, max_examples=300)
@given(
    barcodes=st.lists(LETTERS, min_size=1, max_size=5),
    k=st.integers(1, 4),
    stride=st.none() | st.integers(1, 5),
    max_nucleotides=st.integers(35, 41),
    vocabulary=st.sampled_from(VOCABULARIES),
    cls_token_id=st.none() | st.just(0),
    data=st.data(),
)
def test_encoder_equals_the_definition(barcodes: list[str], data: st.DataObject, **arguments: Any) -> None:
    encoder = KmerEncoder(**arguments)
    offsets = data.draw(st.none() | st.lists(st.integers(0, 6), min_size=len(barcodes), max_size=len(barcodes)))
    ids, mask = encoder(barcodes, offsets)
    assert ids.dtype == mask.dtype == np.int64
    started = [barcode[offset:] for barcode, offset in zip(barcodes, offsets or [0] * len(barcodes), strict=True)]
    expected = [naive(barcode, encoder) for barcode in started]
    assert [row[kept == 1].tolist() for row, kept in zip(ids, mask, strict=True)] == expected
    assert (ids[mask == 0] == encoder.unknown_id).all() and ids.max() < encoder.vocab_size
    # Padding follows the barcode, never comes before it.
    assert (np.diff(mask, axis=1) <= 0).all() and ids.shape[1] <= encoder.max_tokens


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("k", [5, 7, 8, 10])
def test_large_numbers_of_kmers(vocabulary: Vocabulary, k: int) -> None:
    barcodes = ["T" * k + "A" * k, "G" * k + "N" * k, "R" + "T" * (2 * k - 1), "T" * (k - 1) + "R" + "TG" * k]
    encoder = KmerEncoder(k, vocabulary=vocabulary)
    ids, _ = encoder(barcodes)
    first, t, g = encoder.first_kmer_id, 4**k - 1, 2 * (4**k - 1) // 3
    if vocabulary == "acgnt":
        t, g = 5**k - 1, 2 * (5**k - 1) // 4
    n = encoder.vocab_size - 1 if vocabulary == "acgt_then_n" else encoder.unknown_id
    assert ids[:3, 0].tolist() == [first + t, first + g, encoder.unknown_id] and ids[3, 0] == encoder.unknown_id
    assert ids[:3, 1].tolist() == [first, n, first + t]


@settings(deadline=None, max_examples=200)
@given(
    barcodes=st.lists(LETTERS, min_size=1, max_size=5),
    k=st.integers(1, 4),
    max_nucleotides=st.integers(35, 41),
    vocabulary=st.sampled_from(VOCABULARIES),
    cls_token_id=st.none() | st.just(0),
)
def test_fast_tokenizer_equals_the_encoder(barcodes: list[str], **arguments: Any) -> None:
    encoder = KmerEncoder(**arguments)
    ids, mask = encoder(barcodes)
    batch = build_tokenizer(**arguments)(barcodes, padding="max_length", truncation=True, return_tensors="np")
    width = ids.shape[1]
    assert batch["input_ids"].shape == (len(barcodes), encoder.max_tokens)
    assert (batch["attention_mask"][:, :width] == mask).all() and not batch["attention_mask"][:, width:].any()
    assert (batch["input_ids"][:, :width] == ids).all() and (batch["input_ids"][:, width:] == encoder.unknown_id).all()


@given(barcode=st.text("ACGT", min_size=12, max_size=50), offset=st.integers(0, 5))
def test_offset_leaves_out_letters_at_the_start(barcode: str, offset: int) -> None:
    encoder = KmerEncoder(3)
    assert np.array_equal(encoder([barcode], [offset])[0], encoder([barcode[offset:]])[0])


@pytest.fixture(scope="module")
def barcodes(shared: Path) -> list[str]:
    return [record["seq"] for record in json.loads((shared / "parity" / "barcodebert" / "inputs.json").read_text())]


@pytest.fixture(scope="module")
def tokens(shared: Path) -> dict[str, NDArray[np.integer]]:
    return load_file(shared / "parity" / "barcodebert" / "tokens.safetensors")


def padded(array: NDArray[np.int64], width: int, value: int) -> NDArray[np.int64]:
    return np.pad(array, [(0, 0), (0, width - array.shape[1])], constant_values=value)


@pytest.mark.parametrize(
    ("variant", "encoder", "offset"),
    [
        *((f"gen3_k{k}", KmerEncoder(k), 0) for k in range(3, 9)),
        *((f"gen3_k4_offset{offset}", KmerEncoder(4), offset) for offset in (1, 2, 3)),
        ("gen3_k8_offset5", KmerEncoder(8), 5),
        *((f"gen3_k4_maxlen{size}", KmerEncoder(4, max_nucleotides=size), 0) for size in (256, 512)),
        *((f"gen3_k4_stride{stride}", KmerEncoder(4, stride=stride), 0) for stride in (1, 2)),
        *((f"gen3_k{k}_withN", KmerEncoder(k, vocabulary="acgt_then_n"), 0) for k in (4, 5)),
        ("gen2_k4", KmerEncoder(4), 0),
        ("gen2_k4_nounk", KmerEncoder(4, vocabulary="acgnt"), 0),
        *((f"gen1_k{k}", KmerEncoder(k, vocabulary="acgt_2023"), 0) for k in (4, 5, 6)),
        ("clibd_k5", KmerEncoder(5, vocabulary="acgt_2023", cls_token_id=0), 0),
    ],
)
def test_ids_and_masks_equal_the_reference(
    variant: str,
    encoder: KmerEncoder,
    offset: int,
    barcodes: list[str],
    tokens: dict[str, NDArray[np.integer]],
) -> None:
    ids, mask = encoder(barcodes, [offset] * len(barcodes))
    expected = tokens[f"ids/{variant}"]
    assert expected.shape[1] == encoder.max_tokens
    ids, mask = padded(ids, encoder.max_tokens, encoder.unknown_id), padded(mask, encoder.max_tokens, 0)
    if encoder.vocabulary == "acgt_then_n":
        # The reference pads with k-mers of N, which this vocabulary has, and masks them out.
        expected = np.where(tokens[f"mask/{variant}"] == 1, expected, encoder.unknown_id)
    # With k = 6 the reference takes the letters "[MASK]" in a barcode for its special token; here they are unknown.
    same = [variant != "gen3_k6" or "[MASK]" not in barcode for barcode in barcodes]
    assert sum(same) >= len(barcodes) - 1
    assert np.array_equal(ids[same], expected[same])
    # The masks of the code before August 2024 are all 1, and were not used.
    if variant.startswith("gen3") and encoder.step == encoder.k:
        assert np.array_equal(mask, tokens[f"mask/{variant}"])
    # With another stride, the reference's mask is longer than its ids, and counts `length // stride` tokens.
    elif variant.startswith("gen3"):
        lengths = np.minimum([len(barcode) for barcode in barcodes], 660)
        assert tokens[f"mask/{variant}"].shape[1] == 660 // encoder.step > encoder.max_tokens
        assert np.array_equal(tokens[f"mask/{variant}"].sum(axis=1), lengths // encoder.step)
        assert np.array_equal(mask.sum(axis=1), np.maximum((lengths - 4) // encoder.step + 1, 0))


def test_ids_without_padding_equal_the_reference(barcodes: list[str], tokens: dict[str, NDArray[np.integer]]) -> None:
    ids, mask = KmerEncoder(4, max_nucleotides=2000)(barcodes)
    bounds = tokens["offsets/gen3_k4_nopad"]
    assert np.array_equal(np.diff(bounds), mask.sum(axis=1)) and max(map(len, barcodes)) < 2000
    assert np.array_equal(ids[mask == 1], tokens["ids_flat/gen3_k4_nopad"])


@pytest.mark.parametrize(
    ("variant", "k", "vocabulary"),
    [
        *((f"gen3_k{k}", k, "acgt") for k in range(3, 9)),
        *((f"gen3_k{k}_withN", k, "acgt_then_n") for k in (4, 5)),
        *((f"gen1_k{k}", k, "acgt_2023") for k in (4, 5, 6)),
        # Of June 2024, when the special tokens were called `<MASK>` and `<UNK>`.
        ("gen2_k4", 4, "acgt"),
        ("gen2_k4_nounk", 4, "acgnt"),
    ],
)
def test_tokens_equal_the_reference(variant: str, k: int, vocabulary: Vocabulary, shared: Path) -> None:
    expected = json.loads((shared / "parity" / "barcodebert" / "vocab.json").read_text())[variant]
    tokenizer = build_tokenizer(k, vocabulary=vocabulary)
    listed = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    if variant.startswith("gen2"):
        listed = [token.replace("[", "<").replace("]", ">") for token in listed]
    assert len(listed) == expected["size"] == KmerEncoder(k, vocabulary=vocabulary).vocab_size
    assert listed[:8] == expected["first8"] and listed[-4:] == expected["last4"]
    assert hashlib.sha256("\n".join(listed).encode()).hexdigest() == expected["sha256_of_newline_joined"]


def test_saved_tokenizer_loads_as_auto_tokenizer(tmp_path: Path) -> None:
    build_tokenizer(4).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("ACGTNNNNAC")["input_ids"] == [29, UNKNOWN_ID]
    assert tokenizer.mask_token_id == MASK_ID and tokenizer.pad_token_id == UNKNOWN_ID
    assert tokenizer.cls_token_id is None and tokenizer.model_max_length == 165


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("cls_token_id", [None, 0])
def test_saved_tokenizers_tokenize_as_before(vocabulary: Vocabulary, cls_token_id: int | None, tmp_path: Path) -> None:
    barcodes = ["ACGTNNNNACGTAC", "A-NNNNAC", "NNNNNNN", "", "ACGTANNNNC"]
    encoder = KmerEncoder(4, max_nucleotides=10, vocabulary=vocabulary, cls_token_id=cls_token_id)
    config = BarcodeBertConfig(
        kmer_size=4, max_nucleotides=10, vocabulary=vocabulary, cls_token_id=cls_token_id, hidden_size=8
    )
    assert KmerEncoder.from_config(config) == encoder
    assert (config.vocab_size, config.max_tokens) == (encoder.vocab_size, encoder.max_tokens)
    assert (config.unknown_token_id, config.mask_token_id) == (encoder.unknown_id, encoder.mask_id)
    tokenizer_for(config).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    batch = tokenizer(barcodes, padding=True, truncation=True, return_tensors="np")
    ids, mask = encoder(barcodes)
    assert np.array_equal(batch["input_ids"], ids) and np.array_equal(batch["attention_mask"], mask)
    assert tokenizer.cls_token_id == cls_token_id and tokenizer.mask_token_id == encoder.mask_id
    assert tokenizer.pad_token_id == tokenizer.unk_token_id == encoder.unknown_id


def test_special_tokens_have_the_names_of_their_time() -> None:
    tokenizer = build_tokenizer(4, vocabulary="acgt_2023", cls_token_id=0)
    assert (tokenizer.mask_token, tokenizer.unk_token, tokenizer.cls_token) == ("<CLS>", "<UNK>", "<MASK>")
    assert build_tokenizer(3, vocabulary="acgnt").unk_token == "NNN"


def test_no_barcodes_and_no_kmers() -> None:
    for encoder in (KmerEncoder(4), KmerEncoder(4, cls_token_id=0)):
        first = encoder.max_tokens - 165
        assert [array.shape for array in encoder([])] == [(0, 1 + first)] * 2
        ids, mask = encoder(["", "ACG"])
        assert ids.tolist() == [[0] * first + [UNKNOWN_ID]] * 2 and mask.sum() == 2 * first


@pytest.mark.parametrize(
    "arguments",
    [
        {"k": 0},
        {"k": 11},
        {"k": 4, "stride": 0},
        {"k": 4, "max_nucleotides": 3},
        {"k": 4, "vocabulary": "ACGT"},
        {"k": 4, "cls_token_id": 2},
        {"k": 4, "cls_token_id": -1},
        {"k": 4, "cls_token_id": 1, "vocabulary": "acgnt"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        KmerEncoder(**arguments)


def test_one_string_is_no_list_of_barcodes() -> None:
    with pytest.raises(ValueError, match="got one string"):
        KmerEncoder(4)("ACGTACGT")
    with pytest.raises(ValueError, match="shorter"):
        KmerEncoder(4)(["ACGT", "ACGT"], [1])
