"""Tiny models with random weights, and a tiny table of specimens."""

from typing import Any

import torch
from transformers import PreTrainedModel

from bioscan_hf import (
    BarcodeBertConfig,
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    BarcodeBertModel,
    BarcodeMAE,
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
