"""Checkpoints of CLIBD's reference code to model folders, with processor, adapter and card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase, ViTImageProcessorPil

from bioscan_hf import __version__
from bioscan_hf.data.files import staged
from bioscan_hf.hub.card_texts import (
    KEYS_ONLY,
    LABELS,
    LANGUAGE,
    NOT_REGULATORY,
    PLACES,
    bibtex,
    bullets,
    published_results,
)
from bioscan_hf.hub.conversion import Source, check_is_new, repository_of
from bioscan_hf.hub.push import one_line, save_card, save_model
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig, ClibdDnaConfig
from bioscan_hf.models.clibd.convert_clibd import ClibdConversion, convert_clibd
from bioscan_hf.models.clibd.convert_names import LowRank
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.tokenization.kmer import tokenizer_for

TEXT_TOKENIZER = "prajjwal1/bert-small"
"""Repository of the tokenizer of all published checkpoints; its vocabulary is that of `bert-base-uncased`."""

ADAPTER_FOLDER = "adapter"

# The reference resizes the shorter side to 256 pixels and cuts 224 x 224 from the middle.
_RESIZED, _CROPPED = 256, 224
_BILINEAR = 2


def convert_clibd_to_folder(
    source: Source,
    folder: Path,
    *,
    given: Mapping[str, Any] | None = None,
    text_tokenizer: str = TEXT_TOKENIZER,
    adapter: bool = False,
    model_id: str = ".",
) -> ClibdConversion:
    """Convert a checkpoint of the reference into a folder that loads with and without this package.

    Args:
        source: The checkpoint.
        folder: New or empty folder; it appears whole or not at all.
        given: What the checkpoint does not tell (see `convert_clibd`).
        text_tokenizer: Folder or repository of the tokenizer of the tower for text; not looked at if there is none.
        adapter: Whether LoRA's matrices become an adapter for peft, in the folder `adapter`, instead of being added to
            the weights of their layers.
        model_id: Repository or folder that the example in the card loads.

    Returns:
        The model, and what was found, assumed and left out.

    Raises:
        FileExistsError: If the folder holds something.
        ImportError: If an adapter is wanted and peft is not installed.
        ValueError: As `convert_clibd`, or if the text tokenizer has not as many tokens as the tower.
        OSError: If something cannot be read or written, or the Hub does not give the text tokenizer.
    """
    check_is_new(folder)
    if adapter and find_spec("peft") is None:
        raise ImportError("An adapter needs peft: `pip install 'bioscan-hf[lora]'`.")
    conversion = convert_clibd(source.path, given, adapter=adapter)
    config = conversion.model.config
    tokenizer = load_text_tokenizer(text_tokenizer, config) if "text" in config.modalities else None
    card = clibd_card(conversion, source, model_id=model_id)
    with staged(folder) as stage:
        save_model(stage, conversion.model, clibd_processor(config, tokenizer))
        if conversion.adapter is not None:
            save_adapter(stage / ADAPTER_FOLDER, conversion.adapter, None if model_id == "." else model_id)
        save_card(stage, card)
    return conversion


def load_text_tokenizer(name_or_path: str, config: ClibdConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the tower for text, for texts of up to `text_tokens` tokens.

    Args:
        name_or_path: Folder or repository.
        config: Has a `text_config`.

    Raises:
        ValueError: If it has not as many tokens as the tower.
        OSError: If it cannot be loaded.
    """
    text: Any = config.text_config
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=False)
    # What a class does with files that are none of its own is not foreseeable.
    except Exception as error:
        raise OSError(
            f"The text tokenizer '{name_or_path}' cannot be loaded ({one_line(error)}); name a folder or repository by "
            "--text-tokenizer."
        ) from error
    if len(tokenizer) != text.vocab_size:
        raise ValueError(
            f"The text tokenizer '{name_or_path}' has {len(tokenizer):,} tokens, but the tower for text "
            f"{text.vocab_size:,}; name its own by --text-tokenizer."
        )
    tokenizer.model_max_length = config.text_tokens
    return tokenizer


def clibd_processor(config: ClibdConfig, text_tokenizer: PreTrainedTokenizerBase | None) -> ClibdProcessor:
    """The processor of a CLIBD of the reference: images resized, cut and scaled to 0 to 1, without normalisation.

    Args:
        config: Of the model.
        text_tokenizer: None if there is no tower for text. A processor must have all its parts, so the tokenizer for
            DNA stands in for it then, as does one for 5-mers where there is no tower for DNA.
    """
    resized, size = _image_sizes(config)
    image_processor = ViTImageProcessorPil(
        size={"shortest_edge": resized},
        resample=_BILINEAR,
        do_center_crop=True,
        crop_size={"height": size, "width": size},
        do_normalize=False,
    )
    dna: Any = config.dna_config or ClibdDnaConfig()
    # Each part is an object of its own: to save a processor changes its tokenizers.
    return ClibdProcessor(image_processor, text_tokenizer or tokenizer_for(dna), tokenizer_for(dna))


def save_adapter(folder: Path, lora: Mapping[str, LowRank], model_id: str | None = None) -> None:
    """Write LoRA's matrices as an adapter that peft loads.

    Args:
        folder: New folder for it.
        lora: Matrices by the name of their layer in the model, all of one rank.
        model_id: Repository of the model that the adapter is for.
    """
    from peft import LoraConfig

    rank = len(next(iter(lora.values())).down)
    config = LoraConfig(
        base_model_name_or_path=model_id,
        r=rank,
        # peft scales by alpha / r, the reference not at all.
        lora_alpha=rank,
        lora_dropout=0.0,
        # An expression, for peft writes a list in another order each time.
        target_modules="|".join(sorted({re.sub(r"\.\d+\.", r".\\d+.", layer) for layer in lora})),
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    matrices = {
        f"base_model.model.{layer}.lora_{letter}.weight": tensor.float().contiguous()
        for layer, pair in lora.items()
        for letter, tensor in zip("AB", pair, strict=True)
    }
    save_file(matrices, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def clibd_card(conversion: ClibdConversion, source: Source, *, model_id: str) -> ModelCard:
    """Write the card of a converted model: what it is, and where each thing that it says comes from.

    Args:
        conversion: The model, and what was found, assumed and left out.
        source: What it was converted from.
        model_id: Repository or folder that the example in the card loads.

    Returns:
        The card.
    """
    model, found = conversion.model, conversion.found
    modalities = model.config.modalities
    names = ["DNA" if name == "dna" else name for name in modalities]
    zero_shot = {"image", "text"} <= set(modalities)
    # The licence of the reference is that of its code; that of its weights is not known here.
    data = ModelCardData(
        language=LANGUAGE,
        license="unknown",
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification" if zero_shot else "feature-extraction",
        tags=["biology", "DNA", "DNA barcoding", "CLIBD", "multimodal", "bioscan_hf"],
        base_model=repository_of(source),
    )
    with as_file(files("bioscan_hf.hub") / "templates" / "converted_clibd.md") as template:
        return ModelCard.from_template(
            data,
            template_path=str(template),
            title=f"CLIBD, {' + '.join(modalities)}",
            modalities=modalities,
            towers=towers_in_words(model.config),
            config=model.config,
            parameters=f"{model.num_parameters():,}",
            adapter=None if conversion.adapter is None else len(next(iter(conversion.adapter.values())).down),
            resized=_image_sizes(model.config)[0],
            model_id=model_id,
            source=source.name,
            sha256=source.sha256,
            layout=conversion.layout,
            given={name: found.fields[name] for name, origin in found.sources.items() if origin == "--config"},
            assumed=found.assumed,
            left_out=conversion.left_out,
            published=published_results(f"CLIBD ({' + '.join(names)})", "species,"),
            benchmark="retrieval",
            limits=bullets(KEYS_ONLY, LABELS, PLACES, NOT_REGULATORY),
            citation=bibtex("CLIBD", "BIOSCAN-5M"),
            version=__version__,
        )


def towers_in_words(config: ClibdConfig) -> dict[str, str]:
    """What each tower of a CLIBD is, by modality."""
    kinds: dict[str, tuple[Any, str]] = {
        "image": (config.vision_config, "ViT, {image_size} x {image_size} pixels in patches of {patch_size}"),
        "dna": (config.dna_config, "BERT, {kmer_size}-mers of the first {max_nucleotides} letters"),
        "text": (config.text_config, "BERT, {vocab_size:,} word pieces"),
    }
    sizes = "; {num_hidden_layers} layers, {num_attention_heads} heads, hidden size {hidden_size}"
    return {name: (kinds[name][1] + sizes).format(**kinds[name][0].to_dict()) for name in config.modalities}


def _image_sizes(config: ClibdConfig) -> tuple[int, int]:
    """Pixels to which the shorter side is resized, and of the square that is cut from it."""
    vision: Any = config.vision_config
    size = _CROPPED if vision is None else vision.image_size
    return round(size * _RESIZED / _CROPPED), size
