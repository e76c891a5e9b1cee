"""BIOSCAN-5M on the Hugging Face stack: DNA barcodes, images and taxonomy of five million insects.

Importing the package registers its models with transformers, so that `AutoConfig`, `AutoModel` and its relatives load
them without `trust_remote_code`, and its pipeline, `pipeline("barcode-embedding")`. Nothing else happens; other names
are imported when they are used.
"""

__version__ = "0.1.0"

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioscan_hf.data.augmentation import ImageAugmentation
    from bioscan_hf.data.builder import Bioscan5M
    from bioscan_hf.data.images import ImageBatches
    from bioscan_hf.data.labels import Labels
    from bioscan_hf.data.loading import load_dataset, load_labels
    from bioscan_hf.data.multimodal import SpecimenCollator
    from bioscan_hf.data.pixels import normalise
    from bioscan_hf.data.selection import select_split
    from bioscan_hf.data.specimens import load_specimens
    from bioscan_hf.data.taxon_tree import TaxonTree
    from bioscan_hf.evaluation.bulk.run import embed_to_parquet
    from bioscan_hf.evaluation.clustering.clusters import cluster
    from bioscan_hf.evaluation.clustering.settings import Clustering
    from bioscan_hf.evaluation.embeddings import Embeddings, embed
    from bioscan_hf.evaluation.encoders.barcodebert import BarcodeBertEncoder
    from bioscan_hf.evaluation.encoders.clibd import load_clibd
    from bioscan_hf.evaluation.encoders.hub import HubEncoder
    from bioscan_hf.evaluation.encoders.image_loading import load_image_encoder
    from bioscan_hf.evaluation.encoders.images import ImageEncoder
    from bioscan_hf.evaluation.encoders.kmer_counts import KmerCounts
    from bioscan_hf.evaluation.encoders.loading import load_encoder
    from bioscan_hf.evaluation.encoders.pixels import PixelEncoder
    from bioscan_hf.evaluation.encoders.precomputed import Precomputed
    from bioscan_hf.evaluation.neighbours import nearest, nearest_k
    from bioscan_hf.identification.identify import Identifier
    from bioscan_hf.identification.library import Library
    from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
    from bioscan_hf.models.barcodebert.modeling_barcodebert import (
        BarcodeBertForMaskedLM,
        BarcodeBertForSequenceClassification,
        BarcodeBertForTaxonomicClassification,
        BarcodeBertModel,
        BarcodeMAE,
    )
    from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
    from bioscan_hf.models.clibd.modeling_clibd import ClibdForImageClassification, ClibdModel
    from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
    from bioscan_hf.models.pretrained import packaged_model
    from bioscan_hf.tokenization.kmer import KmerEncoder, build_tokenizer
    from bioscan_hf.training.lora import load_classifier

_HOMES = {
    "BarcodeBertForMaskedLM": "models.barcodebert.modeling_barcodebert",
    "BarcodeBertForSequenceClassification": "models.barcodebert.modeling_barcodebert",
    "BarcodeBertForTaxonomicClassification": "models.barcodebert.modeling_barcodebert",
    "BarcodeBertModel": "models.barcodebert.modeling_barcodebert",
    "BarcodeMAE": "models.barcodebert.modeling_barcodebert",
    "BarcodeBertConfig": "models.barcodebert.configuration_barcodebert",
    "ClibdConfig": "models.clibd.configuration_clibd",
    "ClibdModel": "models.clibd.modeling_clibd",
    "ClibdForImageClassification": "models.clibd.modeling_clibd",
    "ClibdProcessor": "models.clibd.processing_clibd",
    "Bioscan5M": "data.builder",
    "Embeddings": "evaluation.embeddings",
    "KmerEncoder": "tokenization.kmer",
    "build_tokenizer": "tokenization.kmer",
    "embed": "evaluation.embeddings",
    "embed_to_parquet": "evaluation.bulk.run",
    "load_encoder": "evaluation.encoders.loading",
    "BarcodeBertEncoder": "evaluation.encoders.barcodebert",
    "HubEncoder": "evaluation.encoders.hub",
    "KmerCounts": "evaluation.encoders.kmer_counts",
    "ImageEncoder": "evaluation.encoders.images",
    "PixelEncoder": "evaluation.encoders.pixels",
    "load_image_encoder": "evaluation.encoders.image_loading",
    "Precomputed": "evaluation.encoders.precomputed",
    "ImageAugmentation": "data.augmentation",
    "ImageBatches": "data.images",
    "SpecimenCollator": "data.multimodal",
    "load_clibd": "evaluation.encoders.clibd",
    "Identifier": "identification.identify",
    "Library": "identification.library",
    "Labels": "data.labels",
    "TaxonTree": "data.taxon_tree",
    "load_classifier": "training.lora",
    "load_dataset": "data.loading",
    "load_labels": "data.loading",
    "load_specimens": "data.specimens",
    "Clustering": "evaluation.clustering.settings",
    "cluster": "evaluation.clustering.clusters",
    "nearest": "evaluation.neighbours",
    "nearest_k": "evaluation.neighbours",
    "normalise": "data.pixels",
    "packaged_model": "models.pretrained",
    "select_split": "data.selection",
}

__all__ = [
    "BarcodeBertConfig",
    "BarcodeBertEncoder",
    "BarcodeBertForMaskedLM",
    "BarcodeBertForSequenceClassification",
    "BarcodeBertForTaxonomicClassification",
    "BarcodeBertModel",
    "BarcodeMAE",
    "Bioscan5M",
    "ClibdConfig",
    "ClibdForImageClassification",
    "ClibdModel",
    "ClibdProcessor",
    "Clustering",
    "Embeddings",
    "HubEncoder",
    "Identifier",
    "ImageAugmentation",
    "ImageBatches",
    "ImageEncoder",
    "KmerCounts",
    "KmerEncoder",
    "Labels",
    "Library",
    "PixelEncoder",
    "Precomputed",
    "SpecimenCollator",
    "TaxonTree",
    "build_tokenizer",
    "cluster",
    "embed",
    "embed_to_parquet",
    "load_classifier",
    "load_clibd",
    "load_dataset",
    "load_encoder",
    "load_image_encoder",
    "load_labels",
    "load_specimens",
    "nearest",
    "nearest_k",
    "normalise",
    "packaged_model",
    "select_split",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"bioscan_hf.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'bioscan_hf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


# The program `bioscan` registers the models when a command runs: its help and completion need not wait for torch.
if not getattr(sys.modules.get("bioscan_launcher"), "starting", False):
    import_module("bioscan_hf.registration")
