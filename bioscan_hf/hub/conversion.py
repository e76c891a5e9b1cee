"""Checkpoints of the reference code to model folders, with tokenizer and card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, hf_hub_download, snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError
from transformers import PreTrainedConfig

from bioscan_hf import __version__
from bioscan_hf.data.files import staged
from bioscan_hf.hub.card_texts import (
    KEYS_ONLY,
    LABELS,
    LANGUAGE,
    NOT_REGULATORY,
    PLACES,
    SEEN_ONLY,
    bibtex,
    bullets,
    published_results,
)
from bioscan_hf.hub.eval_results import is_hub_id
from bioscan_hf.hub.push import save_card, save_model
from bioscan_hf.models.barcodebert.convert_barcodebert import (
    CONFIG_FILE,
    WEIGHT_FILES,
    Conversion,
    convert_barcodebert,
    weights_in,
)
from bioscan_hf.models.barcodebert.modeling_barcodebert import (
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
)
from bioscan_hf.tokenization.kmer import tokenizer_for

_GENERATIONS = {
    1: "generation 1 (workshop paper, 2023)",
    2: "generation 2 (June 2024, release of the BIOSCAN-5M paper)",
    3: "generation 3 (since August 2024)",
}


@dataclass(frozen=True)
class Source:
    """A checkpoint, and what the card says of it.

    Attributes:
        path: File or folder.
        name: Name without any path of this machine: file, folder and file, or repository and commit.
        sha256: Of the file with the weights.
    """

    path: Path
    name: str
    sha256: str


def find_source(source: str) -> Source:
    """Find a checkpoint on the disk, or get it from the Hub.

    Args:
        source: A file or folder; if there is none of that name, a model repository, of which only configuration and
            weights are downloaded.

    Returns:
        Where it lies, its name and its digest.

    Raises:
        OSError: If there is neither, or the Hub does not give it.
        ValueError: If a folder holds no weights.
    """
    path = Path(source)
    if path.is_file():
        return Source(path, path.name, _sha256(path))
    name = path.resolve().name
    if not path.exists():
        path = _download(source)
        name = f"{source}@{path.name[:12]}"
    weights = weights_in(path)
    return Source(path, f"{name}/{weights.name}", _sha256(weights))


def find_file(source: str) -> Source:
    """Find a checkpoint that is one file of many, on the disk or on the Hub.

    Args:
        source: A file; if there is none of that name, `REPO:PATH`, a file in a model repository.

    Returns:
        Where it lies, its name and its digest.

    Raises:
        OSError: If there is neither, or the Hub does not give it.
    """
    path = Path(source)
    if path.is_file():
        return Source(path, path.name, _sha256(path))
    repo_id, _, name = source.partition(":")
    if path.is_dir() or not name:
        raise FileNotFoundError(f"'{source}' is no file; give a file, or REPO:PATH/IN/REPO for one on the Hub.")
    with _hub_gives(source):
        path = Path(hf_hub_download(repo_id, name))
    commit = path.parents[len(PurePosixPath(name).parts) - 1].name
    return Source(path, f"{repo_id}@{commit[:12]}/{name}", _sha256(path))


def convert_to_folder(
    source: Source, folder: Path, *, given: Mapping[str, Any] | None = None, model_id: str = "."
) -> Conversion:
    """Convert a checkpoint of the reference into a folder that loads with and without this package.

    Args:
        source: The checkpoint.
        folder: New or empty folder; it appears whole or not at all.
        given: What the checkpoint does not tell (see `convert_barcodebert`).
        model_id: Repository or folder that the example in the card loads.

    Returns:
        The model, and what was found, assumed and left out.

    Raises:
        FileExistsError: If the folder holds something.
        ValueError: As `convert_barcodebert`.
        OSError: If something cannot be read or written.
    """
    check_is_new(folder)
    conversion = convert_barcodebert(source.path, given)
    card = conversion_card(conversion, source, model_id=model_id)
    with staged(folder) as stage:
        save_model(stage, conversion.model, tokenizer_for(conversion.model.config))
        save_card(stage, card)
    return conversion


def check_is_new(folder: Path) -> None:
    """Refuse to write a model into something that is there.

    Raises:
        FileExistsError: If `folder` is a file, or holds anything but what an interrupted run has left.
    """
    if folder.is_dir() and all(item.name.startswith(".partial-") for item in folder.iterdir()):
        return
    if folder.exists():
        raise FileExistsError(f"'{folder}' is there and not empty; choose a new folder.")


def conversion_card(conversion: Conversion, source: Source, *, model_id: str) -> ModelCard:
    """Write the card of a converted model: what it is, and where each thing that it says comes from.

    Args:
        conversion: The model, and what was found, assumed and left out.
        source: What it was converted from.
        model_id: Repository or folder that the example in the card loads.

    Returns:
        The card.
    """
    model, found = conversion.model, conversion.found
    config = model.config
    family = "BarcodeMAE" if conversion.mae else "BarcodeBERT"
    title = f"{family} {config.kmer_size}-{config.num_attention_heads}-{config.num_hidden_layers}"
    is_classifier = isinstance(model, BarcodeBertForSequenceClassification)
    data = ModelCardData(
        language=LANGUAGE,
        license="mit",
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["biology", "DNA", "DNA barcoding", family, "sentence-transformers", "bioscan_hf"],
        base_model=repository_of(source),
    )
    with as_file(files("bioscan_hf.hub") / "templates" / "converted_barcodebert.md") as template:
        return ModelCard.from_template(
            data,
            template_path=str(template),
            title=title + (", fine-tuned" if is_classifier else ""),
            kind=f"{family} with a classifier," if is_classifier else f"{family},",
            auto_class="AutoModelForSequenceClassification" if is_classifier else "AutoModel",
            classes=config.num_labels if is_classifier else None,
            head=isinstance(model, BarcodeBertForMaskedLM),
            config=config,
            parameters=f"{model.num_parameters():,}",
            pooling=_pooling(config),
            model_id=model_id,
            source=source.name,
            sha256=source.sha256,
            layout=conversion.layout,
            generation=_GENERATIONS[found.generation],
            read={name: (found.fields[name], origin) for name, origin in found.sources.items() if name != "id2label"},
            assumed=found.assumed,
            left_out=conversion.left_out,
            mae=conversion.mae,
            published=published_results(title),
            benchmark="barcode",
            limits=bullets(SEEN_ONLY if is_classifier else KEYS_ONLY, LABELS, PLACES, NOT_REGULATORY),
            citation=bibtex(*(["BarcodeMAE"] if conversion.mae else []), "BarcodeBERT", "BIOSCAN-5M"),
            version=__version__,
        )


def repository_of(source: Source) -> str | None:
    """The repository on the Hub that a checkpoint was downloaded from, if it was."""
    repo_id, at, _ = source.name.partition("@")
    return repo_id if at and is_hub_id(repo_id) else None


def _pooling(config: PreTrainedConfig) -> str:
    texts = {
        "masked_mean": "Its embedding is the mean of the last hidden states of its k-mers.",
        "mean": f"Its embedding is the mean of the last hidden states of all {config.max_tokens} positions, padding "
        "included: the model pads by itself, as the reference did.",
        "cls": "Its embedding is the last hidden state of the token before it.",
    }
    attention = " The model reads padding as if it were k-mers, as it did in training." * config.attend_to_padding
    return texts[config.pooling] + attention


def _download(repo_id: str) -> Path:
    with _hub_gives(repo_id):
        for weights in WEIGHT_FILES:
            folder = Path(snapshot_download(repo_id, allow_patterns=[CONFIG_FILE, weights]))
            if (folder / weights).exists():
                break
    return folder


@contextmanager
def _hub_gives(source: str) -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(f"'{source}' is no file or folder, and the Hub does not give it ({reason})") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
