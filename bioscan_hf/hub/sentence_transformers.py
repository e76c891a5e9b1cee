"""The files by which sentence-transformers opens a model folder of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioscan_hf.data.whole_files import write_json

# Its name for the class that runs a model of transformers, and for the files, in 5.4 and later.
_MODULES = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
_TRANSFORMER: dict[str, Any] = {
    "transformer_task": "feature-extraction",
    # The model pools by itself. A `Pooling` module knows only the positions that the tokenizer wrote, and not those
    # that the model adds where padding counts.
    "modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}},
    "module_output_name": "sentence_embedding",
    # With flash attention it would write the barcodes of a batch one after another, and the model pool them all.
    "unpad_inputs": False,
}
_MODEL: dict[str, Any] = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}

FILES: dict[str, Any] = {
    "modules.json": _MODULES,
    "sentence_bert_config.json": _TRANSFORMER,
    "config_sentence_transformers.json": _MODEL,
}
"""Name and content of each file; the same for every BarcodeBERT."""


def save_sentence_transformers_files(folder: Path) -> None:
    """Let `SentenceTransformer(folder).encode(barcodes)` give the `pooler_output` of a model.

    Args:
        folder: Holds a BarcodeBERT and its tokenizer. Longer barcodes than the model takes are cut by the tokenizer.

    Raises:
        OSError: If the files cannot be written.
    """
    for name, content in FILES.items():
        write_json(folder / name, content)
