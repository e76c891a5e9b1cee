"""Checkpoints as CLIBD's code writes them: tiny ones with random weights, and what the reference computes with them."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

PARITY = Path(__file__).parent / "models" / "clibd" / "parity"
# What their tensors do not tell: heads of the tiny towers are not 64 wide.
HEADS: dict[str, Any] = {
    "vision_config": {"num_attention_heads": 3},
    "dna_config": {"num_attention_heads": 2},
    "text_config": {"num_attention_heads": 2},
}
IMAGE, DNA, TEXT = "image_encoder.", "dna_encoder.", "language_encoder."
Tensors = dict[str, torch.Tensor]


class Reference(NamedTuple):
    """A model of the reference: its state dict, inputs, outputs, and the sizes of its towers."""

    state: Tensors
    inputs: Tensors
    outputs: Tensors
    sizes: dict[str, Any]


@cache
def reference(name: str) -> Reference:
    """`full`: fine-tuned whole, with LoRA in the tower for images; `lora`: with LoRA in all towers."""
    found = load_file(PARITY / f"model_{name}.safetensors")
    state, inputs, outputs = (
        {key.removeprefix(part): own for key, own in found.items() if key.startswith(part)}
        for part in ("state.", "in.", "out.")
    )
    return Reference(state, inputs, outputs, json.loads((PARITY / f"model_{name}.json").read_text()))


def former_names(state: Tensors) -> Tensors:
    """The tensors of `lora` under their names before April 2025."""
    today: dict[str, str] = json.loads((PARITY / "legacy_key_renames.json").read_text())
    before = {new: old for old, new in today.items()}
    return {before[name]: tensor for name, tensor in state.items()}


def without(state: Tensors, *prefixes: str) -> Tensors:
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


def save_clibd(path: Path, state: Tensors) -> Path:
    torch.save(state, path)
    return path


def make_text_tokenizer(folder: Path, size: int = 300) -> str:
    """The files of `prajjwal1/bert-small`: a vocabulary of letters, and a configuration that tells the kind."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "_", *letters, *(f"##{letter}" for letter in letters)]
    words += ["diptera", "hymenoptera", "not", "classified"]
    words += [f"[unused{i}]" for i in range(size - len(words))]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return str(folder)
