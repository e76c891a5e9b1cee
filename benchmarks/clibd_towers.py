"""Images per second of the processor, and of towers in several precisions, each way in a process of its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import measured
from pictures import jpegs
from PIL import Image
from transformers import BertModel, PreTrainedModel, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.tokenization.kmer import build_tokenizer

Result = dict[str, Any]
COMPARED = 2
"""Specimens whose vectors are compared."""
TOWERS = {"image": "ViT-B/16, 224 x 224 pixels", "dna": "BERT-base, 133 tokens"}
WAYS = {
    "eager": "plain attention, float32",
    "sdpa": "**SDPA, float32**, as the model comes",
    "bfloat16": "**SDPA, bfloat16**",
    "compiled": "SDPA, float32, `compile()`",
}
PROCESSORS = {
    "plain": "Pillow and numpy: decode, crop, divide, stack",
    "processor": "**`ClibdProcessor`** of opened files",
}


def prepare(way: str, images: int, repeats: int) -> Result:
    """Measure JPEG files of 256 pixels to `pixel_values`.

    Args:
        way: One of `PROCESSORS`.
        images: How many at once.
        repeats: How often; the fastest counts.

    Returns:
        `cpu` and `wall`, seconds; `sum`, of all values, by which the ways are compared.
    """
    torch.set_num_threads(1)
    files = list(jpegs(images, seed=0))
    make = _plain if way == "plain" else _processor()
    make(files[:2])
    costs = []
    for _ in range(repeats):
        with measured() as cost:
            values = make(files)
        costs.append(dict(cost))
    return {unit: min(cost[unit] for cost in costs) for unit in ("cpu", "wall")} | {"sum": float(values.double().sum())}


def _processor() -> Callable[[list[bytes]], torch.Tensor]:
    tokenizer = build_tokenizer(5, vocabulary="acgt_2023", cls_token_id=0)
    crop = {"height": 224, "width": 224}
    images = ViTImageProcessorPil(
        size={"shortest_edge": 256}, resample=2, do_center_crop=True, crop_size=crop, do_normalize=False
    )
    processor = ClibdProcessor(images, tokenizer, tokenizer)

    def make(files: list[bytes]) -> torch.Tensor:
        values: torch.Tensor = processor(images=[Image.open(io.BytesIO(file)) for file in files])["pixel_values"]
        return values

    return make


def _plain(files: list[bytes]) -> torch.Tensor:
    found = []
    for file in files:
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        top, left = ((side - 224) // 2 for side in pixels.shape[:2])
        cropped = pixels[top : top + 224, left : left + 224]
        found.append(cropped.transpose(2, 0, 1).astype(np.float32) / 255)
    return torch.from_numpy(np.stack(found))


def embed(way: str, tower: str, fields: dict[str, Any], batch: int, repeats: int) -> Result:
    """Measure a forward pass of a tower with random weights.

    Args:
        way: One of `WAYS`.
        tower: One of `TOWERS`.
        fields: Of its configuration, instead of CLIBD's.
        batch: Specimens at once.
        repeats: How often; the fastest counts.

    Returns:
        `cpu` and `wall`, seconds; `cosine`, the smallest to float32's vectors of the same specimens (the first token).
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, inputs = _tower(tower, fields, batch)
    with torch.inference_mode():
        few = {name: own[:COMPARED] for name, own in inputs.items()}
        expected = model(**few).last_hidden_state[:, 0]
        model.set_attn_implementation("eager" if way == "eager" else "sdpa")
        if way == "bfloat16":
            model = model.bfloat16()
            inputs = {name: own.bfloat16() if own.is_floating_point() else own for name, own in inputs.items()}
        if way == "compiled":
            model.compile()
        found = model(**inputs).last_hidden_state[:COMPARED, 0].float()
        costs = []
        for _ in range(repeats):
            with measured() as cost:
                model(**inputs)
            costs.append(dict(cost))
    cosine = torch.cosine_similarity(found, expected, dim=-1).min()
    return {unit: min(cost[unit] for cost in costs) for unit in ("cpu", "wall")} | {"cosine": float(cosine)}


def _tower(tower: str, fields: dict[str, Any], batch: int) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    config: Any = ClibdConfig()
    own = config.vision_config if tower == "image" else config.dna_config
    own.update(fields)
    own._attn_implementation = "sdpa"
    if tower == "image":
        pixels = torch.rand(batch, 3, own.image_size, own.image_size)
        return ViTModel(own, add_pooling_layer=False).eval(), {"pixel_values": pixels}
    kmers = torch.randint(3, own.vocab_size, (batch, own.max_tokens))
    return BertModel(own, add_pooling_layer=False).eval(), {"input_ids": kmers}
