"""How much of a chip's bfloat16 peak a training step of CLIBD reaches, and how much memory it takes."""

from __future__ import annotations

import time
from typing import Any

import torch
from measuring import measured

from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.modeling_clibd import ClibdModel

Result = dict[str, Any]
WARM_UP = 2
TEXT_TOKENS = 20


def forward_flops(config: ClibdConfig) -> float:
    """Floating-point operations of one specimen in a forward pass; matrix products only, two per multiplication.

    Args:
        config: Of a model with three towers.

    Returns:
        L (8 T h² + 4 T h i + 4 T² h) of each tower: L layers, T tokens, hidden size h, intermediate size i; and the
        patches of the image.
    """
    vision, dna, text = config.vision_config, config.dna_config, config.text_config
    sizes: list[tuple[Any, int]] = [(dna, dna.max_tokens), (text, TEXT_TOKENS)]  # type: ignore[union-attr]
    image: Any = vision
    patches = (image.image_size // image.patch_size) ** 2
    total = 2.0 * patches * image.hidden_size * image.num_channels * image.patch_size**2
    for own, tokens in ((image, patches + 1), *sizes):
        h, i = own.hidden_size, own.intermediate_size
        total += own.num_hidden_layers * (8 * tokens * h**2 + 4 * tokens * h * i + 4 * tokens**2 * h)
    return total


def train(fields: dict[str, Any], batch: int, chunk_size: int | None, steps: int, device: str) -> Result:
    """Measure training steps in bfloat16 (autocast, AdamW).

    Args:
        fields: Of `ClibdConfig`, instead of the default.
        batch: Specimens in a step.
        chunk_size: Of the model.
        steps: How many are measured; `WARM_UP` go before.
        device: `cuda`, or `cpu` to see that it runs.

    Returns:
        `rate`, specimens per second; `tflops`, per second, of the operations that a step needs once; `memory`, the most
        that was held, GB; `device`, its name.
    """
    config = ClibdConfig(**fields)
    torch.manual_seed(0)
    model: Any = ClibdModel(config)
    model.to(device).train()
    model.chunk_size = chunk_size
    model.loss_tile = None if chunk_size is None else 1024
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    vision, dna, text = (getattr(config, f"{name}_config") for name in ("vision", "dna", "text"))
    words = torch.randint(5, text.vocab_size, (batch, TEXT_TOKENS), device=device)
    inputs = {
        "pixel_values": torch.rand(batch, 3, vision.image_size, vision.image_size, device=device),
        "dna_input_ids": torch.randint(3, dna.vocab_size, (batch, dna.max_tokens), device=device),
        "input_ids": words,
        "attention_mask": torch.ones_like(words),
    }
    on_gpu = device == "cuda"
    start = time.perf_counter()
    with measured() as cost:
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                start = _now(on_gpu)
            with torch.autocast(device, torch.bfloat16):
                loss = model(**inputs).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds = _now(on_gpu) - start
    rate = batch * steps / seconds
    name = torch.cuda.get_device_name() if on_gpu else "the CPU"
    return {
        "rate": rate,
        "tflops": 3 * rate * forward_flops(config) / 1e12,
        "memory": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else cost["peak"],
        "device": name,
    }


def _now(on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()
