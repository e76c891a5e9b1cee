"""Tiny models with random weights, and a tiny table of specimens."""

from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from bioscan_hf import (
    BarcodeBertConfig,
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    BarcodeBertModel,
    BarcodeMAE,
    ClibdConfig,
    ClibdModel,
    ClibdProcessor,
    build_tokenizer,
)
from bioscan_hf.evaluation.results import Result

# Two genera; one specimen of the second was named to the genus only, and one to the order.
TAXONOMY: dict[str, Any] = {
    "ranks": ["order", "genus", "species"],
    "taxa": {"order": ["Aptera", "Bptera"], "genus": ["Aus", "Cus"], "species": ["Aus bus", "Cus dus", "Cus eus"]},
    "lineages": [[0, 0, 0], [0, 1, 1], [0, 1, 2], [1, -1, -1]],
}


def tiny_config(**fields: Any) -> BarcodeBertConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BarcodeBertConfig(**{"kmer_size": 3, "decoder_num_hidden_layers": 1, **sizes, **fields})


def tiny_masked_lm() -> BarcodeBertForMaskedLM:
    torch.manual_seed(0)
    return BarcodeBertForMaskedLM(tiny_config()).eval()


def tiny_heads(**fields: Any) -> list[PreTrainedModel]:
    """A model of each class with a head."""
    torch.manual_seed(0)
    return [
        BarcodeBertForMaskedLM(tiny_config(**fields)),
        BarcodeMAE(tiny_config(**fields)),
        BarcodeBertForSequenceClassification(tiny_config(num_labels=7, **fields)),
        BarcodeBertForTaxonomicClassification(tiny_config(**TAXONOMY, **fields)),
    ]


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Aptera", "Bptera", "Aus", "Cus", "bus", "dus", "eus", "not_classified"]
"""Vocabulary of the text tokenizer of `tiny_clibd_processor`."""


def tiny_clibd_config(**fields: Any) -> ClibdConfig:
    """Three towers of one layer: images of 8 x 8 pixels, 3-mers of up to 24 letters, texts of `WORDS`."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    # No dropout, and weights that tell inputs apart.
    common = {**sizes, "initializer_range": 0.3}
    bert = {**common, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    kmers = {"kmer_size": 3, "vocab_size": 67, "max_nucleotides": 24, "max_position_embeddings": 12}
    configs: dict[str, dict[str, Any]] = {
        "vision_config": {"model_type": "vit", "image_size": 8, "patch_size": 4, "layer_norm_eps": 1e-6, **common},
        "dna_config": {**bert, **kmers},
        "text_config": {"model_type": "bert", "vocab_size": len(WORDS), "max_position_embeddings": 24, **bert},
    }
    modality_of = {"vision_config": "image", "dna_config": "dna", "text_config": "text"}
    modalities = fields.get("modalities", ("image", "dna", "text"))
    given = {
        name: {**config, **fields.pop(name, {})} for name, config in configs.items() if modality_of[name] in modalities
    }
    return ClibdConfig(**{"projection_dim": 16, **given, **fields})


def tiny_clibd(**fields: Any) -> ClibdModel:
    torch.manual_seed(0)
    return ClibdModel(tiny_clibd_config(**fields)).eval()


def tiny_text_tokenizer() -> PreTrainedTokenizerFast:
    """A text tokenizer as BERT's, for a dozen words."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, WORDS.index(token)) for token in ("[CLS]", "[SEP]")]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=24, **special)


def tiny_clibd_processor() -> ClibdProcessor:
    """Of `tiny_clibd`."""
    images = ViTImageProcessorPil(
        size={"shortest_edge": 10}, do_center_crop=True, crop_size={"height": 8, "width": 8}, do_normalize=False
    )
    barcodes = build_tokenizer(3, max_nucleotides=24, vocabulary="acgt_2023", cls_token_id=0)
    return ClibdProcessor(images, tiny_text_tokenizer(), barcodes)


_MASKED_LM, _MAE, _ONE_RANK, _TAXONOMIC = tiny_heads()
_ENCODER = BarcodeBertModel(tiny_config())
TINY_MODELS: dict[str, list[PreTrainedModel]] = {
    "AutoModel": [_ENCODER, _MASKED_LM, _MAE, _ONE_RANK, _TAXONOMIC],
    "AutoModelForMaskedLM": [_MASKED_LM, _ENCODER],
    "AutoModelForPreTraining": [_MAE, _MASKED_LM],
    "AutoModelForSequenceClassification": [_ONE_RANK, _TAXONOMIC, _MASKED_LM, _MAE],
}
"""Per Auto class, the models whose saved folders it must load: its own class first."""

CSV = """processid,dna_barcode,order,genus,species,split
A1,ACGTACGTACGTACGT,Aptera,Aus,Aus bus,train
A2,ACGTACGTACGTACGA,Aptera,Aus,Aus bus,test
B1,TTTTACGTTTTTACGG,Aptera,Cus,Cus dus,train
B2,TTTTACGTTTTTACGC,Aptera,Cus,Cus dus,test
C1,TTTTACGTTATTACGA,Aptera,Cus,Cus eus,test_unseen
P1,GGGGACGTGGGGACGA,Aptera,,,pretrain
"""

RESULT = Result(
    benchmark="1-NN genus, unseen species",
    metric="accuracy",
    value=0.625,
    count=1200,
    model="A model",
    model_revision="0123456789ab",
    dataset="some data",
    dataset_revision="ba9876543210",
    split="test_unseen",
    command="bioscan demo --seed 3",
)
