"""The configuration of a checkpoint of the reference: what its parts tell, and what has to be assumed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from transformers.activations import ACT2FN

from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig

# Tokens before the k-mers, letters of the k-mers, and the generations of the code that had this vocabulary; of several,
# the first is what published checkpoints are. 1 is the branch `workshop_2023`, 2 the code of June 2024 (0985981), 3
# that since August 2024 (e8ef35c).
_VOCABULARIES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "acgt": (2, 4, (3, 2)),
    "acgt_2023": (3, 4, (1,)),
    "acgt_then_n": (2, 5, (3,)),
    "acgnt": (1, 5, (2,)),
}
_LARGEST_K = 10
# Arguments of the training scripts that one generation alone has (the second came when the first went, in e8ef35c).
_MARKS = {"use_unk_token": 2, "tokenize_n_nucleotide": 3}
_FROM_BERT_CONFIG = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"),
    *("initializer_range", "layer_norm_eps", "pad_token_id"),
)
_FROM_ARGUMENTS = {
    "k_mer": "kmer_size",
    "max_len": "max_nucleotides",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
}
# A BERT with other values is another architecture.
_REQUIRED = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
# All published models of BERT-base's width have as many heads as layers.
_PUBLISHED_HIDDEN_SIZE, _PUBLISHED_LAYERS = 768, (4, 6, 12)


@dataclass
class Described:
    """Fields of a configuration, and where they come from.

    Attributes:
        generation: Of the reference's code: 1, 2 or 3.
        fields: For `BarcodeBertConfig`.
        sources: Per field, which part of the checkpoint it was read from, or `--config`.
        assumed: What nothing told, in words.
    """

    generation: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)

    def add(self, source: str, told: Mapping[str, Any]) -> None:
        """Take in what one source tells; sources must not contradict each other."""
        for name, value in told.items():
            if name in self.fields and self.fields[name] != value:
                known, where = self.fields[name], self.sources[name]
                raise ValueError(f"`{name}` is {known!r} by its {where}, but {value!r} by {source}")
            self.fields.setdefault(name, value)
            self.sources.setdefault(name, source)

    def suppose(self, name: str, value: Any, reason: str) -> None:
        """Take a value that nothing has told."""
        if name not in self.fields:
            self.fields[name] = value
            self.assumed.append(f"`{name}` is {value}: {reason}")


def check_given(given: Mapping[str, Any]) -> None:
    """Refuse what is no field of the configuration.

    Args:
        given: Content of the file for `--config`.

    Raises:
        ValueError: If a name is unknown; the message says which one may be meant.
    """
    known = {entry.name for entry in fields(BarcodeBertConfig)} - {"auto_map", "architectures", "transformers_version"}
    known.add("generation")
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else "give `generation` or fields of BarcodeBertConfig."
            raise ValueError(f"`{name}` is no field of the configuration; {hint}")


def describe(
    encoder: Mapping[str, torch.Tensor],
    *,
    mlm_head: Literal["linear", "transform"],
    fine_tuned: bool,
    bert_config: Mapping[str, Any],
    arguments: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Described:
    """Find the configuration of a checkpoint.

    Args:
        encoder: Tensors of the encoder, named as in `BertModel`.
        mlm_head: Kind of the pretraining head, if there is one.
        fine_tuned: Whether the model was fine-tuned by the reference, which pools over all positions.
        bert_config: The BERT configuration in the checkpoint, may be empty.
        arguments: The arguments of the training script in the checkpoint, may be empty.
        given: What the user adds: fields of `BarcodeBertConfig`, and `generation`.

    Returns:
        The configuration.

    Raises:
        ValueError: If the parts contradict each other, if the model is none that can be converted, or if something is
            to be given.
    """
    found = Described()
    found.add("tensors", _told_by_tensors(encoder))
    _refuse_other_architectures(bert_config)
    found.add("bert_config", {name: bert_config[name] for name in _FROM_BERT_CONFIG if name in bert_config})
    found.add("arguments", _told_by_arguments(arguments, found.fields["kmer_size"]))
    found.add("--config", {name: value for name, value in given.items() if name != "generation"})
    vocabulary = found.fields["vocabulary"]
    found.generation = _generation(found, mlm_head, arguments, given.get("generation"))
    if arguments.get("tokenize_n_nucleotide") and vocabulary != "acgt_then_n":
        raise ValueError(f"its arguments say `tokenize_n_nucleotide`, but its vocabulary is '{vocabulary}'")
    _suppose_rest(found, arguments)
    pads = found.generation < 3
    found.fields.setdefault("attend_to_padding", pads)
    found.fields.setdefault("pooling", "mean" if pads or fine_tuned else "masked_mean")
    found.fields.setdefault("mlm_head", mlm_head)
    return found


def _told_by_tensors(encoder: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    def shape(name: str) -> torch.Size:
        if name not in encoder or encoder[name].ndim != 2:
            raise ValueError(f"it has no '{name}', a matrix, so it is no BarcodeBERT")
        return encoder[name].shape

    rows, hidden_size = shape("embeddings.word_embeddings.weight")
    kmer_size, vocabulary = _vocabulary(rows)
    layers = {match[1] for name in encoder if (match := re.match(r"encoder\.layer\.(\d+)\.", name))}
    return {
        "kmer_size": kmer_size,
        "vocabulary": vocabulary,
        "vocab_size": rows,
        "hidden_size": hidden_size,
        "num_hidden_layers": len(layers),
        "intermediate_size": shape("encoder.layer.0.intermediate.dense.weight")[0],
        "max_position_embeddings": shape("embeddings.position_embeddings.weight")[0],
        "type_vocab_size": shape("embeddings.token_type_embeddings.weight")[0],
    }


def _vocabulary(rows: int) -> tuple[int, str]:
    for k in range(2, _LARGEST_K + 1):
        for name, (special, letters, _) in _VOCABULARIES.items():
            if rows == letters**k + special:
                return k, name
    raise ValueError(
        f"it has {rows:,} tokens, which is the vocabulary of no k-mer tokenizer of BarcodeBERT (4**k + 2, 4**k + 3, "
        "5**k + 2 or 5**k + 1 tokens); models with a BPE tokenizer cannot be converted"
    )


def _refuse_other_architectures(bert_config: Mapping[str, Any]) -> None:
    for name, value in _REQUIRED.items():
        if bert_config.get(name, value) != value:
            raise ValueError(
                f"`{name}` is {bert_config[name]!r} in its configuration; BarcodeBERT is a BERT with {value!r}"
            )
    activation = bert_config.get("hidden_act", "gelu")
    if activation not in ACT2FN:
        raise ValueError(f"`hidden_act` is {activation!r} in its configuration, which transformers does not know")


def _told_by_arguments(arguments: Mapping[str, Any], kmer_size: int) -> dict[str, Any]:
    tokenizer, stride = arguments.get("tokenizer", "kmer"), arguments.get("stride")
    if tokenizer != "kmer":
        raise ValueError(f"its tokenizer is '{tokenizer}'; only models with the k-mer tokenizer can be converted")
    if stride not in (None, kmer_size):
        raise ValueError(
            f"its k-mers overlap (k is {kmer_size}, stride {stride}); the tokenizer and the attention mask of the "
            "reference disagree then, and such a model cannot be converted"
        )
    return {ours: arguments[name] for name, ours in _FROM_ARGUMENTS.items() if arguments.get(name) is not None}


def _generation(found: Described, mlm_head: str, arguments: Mapping[str, Any], given: int | None) -> int:
    vocabulary = found.fields["vocabulary"]
    possible = _VOCABULARIES[vocabulary][2]
    if given is not None:
        if given not in possible:
            allowed = " or ".join(map(str, possible))
            raise ValueError(f"`generation` must be {allowed} with the vocabulary '{vocabulary}'; got {given!r}")
        return given
    told = [generation for mark, generation in _MARKS.items() if mark in arguments]
    if told:
        return told[0]
    if mlm_head == "transform" and vocabulary != "acgt_2023":
        raise ValueError(
            f"it has the head of 2023, but the later vocabulary '{vocabulary}', and nothing tells how it was trained; "
            'give {"generation": 2} or {"generation": 3} in a JSON file by --config'
        )
    if len(possible) > 1:
        found.assumed.append(f"generation {possible[0]}: published checkpoints of this form are")
    return possible[0]


def _suppose_rest(found: Described, arguments: Mapping[str, Any]) -> None:
    layers, hidden_size = found.fields["num_hidden_layers"], found.fields["hidden_size"]
    if hidden_size == _PUBLISHED_HIDDEN_SIZE and layers in _PUBLISHED_LAYERS:
        found.suppose("num_attention_heads", layers, "all published models have as many heads as layers")
    if "num_attention_heads" not in found.fields:
        raise ValueError(
            "nothing in it tells the number of attention heads; give "
            '{"num_attention_heads": ...} in a JSON file by --config'
        )
    found.suppose("max_nucleotides", 660, "as in all scripts of the reference")
    if not arguments:
        found.assumed.append("k-mers do not overlap: no published model has others")
    if "bert_config" not in found.sources.values():
        found.assumed.append("activation, layer norm and dropout are BERT's defaults")
