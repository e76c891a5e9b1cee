"""Vision models with random weights, in the layouts of those on the Hub."""

import io
from typing import Any

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, Features, Image, Value
from torch import nn
from transformers import (
    BeitConfig,
    BeitModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

SIZE = 32
LAYERS: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION: dict[str, Any] = {**LAYERS, "intermediate_size": 32, "image_size": SIZE, "patch_size": 8}
DINOV2: dict[str, Any] = {**LAYERS, "image_size": SIZE, "patch_size": 8}
TEXT: dict[str, Any] = {
    **{**LAYERS, "intermediate_size": 32, "vocab_size": 9},
    **{"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
DECODER: dict[str, Any] = {
    "decoder_num_hidden_layers": 1,
    "decoder_hidden_size": 8,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}


def vision_model(kind: str) -> PreTrainedModel:
    """A model whose weights, layer norms among them, are all random."""
    torch.manual_seed(0)
    model: PreTrainedModel = {
        "vit": lambda: ViTModel(ViTConfig(**VISION)),
        "vit-classifier": lambda: ViTForImageClassification(ViTConfig(**VISION)),
        "mae": lambda: ViTMAEForPreTraining(ViTMAEConfig(**VISION, **DECODER)),
        "clip": lambda: CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=12)),
        "clip-vision": lambda: CLIPVisionModel(CLIPVisionConfig(**VISION)),
        "clip-projection": lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=12)),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**DINOV2)),
        "registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**DINOV2, num_register_tokens=3)),
        "resnet": lambda: ResNetModel(ResNetConfig(embedding_size=8, **STAGES)),
        "convnext": lambda: ConvNextModel(ConvNextConfig(**STAGES, num_stages=2)),
        "siglip": lambda: SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT)),
        "siglip-vision": lambda: SiglipVisionModel(SiglipVisionConfig(**VISION)),
        "swin": lambda: SwinModel(
            SwinConfig(image_size=SIZE, patch_size=4, window_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2])
        ),
        "beit": lambda: BeitModel(BeitConfig(**VISION, use_mean_pooling=True)),
    }[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(module.num_features), torch.rand(module.num_features)
    return model.eval()


def made_images(count: int = 5) -> list[PIL.Image.Image]:
    """Wide and tall images, one of them smaller than the models', with smooth colours."""
    random = np.random.default_rng(0)
    sizes = [(50, 40), (40, 70), (32, 32), (90, 33), (20, 24)]
    coarse = [PIL.Image.fromarray(random.integers(0, 256, (4, 5, 3), np.uint8)) for _ in range(count)]
    return [image.resize(sizes[i % len(sizes)], PIL.Image.Resampling.BICUBIC) for i, image in enumerate(coarse)]


def png(image: PIL.Image.Image) -> bytes:
    """An image file without loss."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def specimens_with(images: list[bytes | None]) -> Dataset:
    """Specimens P0, P1 ... with these files."""
    rows = [{"processid": f"P{i}", "image": None if data is None else {"bytes": data}} for i, data in enumerate(images)]
    features = Features({"processid": Value("string"), "image": Image()})
    return Dataset.from_list(rows, features=features)


def specimens(count: int = 5) -> Dataset:
    """Specimens with `made_images`."""
    return specimens_with([png(image) for image in made_images(count)])


def model_inputs(images: list[PIL.Image.Image], size: int, mean: Any, std: Any) -> torch.Tensor:
    """Pillow and NumPy only: the shorter side is scaled, the centre cropped, each channel normalised."""
    rows = []
    for image in images:
        width, height = image.size
        short = min(width, height)
        scaled = (int(size * width / short), int(size * height / short))
        resized = image if short == size else image.resize(scaled, PIL.Image.Resampling.BILINEAR)
        left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
        values = np.asarray(resized.crop((left, top, left + size, top + size)), np.float64) / 255
        rows.append(((values - mean) / std).transpose(2, 0, 1))
    return torch.tensor(np.array(rows), dtype=torch.float32)
