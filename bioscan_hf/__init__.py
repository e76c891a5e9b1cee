"""BIOSCAN-5M on the Hugging Face stack: DNA barcodes, images and taxonomy of five million insects.

Importing the package registers its models with transformers, so that `AutoConfig`, `AutoModel` and
`AutoModelForMaskedLM` load them without `trust_remote_code`. Nothing else happens; other names are imported when they
are used.
"""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeBertModel

if TYPE_CHECKING:
    from bioscan_hf.data.builder import Bioscan5M
    from bioscan_hf.data.images import ImageBatches
    from bioscan_hf.data.labels import Labels
    from bioscan_hf.data.loading import load_dataset, load_labels
    from bioscan_hf.data.pixels import normalise
    from bioscan_hf.data.selection import select_split
    from bioscan_hf.data.specimens import load_specimens
    from bioscan_hf.evaluation.embeddings import Embeddings, embed, kmer_counts
    from bioscan_hf.evaluation.neighbours import nearest
    from bioscan_hf.tokenization.kmer import KmerEncoder, build_tokenizer

AutoConfig.register(BarcodeBertConfig.model_type, BarcodeBertConfig, exist_ok=True)
AutoModel.register(BarcodeBertConfig, BarcodeBertModel, exist_ok=True)
AutoModelForMaskedLM.register(BarcodeBertConfig, BarcodeBertForMaskedLM, exist_ok=True)

_HOMES = {
    "Bioscan5M": "data.builder",
    "Embeddings": "evaluation.embeddings",
    "KmerEncoder": "tokenization.kmer",
    "build_tokenizer": "tokenization.kmer",
    "embed": "evaluation.embeddings",
    "kmer_counts": "evaluation.embeddings",
    "ImageBatches": "data.images",
    "Labels": "data.labels",
    "load_dataset": "data.loading",
    "load_labels": "data.loading",
    "load_specimens": "data.specimens",
    "nearest": "evaluation.neighbours",
    "normalise": "data.pixels",
    "select_split": "data.selection",
}

__all__ = [
    "BarcodeBertConfig",
    "BarcodeBertForMaskedLM",
    "BarcodeBertModel",
    "Bioscan5M",
    "Embeddings",
    "ImageBatches",
    "KmerEncoder",
    "Labels",
    "build_tokenizer",
    "embed",
    "kmer_counts",
    "load_dataset",
    "load_labels",
    "load_specimens",
    "nearest",
    "normalise",
    "select_split",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"bioscan_hf.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'bioscan_hf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
