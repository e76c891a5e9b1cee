"""Libraries to the Hub, with a card."""

from __future__ import annotations

import re
import warnings
from importlib.resources import as_file, files
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from bioscan_hf.data.release import REPOSITORY
from bioscan_hf.data.whole_files import whole_file
from bioscan_hf.hub.card_texts import LANGUAGE, NOT_REGULATORY, bibtex, data_licence
from bioscan_hf.hub.eval_results import is_hub_id
from bioscan_hf.hub.push import check_can_push, push_folder
from bioscan_hf.identification.description import describe_library
from bioscan_hf.identification.library_files import read_manifest

# Models that a former library brought: their files would be taken for parts of those of the new one.
_OF_A_LIBRARY = re.compile(r"(image_)?model/.+")


def push_library(folder: Path, repo_id: str, *, private: bool = False) -> str:
    """Publish a library, so that `Identifier.from_pretrained` and `bioscan identify --library` load it by its name.

    Args:
        folder: What `Library.save` wrote; the card is written into it.
        repo_id: Repository, made if need be.
        private: Whether a new repository is private.

    Returns:
        Address of the commit.

    Raises:
        ValueError: If it is no library, or is not whole.
        OSError: If the Hub refuses or does not answer; the message says how to push again.
    """
    card = library_card(folder, repo_id)
    check_can_push(repo_id)
    with whole_file(folder / "README.md") as file:
        file.write(str(card).encode())
    with warnings.catch_warnings():
        # The client takes the Parquet files for a data set in the wrong place.
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        return push_folder(folder, repo_id, private=private, former=_OF_A_LIBRARY)


def library_card(folder: Path, repo_id: str) -> ModelCard:
    """The card of a library.

    Args:
        folder: The library.
        repo_id: By which it is loaded.
    """
    manifest = read_manifest(folder)
    facts = describe_library(folder, manifest)
    source = str(manifest.get("source", "unknown"))
    simulated = "simulated" in source
    data = ModelCardData(
        language=LANGUAGE,
        license="mit" if simulated else "cc-by-3.0" if source.startswith(REPOSITORY) else "unknown",
        pipeline_tag="feature-extraction",
        datasets=[source] if is_hub_id(source) else None,
        library_name="bioscan_hf",
        tags=["biology", "DNA barcoding", "species identification", "bioscan-library"],
    )
    with as_file(files("bioscan_hf.hub") / "templates" / "library.md") as template:
        return ModelCard.from_template(
            data,
            template_path=str(template),
            title=repo_id.rpartition("/")[2],
            repo_id=repo_id,
            specimens=dict(facts)["specimens"],
            facts=[(name, text.replace("|", "\\|")) for name, text in facts],
            simulated=simulated,
            not_regulatory=NOT_REGULATORY,
            data_licence=data_licence(source, None, simulated=simulated),
            citation=bibtex("BIOSCAN-5M"),
        )
