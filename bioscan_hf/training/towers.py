"""Towers of a CLIBD: pretrained ones, and new ones for small data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from bioscan_hf.data.pixels import BIOSCAN_MEAN, BIOSCAN_STD
from bioscan_hf.evaluation.encoders.image_inputs import read_preprocessing
from bioscan_hf.evaluation.encoders.model_files import ModelFiles, find_model, load_weights, read_json
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import BarcodeBertModel
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor
from bioscan_hf.models.pretrained import find_packaged
from bioscan_hf.tokenization.kmer import build_tokenizer, tokenizer_for
from bioscan_hf.training.alignment_arguments import AlignmentArguments

NEW = "new:"
# Width, layers, heads: of ViT (Dosovitskiy et al. 2021, Touvron et al. 2021), and half of the smallest for toys.
SIZES = {"tiny": (96, 4, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
_TEXT_SIZES = {"tiny": (96, 2, 3), "small": (512, 4, 8), "base": (768, 12, 12)}  # small: prajjwal1/bert-small
_NEW_IMAGE_SIZE = {"tiny": 64, "small": 224, "base": 224}
# k-mers of a new tower for DNA; as in CLIBD.
_KMER_SIZE = 5
_EXPECTED = "the folder or Hub repository of a model, or new:tiny, new:small, new:base"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class Towers(NamedTuple):
    """Towers and what makes their inputs.

    Attributes:
        models: By modality.
        processor: Of all of them.
        vision_pooling: What of the tower for images is projected.
    """

    models: dict[str, PreTrainedModel]
    processor: ClibdProcessor
    vision_pooling: str


def load_towers(arguments: AlignmentArguments, captions: Iterable[str] | None) -> Towers:
    """Load or make the towers.

    Args:
        arguments: Which.
        captions: Texts of the training data, whose words a new tower for text knows; None if nobody read them.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If a model is not what its modality needs.
    """
    models: dict[str, PreTrainedModel] = {}
    pooling = "cls"
    image_processor = _image_processor(_NEW_IMAGE_SIZE["base"], None)
    dna_tokenizer = build_tokenizer(_KMER_SIZE)
    # A processor has a tokenizer for text in any case; saving one object twice would fail.
    tokenizer: Any = build_tokenizer(_KMER_SIZE)
    if "image" in arguments.modality_names:
        models["image"], image_processor, pooling = _image_tower(arguments)
    if "dna" in arguments.modality_names:
        models["dna"] = _dna_tower(arguments)
        dna_tokenizer = tokenizer_for(models["dna"].config)
        tokenizer = tokenizer_for(models["dna"].config)
    if "text" in arguments.modality_names:
        models["text"], tokenizer = _text_tower(arguments, captions)
    return Towers(models, ClibdProcessor(image_processor, tokenizer, dna_tokenizer), pooling)


def attention_of(arguments: AlignmentArguments) -> dict[str, Any]:
    """Argument of `from_pretrained` for the code of the attention; `sdpa` is the default of models that have it."""
    eager = arguments.attn_implementation == "eager"
    return {"attn_implementation": "eager"} if eager else {}


def _image_tower(arguments: AlignmentArguments) -> tuple[PreTrainedModel, Any, str]:
    spec = arguments.image_model
    if spec.startswith(NEW):
        width, layers, heads = SIZES[_size(spec)]
        side = arguments.image_size or _NEW_IMAGE_SIZE[_size(spec)]
        patch = 16 if side >= _NEW_IMAGE_SIZE["base"] else 8
        if side % patch:
            raise ValueError(f"'{spec}' takes images of a multiple of {patch} pixels; got `image_size` {side}.")
        config = ViTConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            image_size=side,
            patch_size=patch,
            layer_norm_eps=1e-6,  # timm's
        )
        normal = (BIOSCAN_MEAN, BIOSCAN_STD) if arguments.normalise_images else None
        return _new(ViTModel, config, arguments, add_pooling_layer=False), _image_processor(side, normal), "cls"
    source = _find(spec)
    model = _load(source, arguments)
    # A masked autoencoder would hide most of each image here, too.
    if hasattr(model.config, "mask_ratio"):
        model.config.mask_ratio = 0.0
    if hasattr(model, "get_image_features"):
        model = model.vision_model
        pooling = "pooler"
    elif getattr(model, "pooler", None) is not None and any(True for _ in model.pooler.parameters()):
        # Behind a layer that the training of most models does not train, and a parameter without gradient here.
        model.pooler, pooling = None, "cls"
    else:
        pooling = "cls" if any(name.endswith("cls_token") for name, _ in model.named_parameters()) else "pooler"
    if model.main_input_name != "pixel_values" or not hasattr(model.config, "hidden_size"):
        raise ValueError(
            f"'{spec}' cannot be the tower for images: it is a {type(model).__name__}. Take a vision transformer, such "
            "as 'google/vit-base-patch16-224'."
        )
    file = source.file("preprocessor_config.json")
    own = read_preprocessing(read_json(file) if file else None, model.config, source=spec)
    side = arguments.image_size or own.size
    if side != getattr(model.config, "image_size", side):
        raise ValueError(f"'{spec}' takes images of {model.config.image_size} pixels; got `image_size` {side}.")
    return model, _image_processor(side, (own.mean, own.std) if arguments.normalise_images else None), pooling


def _image_processor(side: int, normal: tuple[Sequence[float], Sequence[float]] | None) -> Any:
    mean, std = normal or ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return ViTImageProcessorPil(
        size={"shortest_edge": round(side * 8 / 7)},  # 256 before a crop of 224, as CLIBD
        crop_size={"height": side, "width": side},
        do_center_crop=True,
        do_normalize=normal is not None,
        image_mean=list(mean),
        image_std=list(std),
    )


def _dna_tower(arguments: AlignmentArguments) -> PreTrainedModel:
    spec = arguments.dna_model
    if spec.startswith(NEW):
        width, layers, heads = _TEXT_SIZES[_size(spec)]
        config = BarcodeBertConfig(
            kmer_size=_KMER_SIZE,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        return _new(BarcodeBertModel, config, arguments)
    source = _find(spec)
    if source.config.get("model_type") != BarcodeBertConfig.model_type:
        raise ValueError(
            f"The tower for DNA must be a BarcodeBERT; '{spec}' is of the type {source.config.get('model_type')!r}. A "
            "checkpoint of the reference code is converted first: `bioscan convert barcodebert`."
        )
    return load_weights(BarcodeBertModel, source, heads=False, **attention_of(arguments))


def _text_tower(arguments: AlignmentArguments, captions: Iterable[str] | None) -> tuple[PreTrainedModel, Any]:
    spec, cut = arguments.text_model, arguments.max_text_tokens
    if spec.startswith(NEW):
        if captions is None:
            raise ValueError(f"`text_model='{spec}'` needs all captions before the first step: not with `streaming`.")
        tokenizer: Any = word_tokenizer(captions, max_length=cut)
        width, layers, heads = _TEXT_SIZES[_size(spec)]
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        return _new(BertModel, config, arguments, add_pooling_layer=False), tokenizer
    source = _find(spec)
    model = _load(source, arguments)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    reads_text = model.main_input_name == "input_ids" and model.config.model_type != BarcodeBertConfig.model_type
    if not reads_text or model.config.is_encoder_decoder:
        raise ValueError(
            f"'{spec}' cannot be the tower for text: it is a {type(model).__name__}. Take a text encoder, such as "
            "'prajjwal1/bert-small'."
        )
    if cut > (most := getattr(model.config, "max_position_embeddings", cut)):
        raise ValueError(f"'{spec}' takes texts of at most {most} tokens; got `max_text_tokens` {cut}.")
    tokenizer = AutoTokenizer.from_pretrained(
        source.place, revision=source.commit or "main", model_max_length=cut, trust_remote_code=False
    )
    return model, tokenizer


def word_tokenizer(captions: Iterable[str], *, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the words in some texts, for new towers; words that it has not seen are all one token.

    Args:
        captions: The texts.
        max_length: Tokens of a text, with `truncation=True`.
    """
    split = pre_tokenizers.BertPreTokenizer()
    words = {word.lower() for caption in set(captions) for word, _ in split.pre_tokenize_str(caption)}
    vocabulary = {word: i for i, word in enumerate([*_SPECIAL, *sorted(words)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def _new(model_class: Any, config: Any, arguments: AlignmentArguments, **options: Any) -> PreTrainedModel:
    model: PreTrainedModel = model_class._from_config(config, **attention_of(arguments), **options)
    return model


def _load(source: ModelFiles, arguments: AlignmentArguments) -> Any:
    """A pretrained tower as it was saved, which may have layers that are not needed here."""
    if source.config.get("model_type") == ClibdConfig.model_type:
        raise ValueError(f"'{source.place}' is a CLIBD, not one of its towers; go on with the whole by `model`.")
    return load_weights(AutoModel, source, heads=True, unused=("pooler.",), **attention_of(arguments))


def _find(spec: str) -> ModelFiles:
    folder = Path(find_packaged(spec)).expanduser()
    return find_model(spec, folder, None, expected=_EXPECTED, ownerless=True)  # as texts' bert-base-uncased


def _size(spec: str) -> str:
    name = spec.removeprefix(NEW)
    if name not in SIZES:
        raise ValueError(f"'{spec}' is no new tower; there are {', '.join(NEW + size for size in SIZES)}.")
    return name
