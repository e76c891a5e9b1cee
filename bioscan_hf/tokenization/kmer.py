"""Barcodes as k-mer token ids: a vectorised encoder, and the same tokenizer as a `tokenizers` JSON file.

The vocabulary is BarcodeBERT's (bioscan-ml/BarcodeBERT, `datasets.py`): `[MASK]` is 0, `[UNK]` is 1, and the
4**k k-mers over A, C, G, T follow in alphabetical order. A k-mer with any other letter is `[UNK]`; so is padding, with
a zero in the attention mask. Nothing is normalised here: lower case and gaps are `[UNK]` too, as in the reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

ALPHABET = "ACGT"
MASK_TOKEN, UNKNOWN_TOKEN = "[MASK]", "[UNK]"
MASK_ID, UNKNOWN_ID, FIRST_KMER_ID = 0, 1, 2
# COI is about 658 letters long; what follows is probably not barcode (bioscan-dataset, `max_nucleotides`).
MAX_NUCLEOTIDES = 660

_NOT_IN_ALPHABET = 255
_DIGITS = np.full(256, _NOT_IN_ALPHABET, dtype=np.uint8)
_DIGITS[[ord(letter) for letter in ALPHABET]] = np.arange(len(ALPHABET))


@dataclass(frozen=True)
class KmerEncoder:
    """Turn barcodes into arrays of k-mer ids, many at a time.

    Equal to the reference's `KmerTokenizer(k, stride=k, padding=True)` and to `build_tokenizer`, but for whole arrays.

    Attributes:
        k: Letters in a k-mer, 1 to 10.
        stride: Letters from one k-mer to the next; k (no overlap) if not given.
        max_nucleotides: Barcodes are cut to this many letters, and padded to it.
    """

    k: int
    stride: int | None = None
    max_nucleotides: int = MAX_NUCLEOTIDES

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 10:
            raise ValueError(f"`k` must be between 1 and 10 (the vocabulary has 4**k k-mers); got {self.k}.")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"`stride` must be at least 1; got {self.stride}.")
        if self.max_nucleotides < self.k:
            raise ValueError(f"`max_nucleotides` must be at least k = {self.k}; got {self.max_nucleotides}.")

    @property
    def step(self) -> int:
        """Letters from one k-mer to the next."""
        return self.stride or self.k

    @property
    def max_tokens(self) -> int:
        """Tokens of a barcode of `max_nucleotides` letters."""
        return (self.max_nucleotides - self.k) // self.step + 1

    @property
    def vocab_size(self) -> int:
        """Ids in use: the two special ones and 4**k k-mers."""
        return FIRST_KMER_ID + len(ALPHABET) ** self.k

    def __call__(
        self, barcodes: Sequence[str], offsets: Sequence[int] | NDArray[np.integer] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Encode barcodes.

        Args:
            barcodes: N sequences of letters.
            offsets: N counts of letters to leave out at the start (the training-time augmentation of the reference);
                none by default.

        Returns:
            Ids and attention mask, both (N, T), where T is the number of tokens of the longest barcode given, at most
            `max_tokens`. The mask is 1 for every complete k-mer of the barcode.
        """
        if offsets is not None:
            barcodes = [barcode[offset:] for barcode, offset in zip(barcodes, offsets, strict=True)]
        lengths = np.minimum([len(barcode) for barcode in barcodes], self.max_nucleotides)
        tokens = np.maximum((lengths - self.k) // self.step + 1, 0)
        width = int(max(tokens.max(initial=0) - 1, 0)) * self.step + self.k
        # 'replace' writes one byte for each character that is not ASCII, so positions stay those of the string.
        text = "".join([barcode[:width].ljust(width, "N") for barcode in barcodes]).encode("ascii", "replace")
        digits = _DIGITS[np.frombuffer(text, dtype=np.uint8)].reshape(len(barcodes), width)

        last = width - self.k + 1
        ids = np.zeros((len(barcodes), len(range(0, last, self.step))), dtype=np.int64)
        unknown = np.zeros(ids.shape, dtype=bool)
        for i in range(self.k):
            column = digits[:, i : last + i : self.step]
            ids = ids * len(ALPHABET) + column
            unknown |= column == _NOT_IN_ALPHABET
        ids = np.where(unknown, UNKNOWN_ID, ids + FIRST_KMER_ID)
        mask = (np.arange(ids.shape[1]) < tokens[:, None]).astype(np.int64)
        ids[mask == 0] = UNKNOWN_ID
        return ids, mask


def build_tokenizer(k: int, *, max_nucleotides: int = MAX_NUCLEOTIDES) -> PreTrainedTokenizerFast:
    """The non-overlapping k-mer tokenizer as a fast tokenizer, which `AutoTokenizer` loads without code of ours.

    Args:
        k: Letters in a k-mer.
        max_nucleotides: With `truncation=True`, barcodes are cut to this many letters (rounded down to whole k-mers).

    Returns:
        A tokenizer whose ids and attention mask equal those of `KmerEncoder(k)`.
    """
    encoder = KmerEncoder(k, max_nucleotides=max_nucleotides)
    kmers = ("".join(letters) for letters in itertools.product(ALPHABET, repeat=k))
    vocabulary = {token: i for i, token in enumerate((MASK_TOKEN, UNKNOWN_TOKEN, *kmers))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN_TOKEN))
    # Inverted: the matches are the tokens, and the shorter rest at the end is removed.
    tokenizer.pre_tokenizer = Split(Regex(rf"[\s\S]{{{k}}}"), behavior="removed", invert=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN_TOKEN,
        mask_token=MASK_TOKEN,
        pad_token=UNKNOWN_TOKEN,
        model_max_length=encoder.max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )
