"""A BarcodeBERT as one ONNX file, for programs without torch."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from bioscan_hf.data.whole_files import whole_file

# The opset that torch's exporter is written in (`torch/onnx/_internal/exporter/_constants.py`); any other is a
# conversion afterwards. onnxruntime reads it from 1.14 on.
OPSET = 18
# Protocol buffers, which ONNX files are, hold 2 GiB; the graph takes some of it.
MAX_BYTES = 2**31 - 2**24
# Largest difference to the model's own outputs, which are about 1 in size.
TOLERANCE = 1e-4

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("last_hidden_state", "pooler_output")
METADATA = (
    *("kmer_size", "max_nucleotides", "max_tokens", "vocabulary", "vocab_size", "cls_token_id", "unknown_token_id"),
    *("num_special_tokens", "pooling", "embedding_norm", "attend_to_padding", "hidden_size"),
)
"""Names of the configuration's values that stand in the file, as JSON, beside `tokens`, which explains them."""

_TOKENS = (
    "An upper-case barcode is cut to max_nucleotides letters and read kmer_size letters at a time; a shorter rest is "
    "left out. The k-mer number i in alphabetical order (ACGT) has the id num_special_tokens + i; one with another "
    "letter, and padding, has unknown_token_id. cls_token_id, unless null, stands before each barcode. attention_mask "
    "is 1 but for padding. Other vocabularies than acgt and acgt_2023: see bioscan_hf.tokenization.kmer."
)


class _Encoder(nn.Module):
    """The encoder with the inputs and outputs that the file has."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return outputs.last_hidden_state, outputs.pooler_output


def export_onnx(model: PreTrainedModel, path: Path) -> None:
    """Write the encoder of a BarcodeBERT as an ONNX file.

    The file has the inputs `input_ids` and `attention_mask`, int64 (batch, tokens), and the outputs
    `last_hidden_state`, float32 (batch, tokens, hidden_size), and `pooler_output`, float32 (batch, hidden_size); batch
    and tokens may be any number, tokens up to the model's `max_tokens`. Its metadata tell how barcodes become ids.

    Args:
        model: A model of any BarcodeBERT class and precision; it stays as it is.
        path: The file; another of this name is replaced.

    Raises:
        ImportError: If the extra `onnx` is not installed.
        ValueError: If the model is no BarcodeBERT, or too large for a file.
        RuntimeError: If onnxruntime computes something else from the file than torch from the model. No file is left.
        OSError: If the file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ImportError(f"The export to ONNX needs {', '.join(missing)}: `pip install 'bioscan-hf[onnx]'`.")
    encoder = _float32_encoder(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _exported(encoder, model.config)
    _check_outputs(content, encoder, model.config)
    with whole_file(path) as file:
        file.write(content)


def _float32_encoder(model: PreTrainedModel) -> _Encoder:
    if not isinstance(model, PreTrainedModel) or model.config.model_type != "barcodebert":
        raise ValueError(
            f"Expected a BarcodeBERT; got {type(model).__name__}. Adapters (PEFT) are merged into the model by "
            "`merge_and_unload()`; other models are exported by optimum."
        )
    encoder: Any = model.base_model
    size = 4 * sum(parameter.numel() for parameter in encoder.parameters())
    if size > MAX_BYTES:
        raise ValueError(
            f"The encoder's {size / 2**30:.1f} GiB do not fit into one ONNX file, which holds 2 GiB. Most of it is the "
            f"token embedding of k = {model.config.kmer_size}; choose a model of smaller k."
        )
    encoder = copy.deepcopy(encoder).float().cpu()
    # Plain matrix products, whatever attention the model uses: every runtime has them.
    encoder.set_attn_implementation("eager")
    return _Encoder(encoder).eval()


def _exported(encoder: _Encoder, config: PreTrainedConfig) -> bytes:
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=config.max_tokens)}
    with _quiet():
        program = torch.onnx.export(
            encoder,
            _batch(config, 2, config.max_tokens),
            dynamo=True,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=dict.fromkeys(INPUTS, axes),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # it is with `dynamo=True`
    metadata = {name: json.dumps(getattr(config, name)) for name in METADATA}
    # The exporter notes at each step which line of which file on this machine it comes from.
    for step in program.model.graph.all_nodes():
        step.metadata_props.clear()
    program.model.metadata_props.update(metadata, tokens=_TOKENS)
    return program.model_proto.SerializeToString()


def _check_outputs(content: bytes, encoder: _Encoder, config: PreTrainedConfig) -> None:
    from onnxruntime import InferenceSession

    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    longest = config.max_tokens
    # One k-mer, the longest barcode, and other numbers of barcodes and of tokens than were exported.
    for count, tokens in ((1, 1), (1, longest), (3, longest), (2, longest // 2 + 1)):
        batch = _batch(config, count, tokens)
        found = session.run(OUTPUTS, {name: value.numpy() for name, value in zip(INPUTS, batch, strict=True)})
        with torch.inference_mode():
            expected = [value.numpy() for value in encoder(*batch)]
        for name, ours, theirs in zip(OUTPUTS, expected, found, strict=True):
            difference = _difference(ours, theirs)
            # Not `>`: it may be NaN.
            if not difference <= TOLERANCE:
                raise RuntimeError(
                    f"The exported `{name}` differs from the model's by {difference:.1e} for {count} barcodes of "
                    f"{tokens} tokens (at most {TOLERANCE:.0e} is allowed); no file was written. Other versions of "
                    "torch, onnxscript or onnxruntime may export it right: see constraints.txt."
                )


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf


def _batch(config: PreTrainedConfig, count: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids, and a mask in which the last barcodes are the shortest: two tensors (count, tokens)."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (count, tokens), generator=generator)
    lengths = torch.linspace(tokens, max(tokens // 3, 1), count).long()
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return ids.where(mask == 1, config.unknown_token_id), mask


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages and functions that play no part here; errors are raised anyway."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
