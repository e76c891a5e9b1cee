"""Configuration of BarcodeBERT."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import BertConfig

# Letters that k-mers are made of, tokens before the k-mers, and the token written at masked positions.
_VOCABULARIES = {
    "acgt": ("ACGT", 2, 0),
    # The code of 2023 wrote `<CLS>`, id 1, where it meant to write `<MASK>`.
    "acgt_2023": ("ACGT", 3, 1),
    "acgt_then_n": ("ACGTN", 2, 0),
    "acgnt": ("ACGNT", 1, 0),
}
# Larger ones have more k-mers than there are barcodes; 4**k of an absurd k takes all time and memory.
_LARGEST_K = 10


@strict
class BarcodeBertConfig(BertConfig):
    """Configuration of a BarcodeBERT: a BERT over the k-mers of a DNA barcode.

    The defaults are the model "8-4-4" of the BIOSCAN-5M paper: k = 8, 4 layers, 4 heads (Gharaee et al. 2024,
    arXiv 2406.12723; the other sizes are BERT-base's).

    Attributes:
        kmer_size: Letters in a token (k).
        max_nucleotides: Barcodes are cut to this many letters before they are tokenized.
        vocabulary: Which tokens have which ids (see `bioscan_hf.tokenization.kmer`): `acgt`, or one of those that other
            versions of the reference code used.
        vocab_size: Number of tokens; follows from `kmer_size` and `vocabulary` if not given.
        cls_token_id: Id of the token set before each barcode, None for no such token. CLIBD sets 0.
        pooling: What `pooler_output` is: the mean of the last hidden states of the barcode's k-mers (`masked_mean`, the
            reference since August 2024), of all positions up to `max_nucleotides`, padding included (`mean`, its
            earlier embeddings and its fine-tuning), or the last hidden state of the first token (`cls`).
        embedding_norm: What is done to the pooled states: nothing (`none`, as in the reference); BatchNorm without
            weights (`batch`), which brings each dimension to mean 0 and variance 1 over the barcodes of training:
            without it, embeddings of a trained model hardly differ in direction, and a classifier on top of them learns
            slowly (the "BNNeck" of Luo et al. 2019, arXiv 1903.07071); or a linear map that is computed after training
            (`linear`), such as whitening (Su et al. 2021, arXiv 2103.15316).
        reading_frames: Starts of a barcode over which bioscan_hf averages embeddings of this model, unless it is told
            otherwise; `forward` itself reads one. With k of them the letter at which a barcode starts hardly matters.
        attend_to_padding: Whether padding is read as if it were k-mers, as the reference did until August 2024. The
            attention mask is ignored then.
        mlm_head: Head of `BarcodeBertForMaskedLM`: one linear layer to the 4**k k-mers (`linear`), or BERT's head over
            the whole vocabulary (`transform`, in 2023).
        pad_token_id: Row of the token embedding that is zero and is not trained. It is the id of `[MASK]`, as in the
            reference; padding is the unknown k-mer with a zero in the attention mask.
        classifier_dropout: Dropout before the classifier; none, as in the reference.
        decoder_num_hidden_layers: Layers of the decoder of `BarcodeMAE` (6 in arXiv 2502.18405, with an encoder of 6).
        ranks: Ranks that `BarcodeBertForTaxonomicClassification` names, from broad to fine.
        taxa: Names at each rank; a label is an index into them.
        lineages: One row per leaf of the tree of these taxa: the index of its taxon at each rank, -1 where it has none.
    """

    model_type = "barcodebert"

    kmer_size: int = 8
    max_nucleotides: int = 660
    vocabulary: Literal["acgt", "acgt_2023", "acgt_then_n", "acgnt"] = "acgt"
    vocab_size: int | None = None
    cls_token_id: int | None = None
    pooling: Literal["masked_mean", "mean", "cls"] = "masked_mean"
    reading_frames: int = 1
    embedding_norm: Literal["none", "batch", "linear"] = "none"
    attend_to_padding: bool = False
    mlm_head: Literal["linear", "transform"] = "linear"
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    classifier_dropout: float | int | None = 0.0
    tie_word_embeddings: bool = False
    decoder_num_hidden_layers: int = 2
    ranks: list[str] | None = None
    taxa: dict[str, list[str]] | None = None
    lineages: list[list[int]] | None = None
    # One folder serves every head, whichever class it was saved from.
    auto_map: dict[str, str] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in the vocabulary size and the classes that load this model from the Hub without the package."""
        if self.vocab_size is None and self.kmer_size in range(1, _LARGEST_K + 1):
            self.vocab_size = self._vocab_size()
        classifier = f"BarcodeBertFor{'Taxonomic' if self.ranks else 'Sequence'}Classification"
        # Two classes are registered for one Auto class: transformers takes the one that is named here.
        if not self.architectures or self.architectures[0].endswith("Classification"):
            self.architectures: list[str] | None = [classifier]
        self.auto_map = {
            "AutoConfig": "configuration_barcodebert.BarcodeBertConfig",
            "AutoModel": "modeling_barcodebert.BarcodeBertModel",
            "AutoModelForMaskedLM": "modeling_barcodebert.BarcodeBertForMaskedLM",
            "AutoModelForPreTraining": "modeling_barcodebert.BarcodeMAE",
            "AutoModelForSequenceClassification": f"modeling_barcodebert.{classifier}",
        }
        super().__post_init__(**kwargs)

    def _vocab_size(self) -> int:
        letters, special, _ = _VOCABULARIES[self.vocabulary]
        return int(len(letters) ** self.kmer_size + special)

    @property
    def num_special_tokens(self) -> int:
        """Ids before the first k-mer."""
        return _VOCABULARIES[self.vocabulary][1]

    @property
    def mask_token_id(self) -> int:
        """Id that was written at masked positions."""
        return _VOCABULARIES[self.vocabulary][2]

    @property
    def unknown_token_id(self) -> int:
        """Id of padding and of k-mers with letters that are not in the vocabulary."""
        letters, special, _ = _VOCABULARIES[self.vocabulary]
        if letters != "ACGNT":
            return special - 1
        # The k-mer of N alone, counted in base 5.
        return special + 3 * (5**self.kmer_size - 1) // 4

    @property
    def max_tokens(self) -> int:
        """Tokens of a barcode of `max_nucleotides` letters."""
        return self.max_nucleotides // self.kmer_size + (self.cls_token_id is not None)

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit together."""
        if not 1 <= self.kmer_size <= _LARGEST_K:
            raise ValueError(f"`kmer_size` must be between 1 and {_LARGEST_K}; got {self.kmer_size}.")
        if self.num_attention_heads < 1:
            raise ValueError(f"`num_attention_heads` must be at least 1; got {self.num_attention_heads}.")
        if min(self.num_hidden_layers, self.decoder_num_hidden_layers) < 0:
            raise ValueError(
                "`num_hidden_layers` and `decoder_num_hidden_layers` must be at least 0; got "
                f"{self.num_hidden_layers} and {self.decoder_num_hidden_layers}."
            )
        if self.vocab_size != self._vocab_size():
            raise ValueError(
                f"`vocab_size` must be {self._vocab_size()} for `kmer_size={self.kmer_size}` and "
                f"`vocabulary='{self.vocabulary}'`; got {self.vocab_size}. Leave `vocab_size` out; a checkpoint of the "
                "reference is converted by `bioscan convert barcodebert`."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` must be a multiple of `num_attention_heads`; got {self.hidden_size} and "
                f"{self.num_attention_heads}."
            )
        if self.max_tokens > self.max_position_embeddings:
            raise ValueError(
                f"`max_position_embeddings` must be at least the {self.max_tokens} tokens of a barcode of "
                f"{self.max_nucleotides} letters; got {self.max_position_embeddings}."
            )
        if self.cls_token_id is not None and not 0 <= self.cls_token_id < self.num_special_tokens:
            raise ValueError(
                f"`cls_token_id` must be one of the first {self.num_special_tokens} ids, or None; "
                f"got {self.cls_token_id}."
            )
        if self.pooling == "cls" and self.cls_token_id is None:
            raise ValueError("`pooling='cls'` needs a `cls_token_id`: the token that is set before each barcode.")
        self._validate_taxonomy()

    def _validate_taxonomy(self) -> None:
        """Refuse taxa that are no tree: their probabilities could contradict each other."""
        if not self.ranks and not self.taxa and not self.lineages:
            return
        if not self.ranks or not self.taxa or not self.lineages or set(self.taxa) != set(self.ranks):
            raise ValueError("`ranks`, `taxa` (names at each rank) and `lineages` (one per leaf) belong together.")
        rows = set(map(tuple, self.lineages))
        if len(rows) < len(self.lineages) or any(len(row) != len(self.ranks) or max(row) < 0 for row in rows):
            raise ValueError(f"`lineages` must be different rows of {len(self.ranks)} indices, not all -1.")
        for i, rank in enumerate(self.ranks):
            names = self.taxa[rank]
            if len(set(names)) < len(names) or {row[i] for row in rows} - {-1} != set(range(len(names))):
                raise ValueError(
                    f"Each {rank} in `taxa` needs a name of its own and a row in `lineages`, which names no others."
                )
            above: dict[int, tuple[int, ...]] = {}
            for row in rows:
                if row[i] >= 0 and above.setdefault(row[i], row[:i]) != row[:i]:
                    raise ValueError(
                        f"The {rank} {names[row[i]]!r} has two lineages: {above[row[i]]} and {row[:i]} (indices at the "
                        f"ranks {self.ranks[:i]})."
                    )


BarcodeBertConfig.register_for_auto_class()

__all__ = ["BarcodeBertConfig"]
