"""Tiny models with random weights, and a tiny table of specimens."""

import torch
from transformers import PreTrainedModel

from bioscan_hf import BarcodeBertConfig, BarcodeBertForMaskedLM, BarcodeBertModel
from bioscan_hf.evaluation.results import Result


def tiny_config() -> BarcodeBertConfig:
    return BarcodeBertConfig(
        kmer_size=3, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )


def tiny_masked_lm() -> BarcodeBertForMaskedLM:
    torch.manual_seed(0)
    return BarcodeBertForMaskedLM(tiny_config()).eval()


TINY_MODELS: dict[str, list[PreTrainedModel]] = {
    "AutoModel": [BarcodeBertModel(tiny_config()), tiny_masked_lm()],
    "AutoModelForMaskedLM": [tiny_masked_lm()],
}
"""Per Auto class, the models whose saved folders it must load."""

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
