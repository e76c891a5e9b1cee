"""Checkpoints as the reference code writes them, made of stock BERT classes with random weights."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from transformers import BertConfig, BertForMaskedLM, BertForTokenClassification, BertModel

K = 3
HIDDEN_SIZE = 16
SIZES = {
    "hidden_size": HIDDEN_SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 256,
    "initializer_range": 0.5,
}
HEADS: dict[str, Any] = {"num_attention_heads": SIZES["num_attention_heads"]}


def bert_config(vocab_size: int = 4**K + 2, **other: Any) -> BertConfig:
    told = {"vocab_size": vocab_size, "num_labels": 4**K, "output_hidden_states": True, **SIZES, **other}
    return BertConfig(**told)


def arguments(**other: Any) -> argparse.Namespace:
    """Arguments of the training script of generation 3."""
    told: dict[str, Any] = {"tokenizer": "kmer", "k_mer": K, "stride": K, "max_len": 660, "n_layers": 2, "n_heads": 4}
    told |= {"tokenize_n_nucleotide": False, "arch": "transformer", "run_name": "run", "seed": None, **other}
    return argparse.Namespace(**{name: value for name, value in told.items() if value != "absent"})


class Classifier(nn.Module):
    """The reference's fine-tuned model: names of its tensors, and the mean over all positions."""

    def __init__(self, encoder: nn.Module, num_labels: int) -> None:
        super().__init__()
        self.base_model = encoder
        self.classifier = nn.Linear(HIDDEN_SIZE, num_labels)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.base_model(ids, attention_mask=mask).hidden_states[-1].mean(1))


class Maelm(nn.Module):
    """BarcodeMAE's pretraining model: names of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = BertModel(bert_config())
        self.decoder = BertForTokenClassification(bert_config(num_hidden_layers=1))
        self.projection_layer = nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE)
        self.encoder_embedding = self.encoder.embeddings.word_embeddings
        self.encoder_position_embeddings = self.encoder.embeddings.position_embeddings
        self.decoder_embedding = self.decoder.bert.embeddings.word_embeddings


@dataclass(frozen=True)
class Stock:
    """Stock models with random weights, by the name of the layout."""

    masked_lm: BertForMaskedLM
    token_classifier: BertForTokenClassification
    classifier: Classifier
    maelm: Maelm


def stock() -> Stock:
    torch.manual_seed(0)
    pretrained = BertForTokenClassification(bert_config())
    pretrained.add_module("classifier", nn.Identity())
    return Stock(
        BertForMaskedLM(bert_config(4**K + 3)).eval(),
        BertForTokenClassification(bert_config()).eval(),
        Classifier(pretrained, 5).eval(),
        Maelm().eval(),
    )


def save_training(path: Path, model: nn.Module, /, **other: Any) -> Path:
    """What `safe_save_model` of the reference writes."""
    optimizer = torch.optim.AdamW(model.parameters())
    content = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": OneCycleLR(optimizer, max_lr=1e-4, total_steps=10).state_dict(),
        "config": arguments(),
        "epoch": 1,
        "bert_config": bert_config().to_dict(),
        **other,
    }
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


def save_bare(path: Path, model: nn.Module, prefix: str = "", **surplus: torch.Tensor) -> Path:
    """A state dict alone."""
    tensors = {**model.state_dict(), **{name.replace("__", "."): tensor for name, tensor in surplus.items()}}
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, path)
    return path
