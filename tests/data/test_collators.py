import pytest
import torch

from bioscan_hf.data.collators import IGNORED_LABEL, MaskedKmerCollator
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
