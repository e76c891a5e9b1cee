"""Barcodes as k-mer token ids: a vectorised encoder, and the same tokenizer as a `tokenizers` JSON file.

The vocabularies are those that BarcodeBERT's code has had (bioscan-ml/BarcodeBERT, `datasets.py`):

- `acgt`: `[MASK]` is 0, `[UNK]` is 1, and the 4**k k-mers over A, C, G, T follow in alphabetical order (since 2024);
- `acgt_2023`: `<MASK>` 0, `<CLS>` 1, `<UNK>` 2, and the same k-mers (the workshop paper of 2023);
- `acgt_then_n`: as `acgt`, followed by the k-mers with an N, in the order A, C, G, T, N (`--tokenize-n-nucleotide`);
- `acgnt`: `[MASK]` 0, and the 5**k k-mers over A, C, G, N, T in alphabetical order (`--no-unk-token`).

A k-mer with any other letter is unknown: the special token before the k-mers, in `acgnt` the k-mer of N alone. So is
padding, with a zero in the attention mask. A rest shorter than k is left out; in `acgnt`, it is filled up with N.
Nothing is normalised here: lower case, U and gaps are unknown letters too, as in the reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

Vocabulary = Literal["acgt", "acgt_2023", "acgt_then_n", "acgnt"]

# Of the default vocabulary.
MASK_ID, UNKNOWN_ID, FIRST_KMER_ID = 0, 1, 2
# COI is about 658 letters long; what follows is probably not barcode (bioscan-dataset, `max_nucleotides`).
MAX_NUCLEOTIDES = 660


class _Layout(NamedTuple):
    letters: str
    special: tuple[str, ...]
    mask_id: int = 0


_LAYOUTS: dict[Vocabulary, _Layout] = {
    "acgt": _Layout("ACGT", ("[MASK]", "[UNK]")),
    # The code of 2023 hid k-mers under id 1, which its vocabulary calls `<CLS>`; `<MASK>` was never seen in training.
    "acgt_2023": _Layout("ACGT", ("<MASK>", "<CLS>", "<UNK>"), mask_id=1),
    "acgt_then_n": _Layout("ACGTN", ("[MASK]", "[UNK]")),
    "acgnt": _Layout("ACGNT", ("[MASK]",)),
}


@dataclass(frozen=True)
class KmerEncoder:
    """Turn barcodes into arrays of k-mer ids, many at a time.

    Equal to the reference's `KmerTokenizer(k, stride=k, padding=True)` and to `build_tokenizer`, but for whole arrays.

    Attributes:
        k: Letters in a k-mer, 1 to 10.
        stride: Letters from one k-mer to the next; k (no overlap) if not given.
        max_nucleotides: Barcodes are cut to this many letters.
        vocabulary: Which tokens have which ids (see above).
        cls_token_id: Id of a special token that is set before every barcode; none if not given. CLIBD sets 0.
    """

    k: int
    stride: int | None = None
    max_nucleotides: int = MAX_NUCLEOTIDES
    vocabulary: Vocabulary = "acgt"
    cls_token_id: int | None = None

    def __post_init__(self) -> None:
        if self.vocabulary not in _LAYOUTS:
            raise ValueError(f"`vocabulary` must be one of {list(_LAYOUTS)}; got {self.vocabulary!r}.")
        if not 1 <= self.k <= 10:
            raise ValueError(f"`k` must be between 1 and 10 (the vocabulary has 4**k k-mers); got {self.k}.")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"`stride` must be at least 1; got {self.stride}.")
        if self.max_nucleotides < self.k:
            raise ValueError(f"`max_nucleotides` must be at least k = {self.k}; got {self.max_nucleotides}.")
        if self.cls_token_id is not None and not 0 <= self.cls_token_id < self.first_kmer_id:
            raise ValueError(
                f"`cls_token_id` must be the id of a special token, 0 to {self.first_kmer_id - 1}; "
                f"got {self.cls_token_id}."
            )

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> KmerEncoder:
        """The encoder that a model was trained with.

        Args:
            config: Has `kmer_size`, `max_nucleotides`, `vocabulary` and `cls_token_id`, as `BarcodeBertConfig`.
        """
        return cls(
            config.kmer_size,
            max_nucleotides=config.max_nucleotides,
            vocabulary=config.vocabulary,
            cls_token_id=config.cls_token_id,
        )

    @property
    def step(self) -> int:
        """Letters from one k-mer to the next."""
        return self.stride or self.k

    @property
    def max_tokens(self) -> int:
        """Tokens of a barcode of `max_nucleotides` letters."""
        return self._max_kmers + (self.cls_token_id is not None)

    @property
    def vocab_size(self) -> int:
        """Ids in use: the special tokens and the k-mers."""
        return self.first_kmer_id + len(_LAYOUTS[self.vocabulary].letters) ** self.k

    @property
    def first_kmer_id(self) -> int:
        """Id of the k-mer of A alone: the number of special tokens."""
        return len(_LAYOUTS[self.vocabulary].special)

    @property
    def mask_id(self) -> int:
        """Id that stands at masked positions in pretraining."""
        return _LAYOUTS[self.vocabulary].mask_id

    @property
    def unknown_id(self) -> int:
        """Id of padding and of k-mers with letters that the vocabulary does not have."""
        letters = _LAYOUTS[self.vocabulary].letters
        if not self._keeps_rest:
            return self.first_kmer_id - 1
        return self.first_kmer_id + letters.index("N") * sum(len(letters) ** i for i in range(self.k))

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
            `max_tokens`. The mask is 1 for every k-mer of the barcode, and for the token before it.

        Raises:
            ValueError: If `barcodes` is a single string, or the offsets are more or fewer than the barcodes.
        """
        if isinstance(barcodes, str):
            raise ValueError(f"Expected a sequence of barcodes; got one string. Write [{barcodes[:8]!r}...].")
        if offsets is not None:
            barcodes = [barcode[offset:] for barcode, offset in zip(barcodes, offsets, strict=True)]
        lengths = np.fromiter(map(len, barcodes), dtype=np.int64)
        kmers = ((lengths - (1 if self._keeps_rest else self.k)) // self.step + 1).clip(0, self._max_kmers)
        width = int(max(kmers.max(initial=0) - 1, 0)) * self.step + self.k
        codes = self._codes(self._digits(barcodes, width))
        if self.vocabulary == "acgt_then_n":
            codes = np.where(codes < 0, -1, _n_last(self.k)[codes])
        ids = np.where(codes < 0, self.unknown_id, codes + np.int64(self.first_kmer_id))
        mask = (np.arange(ids.shape[1]) < kmers[:, None]).astype(np.int64)
        if self.cls_token_id is not None:
            ids, mask = np.insert(ids, 0, self.cls_token_id, axis=1), np.insert(mask, 0, 1, axis=1)
        return ids, mask

    @property
    def _max_kmers(self) -> int:
        return (self.max_nucleotides - self.k) // self.step + 1

    @property
    def _keeps_rest(self) -> bool:
        return self.vocabulary == "acgnt"

    def _digits(self, barcodes: Sequence[str], width: int) -> NDArray[np.int8]:
        """Each letter's place in the alphabet, -1 for others and for padding, (N, width)."""
        fill = "N" if self._keeps_rest else "-"
        # 'replace' writes one byte for each character that is not ASCII, so positions stay those of the string.
        text = "".join([barcode[:width].ljust(width, fill) for barcode in barcodes]).encode("ascii", "replace")
        table = _digits_of_bytes(_LAYOUTS[self.vocabulary].letters)
        return np.frombuffer(text.translate(table), dtype=np.int8).reshape(len(barcodes), width)

    def _codes(self, digits: NDArray[np.int8]) -> NDArray[np.signedinteger]:
        """Each k-mer as a number in base 4 or 5, below zero if it has an unknown letter."""
        base = len(_LAYOUTS[self.vocabulary].letters)
        last = digits.shape[1] - self.k + 1
        # The smallest type that holds them is the fastest.
        codes = digits[:, : last : self.step].astype(np.min_scalar_type(-(base**self.k)))
        for i in range(1, self.k):
            column = digits[:, i : last + i : self.step]
            # What is below zero stays there: -1 * base + (base - 1) is -1.
            codes *= base
            if base == 4:
                # All bits of -1 are set, so this is -1 for an unknown letter, and the sum for others.
                codes |= column
            else:
                codes += column
                codes[column < 0] = -1
        return codes


def build_tokenizer(
    k: int,
    *,
    max_nucleotides: int = MAX_NUCLEOTIDES,
    vocabulary: Vocabulary = "acgt",
    cls_token_id: int | None = None,
) -> PreTrainedTokenizerFast:
    """The non-overlapping k-mer tokenizer as a fast tokenizer, which `AutoTokenizer` loads without code of ours.

    Args:
        k: Letters in a k-mer.
        max_nucleotides: With `truncation=True`, barcodes are cut to this many letters (rounded down to whole k-mers).
        vocabulary: As in `KmerEncoder`.
        cls_token_id: As in `KmerEncoder`.

    Returns:
        A tokenizer whose ids and attention mask equal those of a `KmerEncoder` of the same arguments. Its `mask_token`
        is the token whose id stands at masked positions, whatever it is called.
    """
    return _tokenizer(KmerEncoder(k, max_nucleotides=max_nucleotides, vocabulary=vocabulary, cls_token_id=cls_token_id))


def tokenizer_for(config: PreTrainedConfig) -> PreTrainedTokenizerFast:
    """The tokenizer of a model: `build_tokenizer` with the arguments that are in its config.

    Args:
        config: As in `KmerEncoder.from_config`.
    """
    return _tokenizer(KmerEncoder.from_config(config))


def _tokenizer(encoder: KmerEncoder) -> PreTrainedTokenizerFast:
    tokens = _tokens(encoder.k, encoder.vocabulary)
    unknown, cls_id = tokens[encoder.unknown_id], encoder.cls_token_id
    tokenizer = Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=unknown))
    # Inverted: the matches are the tokens, and the shorter rest at the end is removed.
    tokenizer.pre_tokenizer = Split(Regex(rf"[\s\S]{{{encoder.k}}}"), behavior="removed", invert=True)
    unknown_is_kmer = encoder.unknown_id >= encoder.first_kmer_id
    if unknown_is_kmer:
        # Fills up the rest; where there is none, these are the rest.
        tokenizer.normalizer = Replace(Regex(r"\z"), "N" * (encoder.k - 1))
    cls_token = {}
    if cls_id is not None:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{tokens[cls_id]} $A", special_tokens=[(tokens[cls_id], cls_id)]
        )
        cls_token = {"cls_token": tokens[cls_id]}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown,
        mask_token=tokens[encoder.mask_id],
        pad_token=unknown,
        **cls_token,
        # Special tokens are looked for in the text, at any place: not so if one of them is a k-mer.
        split_special_tokens=unknown_is_kmer,
        model_max_length=encoder.max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )


def _tokens(k: int, vocabulary: Vocabulary) -> list[str]:
    """All tokens in the order of their ids."""
    letters, special, _ = _LAYOUTS[vocabulary]
    kmers = map("".join, itertools.product(letters, repeat=k))
    if vocabulary == "acgt_then_n":
        return [*special, *sorted(kmers, key=lambda kmer: "N" in kmer)]
    return [*special, *kmers]


@cache
def _digits_of_bytes(letters: str) -> bytes:
    table = np.full(256, -1, dtype=np.int8)
    table[[ord(letter) for letter in letters]] = np.arange(len(letters))
    return table.tobytes()


@cache
def _n_last(k: int) -> NDArray[np.int64]:
    """Place of each k-mer over A, C, G, T, N (by its number in base 5) if those with an N come last."""
    n = np.zeros(1, dtype=bool)
    for _ in range(k):
        n = (n[:, None] | (np.arange(5) == 4)).ravel()
    return np.where(n, 4**k - 1 + np.cumsum(n), np.cumsum(~n) - 1)
