"""Low-rank adapters (LoRA) by peft."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import file_exists
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from bioscan_hf.hub.eval_results import is_hub_id
from bioscan_hf.hub.push import save_model
from bioscan_hf.models.bounded import bounded, most_numbers
from bioscan_hf.models.pretrained import PACKAGED, find_packaged, packaged_model

if TYPE_CHECKING:
    from peft import PeftModel

TARGET_MODULES: dict[str, tuple[str, ...]] = {
    # Query and value, as CLIBD adapts its towers (Gong et al., ICLR 2025).
    "barcodebert": ("query", "value"),
    "bert": ("query", "value"),
    "esm": ("query", "value"),
    "modernbert": ("Wqkv",),
    "vit": ("q_proj", "v_proj"),
}
"""Layers that get an adapter, per type of model."""


def add_lora(model: PreTrainedModel, *, r: int = 4, alpha: float | None = None, dropout: float = 0.0) -> PeftModel:
    """Freeze a model and give it adapters; the head of a classifier stays as it is, and is trained whole.

    Args:
        model: Of a type in `TARGET_MODULES`; without attention layers it adapts the vectors of its tokens.
        r: Rank of the adapters; by default CLIBD's, whose adapters are not scaled.
        alpha: Their output is scaled by alpha / r; by default alpha is r.
        dropout: Chance of dropping an input of an adapter.

    Raises:
        ImportError: If peft is not installed.
        ValueError: If the layers of such a model are not known.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise ImportError("LoRA needs peft: `pip install 'bioscan-hf[lora]'`.") from error
    targets = TARGET_MODULES.get(model.config.model_type)
    if targets is None:
        raise ValueError(
            f"Which layers of a {model.config.model_type!r} get an adapter is not known; known are "
            f"{sorted(TARGET_MODULES)}. Use `peft.get_peft_model` with `target_modules` of your own."
        )
    if not getattr(model.config, "num_hidden_layers", 1):
        targets = ("word_embeddings",)  # no attention, as in barcodebert-small: the vectors of the k-mers adapt
    classifier = type(model).__name__.endswith("Classification")
    config = LoraConfig(
        r=r,
        lora_alpha=r if alpha is None else alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=dropout,
        target_modules=list(targets),
        task_type=TaskType.SEQ_CLS if classifier else TaskType.FEATURE_EXTRACTION,
    )
    with quiet_loading():
        adapted: PeftModel = get_peft_model(model, config)
    for name in PACKAGED:
        if model.name_or_path == str(packaged_model(name)):
            # Where it lies on this machine means nothing on others.
            adapted.peft_config["default"].base_model_name_or_path = name
    return adapted


def align_lora(
    model: PreTrainedModel,
    towers: Sequence[str],
    *,
    r: int = 4,
    alpha: float | None = None,
    dropout: float = 0.0,
) -> PeftModel:
    """Freeze a CLIBD and give its towers adapters on query and value.

    Its projections and its temperature are trained whole, as in CLIBD, unless they were frozen before.

    Args:
        model: A `ClibdModel`.
        towers: Modalities of the towers that get adapters.
        r: As in `add_lora`.
        alpha: As in `add_lora`.
        dropout: As in `add_lora`.

    Raises:
        ImportError: If peft is not installed.
        ValueError: If no layer of these towers is known.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError("LoRA needs peft: `pip install 'bioscan-hf[lora]'`.") from error
    names = "|".join(f"{'vision' if tower == 'image' else tower}_model" for tower in towers)
    targets = rf"({names})\..*\.(query|value|q_proj|v_proj)"
    if not any(re.fullmatch(targets, name) for name, _ in model.named_modules()):
        raise ValueError(
            f"No layer of the towers for {', '.join(towers)} is called query, value, q_proj or v_proj, which adapters "
            "are for; train them whole, or take other towers."
        )
    heads = [
        name
        for name, child in model.named_children()
        if not name.endswith("_model") and any(parameter.requires_grad for parameter in child.parameters())
    ]
    config = LoraConfig(
        r=r,
        lora_alpha=r if alpha is None else alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=dropout,
        target_modules=targets,
        modules_to_save=heads,
    )
    with quiet_loading():
        adapted: PeftModel = get_peft_model(model, config)
    return adapted


def four_bits() -> Any:
    """How transformers is to quantise the frozen weights of a classifier: QLoRA's NF4 (Dettmers et al. 2023).

    Raises:
        ImportError: If bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise ImportError("`quantization='nf4'` needs bitsandbytes: `pip install 'bioscan-hf[qlora]'`.")
    # The classifier is new, and trained whole.
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["score"])


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model."""
    return (folder / "adapter_config.json").is_file()


def merge_adapter(folder: Path) -> None:
    """Turn a folder with the adapter of a classifier into one with the whole model."""
    merged = load_classifier(folder).merge_and_unload()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for path in folder.glob("adapter_*"):
        path.unlink()
    save_model(folder, merged, tokenizer)


def load_classifier(folder: str | Path, **options: Any) -> Any:
    """Load a classifier that was trained here, whole or as an adapter with its base model.

    Args:
        folder: Folder, repository on the Hub, or `barcodebert-small`, which comes with the package.
        **options: For `from_pretrained`, such as `revision` and `token`.

    Returns:
        A BarcodeBERT classifier of one rank or of several, or a `PeftModel` around one.

    Raises:
        OSError: If there is none, or it cannot be loaded.
    """
    if not Path(find_packaged(str(folder))).exists() and not is_hub_id(str(folder)):
        raise FileNotFoundError(
            f"No such folder: '{folder}'; expected that of a classifier, or a repository on the Hub (name/repository)."
        )
    folder = find_packaged(str(folder))
    adapter = is_adapter(Path(folder)) if Path(folder).exists() else _has_adapter(folder, **options)
    config = AutoConfig.from_pretrained(folder, **options)
    if not adapter:
        with bounded(most_numbers()):
            return AutoModelForSequenceClassification.from_pretrained(folder, config=config, **options)
    from peft import PeftConfig, PeftModel

    base = find_packaged(str(PeftConfig.from_pretrained(folder, **options).base_model_name_or_path))
    with quiet_loading(), bounded(most_numbers()):
        # The base model's own configuration has other labels than the adapter's.
        whole = AutoModelForSequenceClassification.from_pretrained(
            base, config=config, ignore_mismatched_sizes=True, token=options.get("token")
        )
        return PeftModel.from_pretrained(whole, folder, **options)


def _has_adapter(repo_id: str, **options: Any) -> bool:
    return bool(file_exists(repo_id, "adapter_config.json", **options))


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Do not let transformers report that a new classifier is new, nor warn of what peft does."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 for the old name of a property.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            yield
    finally:
        logging.set_verbosity(before)
