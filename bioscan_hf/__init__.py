"""BIOSCAN-5M on the Hugging Face stack: DNA barcodes, images and taxonomy of five million insects.

Importing the package registers its models with transformers, so that `AutoConfig`, `AutoModel` and
`AutoModelForMaskedLM` load them without `trust_remote_code`. Nothing else happens.
"""

__version__ = "0.1.0"

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from bioscan_hf.data.loading import load_specimens, select_split
from bioscan_hf.evaluation.embeddings import Embeddings, embed, kmer_counts
from bioscan_hf.evaluation.neighbours import nearest
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertForMaskedLM, BarcodeBertModel
from bioscan_hf.tokenization.kmer import KmerEncoder, build_tokenizer

AutoConfig.register(BarcodeBertConfig.model_type, BarcodeBertConfig, exist_ok=True)
AutoModel.register(BarcodeBertConfig, BarcodeBertModel, exist_ok=True)
AutoModelForMaskedLM.register(BarcodeBertConfig, BarcodeBertForMaskedLM, exist_ok=True)

__all__ = [
    "BarcodeBertConfig",
    "BarcodeBertForMaskedLM",
    "BarcodeBertModel",
    "Embeddings",
    "KmerEncoder",
    "build_tokenizer",
    "embed",
    "kmer_counts",
    "load_specimens",
    "nearest",
    "select_split",
]
