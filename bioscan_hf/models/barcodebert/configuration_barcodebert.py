"""Configuration of BarcodeBERT."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import BertConfig


@strict
class BarcodeBertConfig(BertConfig):
    """Configuration of a BarcodeBERT: a BERT over the k-mers of a DNA barcode.

    The defaults are the model "8-4-4" of the BIOSCAN-5M paper: k = 8, 4 layers, 4 heads (Gharaee et al. 2024,
    arXiv 2406.12723; the other sizes are BERT-base's).

    Attributes:
        kmer_size: Letters in a token (k).
        max_nucleotides: Barcodes are cut to this many letters before they are tokenized.
        vocab_size: 4**k + 2 (`[MASK]`, `[UNK]` and the k-mers); follows from `kmer_size` if not given.
        pad_token_id: Row of the token embedding that is zero and is not trained. It is the id of `[MASK]`, as in the
            reference; padding is `[UNK]` with a zero in the attention mask.
    """

    model_type = "barcodebert"

    kmer_size: int = 8
    max_nucleotides: int = 660
    vocab_size: int | None = None  # type: ignore[assignment]
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    tie_word_embeddings: bool = False
    # One folder serves every head, whichever class it was saved from.
    auto_map: dict[str, str] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in the vocabulary size and the classes that load this model from the Hub without the package."""
        if self.vocab_size is None:
            self.vocab_size = 4**self.kmer_size + 2
        self.auto_map = {
            "AutoConfig": "configuration_barcodebert.BarcodeBertConfig",
            "AutoModel": "modeling_barcodebert.BarcodeBertModel",
            "AutoModelForMaskedLM": "modeling_barcodebert.BarcodeBertForMaskedLM",
        }
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit together."""
        if self.vocab_size != 4**self.kmer_size + 2:
            raise ValueError(
                f"`vocab_size` must be 4**kmer_size + 2 = {4**self.kmer_size + 2} for `kmer_size={self.kmer_size}`; "
                f"got {self.vocab_size}. Leave `vocab_size` out."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` must be a multiple of `num_attention_heads`; got {self.hidden_size} and "
                f"{self.num_attention_heads}."
            )
        if self.max_nucleotides // self.kmer_size > self.max_position_embeddings:
            raise ValueError(
                f"`max_position_embeddings` must be at least max_nucleotides / kmer_size = "
                f"{self.max_nucleotides // self.kmer_size}; got {self.max_position_embeddings}."
            )


BarcodeBertConfig.register_for_auto_class()

__all__ = ["BarcodeBertConfig"]
