"""Models of a library, by name.

What loads them is imported when there is one: transformers takes seconds, and most libraries have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Encoder
from bioscan_hf.models.pretrained import find_packaged

ALIGNED = "aligned"
"""Names the library's own model: aligned letters, weighed by what varies within its genera."""


class LibraryModel(NamedTuple):
    """A model of a library.

    Attributes:
        name: As it was given, of a folder its name.
        revision: Digest or commit of the weights; None if it has none.
        encoder: Makes vectors of barcodes; None for the library's own metric, and for a CLIBD.
        towers: Of a CLIBD, by modality; None for others.
        folder: Where it lies, if that is no place that others have, too.
    """

    name: str = ALIGNED
    revision: str | None = None
    encoder: BarcodeEncoder | None = None
    towers: Mapping[str, Encoder] | None = None
    folder: Path | None = None


class LibraryModels(NamedTuple):
    """What a library compares with.

    Attributes:
        barcodes: The library's own metric, or an encoder of barcodes.
        images: A CLIBD; None if images are not compared.
    """

    barcodes: LibraryModel
    images: LibraryModel | None = None

    @property
    def towers(self) -> Mapping[str, Encoder] | None:
        """Those for images."""
        return self.images and self.images.towers

    @property
    def info(self) -> dict[str, str | None]:
        """Names and revisions, for the record."""
        found = {"model": self.barcodes.name, "model_revision": self.barcodes.revision}
        if self.images is not None:
            found |= {"image_model": self.images.name, "image_model_revision": self.images.revision}
        return found

    @property
    def folders(self) -> dict[str, Path]:
        """Where those lie that are saved with the library, by the names in `info`."""
        named = {"model": self.barcodes, "image_model": self.images}
        return {name: model.folder for name, model in named.items() if model is not None and model.folder is not None}


def load_models(
    model: LibraryModel | str | Path,
    image_model: LibraryModel | str | Path | None = None,
    *,
    device: str | None = None,
) -> LibraryModels:
    """Load the models of a library.

    Args:
        model: For barcodes, see `load_model`; or a CLIBD, for images, beside which barcodes are compared by `aligned`.
        image_model: A CLIBD, for images.
        device: Where they compute.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If there are two models for images, or one is none that is expected.
    """
    barcodes = model if isinstance(model, LibraryModel) else load_model(str(model), device=device)
    if barcodes.towers is not None and image_model is not None:
        raise ValueError(
            f"'{barcodes.name}' is a CLIBD, which is for images, and so is the image model; give one of them, and for "
            f"barcodes '{ALIGNED}' or a model of barcodes."
        )
    images = load_image_model(str(image_model), device=device) if isinstance(image_model, str | Path) else image_model
    if images is not None and images.towers is None:
        raise ValueError(f"The image model must be a CLIBD; '{images.name}' is a model of barcodes.")
    return LibraryModels(barcodes, images) if barcodes.towers is None else LibraryModels(LibraryModel(), barcodes)


def load_model(spec: str, *, device: str | None = None, revision: str | None = None) -> LibraryModel:
    """Load a model of a library.

    Args:
        spec: `aligned`, an encoder of barcodes (see `load_encoder`), or a CLIBD.
        device: Where it computes.
        revision: Branch, tag or commit on the Hub.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If it is no model of barcodes or images, or a CLIBD without tower for images.
    """
    if spec == ALIGNED:
        return LibraryModel()
    if _is_clibd(spec, revision):
        return load_image_model(spec, device=device, revision=revision)
    from bioscan_hf.evaluation.encoders.loading import load_encoder

    encoder = load_encoder(spec, device=device, revision=revision)
    if not isinstance(encoder, BarcodeEncoder):
        raise ValueError(
            f"'{spec}' computes nothing for new barcodes; a library needs '{ALIGNED}', a model of barcodes, or a CLIBD."
        )
    folder = _own_folder(spec)
    return LibraryModel(folder.resolve().name if folder else spec, encoder.revision, encoder, None, folder)


def load_image_model(spec: str, *, device: str | None = None, revision: str | None = None) -> LibraryModel:
    """Load a model for the images of a library.

    Args:
        spec: A CLIBD: `clibd-small`, which comes with the package, or a folder or repository.
        device: Where it computes.
        revision: Branch, tag or commit on the Hub.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If it is no CLIBD, or one without tower for images.
    """
    from bioscan_hf.evaluation.encoders.clibd import load_clibd

    towers = load_clibd(spec, device=device, revision=revision)
    if "image" not in towers:
        raise ValueError(f"'{spec}' is a CLIBD without tower for images, which a library needs it for.")
    folder = _own_folder(spec)
    return LibraryModel(folder.resolve().name if folder else spec, towers["image"].revision, None, towers, folder)


def _own_folder(spec: str) -> Path | None:
    """The folder that was given; None if that is no folder, or one of this package."""
    folder = Path(spec).expanduser()
    return folder if folder.is_dir() else None


def _is_clibd(spec: str, revision: str | None) -> bool:
    from bioscan_hf.evaluation.encoders.model_files import read_json
    from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig

    path = Path(find_packaged(spec)).expanduser()
    config = path / "config.json"
    if not path.exists():
        if "/" not in spec:
            return False
        try:
            config = Path(hf_hub_download(spec, "config.json", revision=revision))
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError):
            return False  # `load_encoder` says what is wrong
    return config.is_file() and read_json(config).get("model_type") == ClibdConfig.model_type
