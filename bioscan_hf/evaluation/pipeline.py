"""`pipeline("barcode-embedding", model=...)`: barcodes in, vectors out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import AutoModel, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from bioscan_hf.tokenization.letters import clean_barcode

TASK = "barcode-embedding"

Vector = NDArray[np.float32]


class BarcodeEmbeddingPipeline(Pipeline):
    """Embeddings of single barcodes with a BarcodeBERT, for short scripts and inference servers.

    Barcodes are put in upper case, U is written T, gaps and white space are left out; what is longer than
    `config.max_nucleotides` is cut. `bioscan_hf.embed` is faster for many specimens.

    >>> from transformers import pipeline
    >>> embedder = pipeline("barcode-embedding", model="my-barcodebert")  # doctest: +SKIP
    >>> embedder("AACATTATATTTTATTTTTGGAATT").shape  # doctest: +SKIP
    (768,)
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Check that model and tokenizer belong together.

        Args:
            *args: As `transformers.Pipeline`.
            **kwargs: As `transformers.Pipeline`, and `normalise`: whether vectors are scaled to length 1 (not, if not
                given).

        Raises:
            ValueError: If the model is no BarcodeBERT, or the tokenizer has other k-mers than the model.
        """
        super().__init__(*args, **kwargs)
        _check_fit(self.model.config, self.tokenizer)
        # A model from `from_pretrained` is in this mode; with dropout, each call would give another vector.
        self.model.eval()

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Embed barcodes.

        Args:
            inputs: A barcode; or a list, a column or an array of them; or a generator or torch dataset (such as
                `KeyDataset(specimens, "dna_barcode")`), which is read as its vectors are asked for.
            *args: None; others are ignored, as in any pipeline.
            **kwargs: `batch_size`, and `normalise` as in `__init__`.

        Returns:
            float32 (hidden_size,), the model's `pooler_output`: one vector, a list, or an iterator, as the input.

        Raises:
            ValueError: If an input is no barcode: None, a number, empty, shorter than k, a protein, other letters. The
                message tells which; of a list, none is embedded then.
        """
        if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable | Dataset):
            return super().__call__(self._barcode(inputs, "The input"), *args, **kwargs)
        # A torch dataset may have `__getitem__` alone, which `enumerate` accepts.
        barcodes = (self._barcode(one, f"Input {i}") for i, one in enumerate(inputs))  # type: ignore[arg-type]
        if isinstance(inputs, Dataset) or not isinstance(inputs, Sized):
            return super().__call__(barcodes, *args, **kwargs)
        checked = list(barcodes)
        return super().__call__(checked, *args, **kwargs) if checked else []

    def _barcode(self, value: object, name: str) -> str:
        try:
            return clean_barcode(value, min_letters=self.model.config.kmer_size)
        except ValueError as error:
            raise ValueError(f"{name} cannot be embedded: {error}") from error

    # Named, so that Python refuses any other parameter.
    def _sanitize_parameters(self, normalise: bool | None = None) -> tuple[dict, dict, dict]:
        return {}, {}, {} if normalise is None else {"normalise": normalise}

    def preprocess(self, input_: Any, **_: Any) -> Any:
        """Tokenize a clean barcode: ids and mask, (1, tokens)."""
        tokenizer: Any = self.tokenizer
        return tokenizer(input_, truncation=True, max_length=self.model.config.max_tokens, return_tensors="pt")

    def _forward(self, input_tensors: Any, **_: Any) -> Any:
        # Of a model with a head, the encoder.
        return {"pooler_output": self.model.base_model(**input_tensors).pooler_output}

    def postprocess(self, model_outputs: Any, normalise: bool = False) -> Vector:
        """Turn the output for one barcode, (1, hidden_size), into a vector."""
        (vector,) = model_outputs["pooler_output"].float()
        return (torch.nn.functional.normalize(vector, dim=0) if normalise else vector).numpy()


def register() -> None:
    """Make the task known to `transformers.pipeline`."""
    PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=BarcodeEmbeddingPipeline, pt_model=AutoModel, type="text")
    # With this, `save_pretrained` would copy this file into the model's folder and name it in the configuration, and
    # transformers would then ask for `trust_remote_code` even where the package is there.
    del BarcodeEmbeddingPipeline._registered_impl


def _check_fit(config: Any, tokenizer: Any) -> None:
    if not hasattr(config, "kmer_size"):
        raise ValueError(
            f"The pipeline '{TASK}' needs a BarcodeBERT; got a model of type '{config.model_type}'. "
            "`bioscan_hf.load_encoder` reads other DNA models."
        )
    if tokenizer is None:
        raise ValueError(f"The pipeline '{TASK}' needs the model's tokenizer: give `tokenizer=` beside the model.")
    expected = [config.num_special_tokens]  # the k-mer of A alone
    if config.cls_token_id is not None:
        expected = [config.cls_token_id, *expected]
    found = tokenizer("A" * config.kmer_size)["input_ids"]
    if found != expected or len(tokenizer) != config.vocab_size:
        raise ValueError(
            f"The model reads k-mers of k = {config.kmer_size} ({config.vocab_size:,} tokens, vocabulary "
            f"'{config.vocabulary}'), and '{'A' * config.kmer_size}' as the ids {expected}; the tokenizer has "
            f"{len(tokenizer):,} tokens and gives {found}. `bioscan_hf.tokenization.kmer.tokenizer_for(model.config)` "
            "makes the one that fits."
        )
