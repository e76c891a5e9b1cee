"""What of a model's output is the embedding of an image."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

Pooling = Literal["auto", "cls", "mean"]

# Their last hidden state comes before the final layer norm, which transformers applies in the pooled output only.
_NORM_AFTERWARDS = (
    "clip_vision_model", "chinese_clip_vision_model", "metaclip_2_vision_model", "altclip_vision_model",
)  # fmt: skip


class PooledModel:
    """Gives one vector per image.

    `auto` is what each kind of model is mostly compared by:

    - the projection into the space shared with texts, where the model has one (`get_image_features`: CLIP, SigLIP);
    - the pooled output of convolutional models (ResNet, ConvNeXt, RegNet), a global average, of models without CLS
      token (Swin: the mean; SigLIP's part for images: its attention head), and of BEiTs trained with mean pooling;
    - the mean over the patches of a masked autoencoder (ViT-MAE) and of models without pooled output or CLS token;
    - else the CLS token of the last hidden state, after the final layer norm (DINO, DINOv2, MoCo-v3, supervised ViT),
      and not the `pooler_output` of a ViT, which is behind a layer that such training does not train.

    Attributes:
        model: What computes: the given model, its part for images, or a copy that does not mask.
        pooling: `projection`, `pooler`, `cls` or `mean`.
    """

    def __init__(self, model: PreTrainedModel, pooling: Pooling, size: int) -> None:
        """Choose the embedding.

        Args:
            model: Is not changed.
            pooling: `auto`, `cls`, or `mean` over the patches, without CLS and register tokens. Of a convolutional
                model, and of a BEiT trained with mean pooling, the mean is the pooled output.
            size: Height and width of the images in pixels.

        Raises:
            ValueError: If the model does not give this, or does not take images of this size.
        """
        if pooling not in get_args(Pooling):
            raise ValueError(f"`pooling` must be one of {list(get_args(Pooling))}; got {pooling!r}.")
        projects = hasattr(model, "get_image_features") or hasattr(model, "visual_projection")
        if projects and pooling != "auto":
            if not isinstance(tower := getattr(model, "vision_model", None), PreTrainedModel):
                raise ValueError(f"`pooling` must be 'auto' for a {type(model).__name__}; got {pooling!r}.")
            model, projects = tower, False
        if getattr(model.config, "mask_ratio", 0):
            model = copy.deepcopy(model)
            model.config.mask_ratio = 0.0
        self.model = model
        self.pooling = "projection"
        self._has_cls = any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())
        probe = torch.zeros(1, 3, size, size, device=model.device, dtype=model.dtype)
        with torch.inference_mode(), _evaluating(model):
            try:
                if not projects:
                    self.pooling = self._choose(pooling, self._outputs(probe))
                vector = self(probe)
            except (ValueError, RuntimeError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"A {type(model).__name__} gives no embedding of images of {size} x {size} pixels: {error}"
                ) from error
        self.dimension: int = vector.shape[1]

    def __call__(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Compute vectors.

        Args:
            pixel_values: (B, 3, height, width), normalised.

        Returns:
            float32 (B, D).
        """
        if self.pooling == "projection":
            outputs: Any = self._features(pixel_values)
            vectors = outputs if isinstance(outputs, torch.Tensor) else outputs.pooler_output
        else:
            vectors = self._pool(self._outputs(pixel_values))
        if vectors.ndim != 2 or len(vectors) != len(pixel_values):
            raise ValueError(f"expected vectors (N, D), got {tuple(vectors.shape)}")
        return vectors.float()

    def _features(self, pixel_values: torch.Tensor) -> Any:
        if hasattr(self.model, "get_image_features"):
            features: Any = self.model.get_image_features
            return features(pixel_values=pixel_values)
        return self.model(pixel_values=pixel_values).image_embeds

    def _outputs(self, pixel_values: torch.Tensor) -> Any:
        noise = {}
        if hasattr(self.model.config, "mask_ratio"):
            # A masked autoencoder shuffles the patches by it, even if it keeps all of them.
            patches = (pixel_values.shape[-1] // self.model.config.patch_size) ** 2
            noise = {"noise": torch.arange(patches, device=pixel_values.device).expand(len(pixel_values), -1)}
        outputs = self.model(pixel_values=pixel_values, **noise)
        if getattr(outputs, "last_hidden_state", None) is None:
            raise ValueError("it gives no hidden states; take the model without its head, as `AutoModel` loads it")
        return outputs

    def _choose(self, pooling: Pooling, outputs: Any) -> str:
        pools = getattr(outputs, "pooler_output", None) is not None
        if pooling == "cls" and not (self._has_cls and outputs.last_hidden_state.ndim == 3):
            raise ValueError("it has no CLS token; take the pooling 'auto' or 'mean'")
        if outputs.last_hidden_state.ndim == 4:
            return "pooler" if pools else "mean"
        config = self.model.config
        # Such a BEiT has its final layer norm behind the mean, in the pooler.
        pools_mean = self._has_cls and getattr(config, "use_mean_pooling", False)
        if pooling == "cls" or (pooling == "mean" and not pools_mean):
            return pooling
        if hasattr(config, "mask_ratio"):
            return "mean"
        if self._has_cls and not pools_mean:
            return "cls"
        return "pooler" if pools else "mean"

    def _pool(self, outputs: Any) -> torch.Tensor:
        if self.pooling == "pooler":
            pooled: torch.Tensor = outputs.pooler_output.flatten(1)
            return pooled
        hidden: torch.Tensor = outputs.last_hidden_state
        if hidden.ndim == 4:
            return hidden.float().mean(dim=(2, 3))
        if self.model.config.model_type in _NORM_AFTERWARDS:
            norm: Any = self.model.post_layernorm
            hidden = norm(hidden)
        if self.pooling == "cls":
            return hidden[:, 0]
        # The patches of a square image are a square number; before them are CLS and register tokens, which are few.
        patches = math.isqrt(hidden.shape[1]) ** 2 if self._has_cls else hidden.shape[1]
        return hidden[:, -patches:].float().mean(dim=1)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
