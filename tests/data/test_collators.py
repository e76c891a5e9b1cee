from typing import Any

import pytest
import torch

from bioscan_hf.data.collators import (
    IGNORED_LABEL,
    BarcodeAugmentation,
    LabelledKmerCollator,
    MaskedKmerCollator,
)
from bioscan_hf.tokenization.kmer import MASK_ID, UNKNOWN_ID, KmerEncoder, Vocabulary

BARCODES = ["ACGTTGCA" * 60, "ACGNNGCA" * 30] * 20


def test_only_known_kmers_are_masked_and_predicted() -> None:
    torch.manual_seed(0)
    encoder = KmerEncoder(4)
    batch = MaskedKmerCollator(encoder)(BARCODES)
    labels, inputs = batch["labels"], batch["input_ids"]
    masked = inputs == MASK_ID
    assert (labels[masked] > UNKNOWN_ID).all(), "what is masked is a k-mer, and is predicted"
    kept = ~masked & (labels != IGNORED_LABEL)
    assert torch.equal(inputs[kept], labels[kept]), "what is not masked is as it was"
    assert (labels[inputs == UNKNOWN_ID] == IGNORED_LABEL).all(), "unknown k-mers and padding do not count"
    share = masked.sum() / (labels != IGNORED_LABEL).sum()
    assert abs(share - 0.5) < 0.03


def test_visible_kmers_can_be_left_out_of_the_loss() -> None:
    batch = MaskedKmerCollator(KmerEncoder(4), mlm_probability=0.2, label_visible=False)(BARCODES)
    assert torch.equal(batch["labels"] != IGNORED_LABEL, batch["input_ids"] == MASK_ID)


def test_every_reading_frame_occurs() -> None:
    encoder = KmerEncoder(4)
    collate = MaskedKmerCollator(encoder, mlm_probability=0.0)
    firsts = set(collate(["ACGTTGCAACGT"] * 100)["input_ids"][:, 0].tolist())
    assert firsts == {int(encoder([f])[0][0, 0]) for f in ("ACGT", "CGTT", "GTTG", "TTGC")}


def test_seed_repeats_a_batch() -> None:
    batches = []
    for _ in range(2):
        torch.manual_seed(7)
        batches.append(MaskedKmerCollator(KmerEncoder(4))(BARCODES))
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])


@pytest.mark.parametrize(("vocabulary", "mask_id", "kmers"), [("acgt_2023", 1, (3, 67)), ("acgt_then_n", 0, (2, 66))])
def test_vocabularies_have_their_own_mask_and_kmers(
    vocabulary: Vocabulary, mask_id: int, kmers: tuple[int, int]
) -> None:
    encoder = KmerEncoder(3, vocabulary=vocabulary, cls_token_id=0)
    torch.manual_seed(0)
    batch = MaskedKmerCollator(encoder, label_visible=False)(["TTTACGNNNANA" * 9] * 8)
    labels = batch["labels"]
    assert (batch["input_ids"][labels != IGNORED_LABEL] == mask_id).all()
    assert set(labels.unique().tolist()) <= {IGNORED_LABEL, *range(*kmers)}
    assert (batch["input_ids"][:, 0] == 0).all() and (labels[:, 0] == IGNORED_LABEL).all()


def test_a_vocabulary_without_predictable_kmers_is_refused() -> None:
    with pytest.raises(ValueError, match="acgnt"):
        MaskedKmerCollator(KmerEncoder(3, vocabulary="acgnt"))


def test_a_barcode_is_masked_in_the_same_way_whatever_else_is_in_its_batch() -> None:
    collate = MaskedKmerCollator(KmerEncoder(4), span_length=3)
    whole = collate(BARCODES, range(len(BARCODES)))
    torch.manual_seed(9)
    part = collate([BARCODES[7], BARCODES[2]], [7, 2])
    for name, tensor in part.items():
        for row, number in enumerate((7, 2)):
            own = whole[name][number]
            width = min(len(own), tensor.shape[1])
            assert torch.equal(tensor[row][:width], own[:width]), name
    assert not torch.equal(whole["input_ids"][0], whole["input_ids"][2]), "equal barcodes have seeds of their own"


@pytest.mark.parametrize("span", [2, 5])
def test_spans_are_masked_together_from_any_place_on(span: int) -> None:
    encoder = KmerEncoder(1)
    collate = MaskedKmerCollator(encoder, 0.3, span_length=span, random_offset=False)
    masked = collate(["ACGT" * 50] * 400, range(400))["input_ids"] == MASK_ID
    assert abs(masked.float().mean() - 0.3) < 0.02
    starts = torch.zeros(span)
    for row in masked.int():
        edges = row.diff(prepend=torch.tensor([0]), append=torch.tensor([0])).nonzero().flatten().tolist()
        begins = [place for place in edges[::2]]
        inner = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a > 0 and b < len(row)]
        assert all((b - a) % span == 0 for a, b in inner)
        for place in begins:
            starts[place % span] += place > 0
    assert (starts > 0).all(), "spans begin at every place"


def test_offsets_can_be_off() -> None:
    encoder = KmerEncoder(4)
    batch = MaskedKmerCollator(encoder, mlm_probability=0.0, random_offset=False)(BARCODES, range(len(BARCODES)))
    ids, mask = map(torch.from_numpy, encoder(BARCODES))
    assert torch.equal(batch["input_ids"], ids) and torch.equal(batch["attention_mask"], mask)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mask_probability": 1.0}, "at least 0 and below 1; got 1.0"),
        ({"mask_probability": -0.1}, "at least 0"),
        ({"span_length": 0}, "`span_length` must be at least 1; got 0"),
        ({"max_crop": -1}, "`max_crop` must be at least 0; got -1"),
    ],
)
def test_changes_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BarcodeAugmentation(KmerEncoder(4), **fields)


def test_crops_take_letters_from_both_ends_and_leave_kmers() -> None:
    barcode = "".join("ACGT"[(i * i + i // 3) % 4] for i in range(60))
    augment = BarcodeAugmentation(KmerEncoder(1), random_offset=False, max_crop=5)
    ids, mask, _ = augment([barcode] * 300, range(300))
    whole = torch.from_numpy(KmerEncoder(1)([barcode])[0][0])
    lost = set()
    for row, kept in zip(ids, mask.bool(), strict=True):
        letters = row[kept]
        places = [s for s in range(6) if torch.equal(whole[s : s + len(letters)], letters)]
        lost.add((places[0], 60 - places[0] - len(letters)))
    assert {front for front, _ in lost} == {back for _, back in lost} == set(range(6))
    short, kept, _ = BarcodeAugmentation(KmerEncoder(4), max_crop=500)(["ACGTACGTA"] * 50, range(50))
    assert (kept.sum(dim=1) >= 1).all() and short.shape[0] == 50


def test_labels_go_with_the_barcodes() -> None:
    collate = LabelledKmerCollator(BarcodeAugmentation(KmerEncoder(4), mask_probability=0.5))
    one = collate(BARCODES[:3], [4, -1, 2], [1, 2, 3])
    assert one["labels"].tolist() == [4, -1, 2] and one.keys() == {"input_ids", "attention_mask", "labels"}
    assert (one["input_ids"] == MASK_ID).any()
    assert collate(BARCODES[:2], [[0, 1], [2, -1]], [1, 2])["labels"].shape == (2, 2)
