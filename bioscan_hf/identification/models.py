"""Models of a library: by name when it is built, and the very same ones when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from bioscan_hf.evaluation.encoders.base import BarcodeEncoder, Encoder
from bioscan_hf.evaluation.encoders.clibd import load_clibd
from bioscan_hf.evaluation.encoders.loading import load_encoder
from bioscan_hf.evaluation.encoders.model_files import read_json
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.pretrained import find_packaged

ALIGNED = "aligned"
"""Names the library's own model: aligned letters, weighed by what varies within its genera."""


class LibraryModel(NamedTuple):
    """What a library compares with.

    Attributes:
        name: As it was given, of a folder its name.
        revision: Digest or commit of the weights; None if it has none.
        encoder: Makes vectors of barcodes; None for the library's own metric.
        towers: Of a CLIBD, by modality; None if images are not compared.
        folder: Where it lies, if that is no place that others have, too.
    """

    name: str = ALIGNED
    revision: str | None = None
    encoder: BarcodeEncoder | None = None
    towers: Mapping[str, Encoder] | None = None
    folder: Path | None = None


def load_model(spec: str, *, device: str | None = None, revision: str | None = None) -> LibraryModel:
    """Load the model of a library.

    Args:
        spec: `aligned`; a CLIBD, for images, beside which barcodes are compared by `aligned`; or an encoder of barcodes
            (see `load_encoder`).
        device: Where it computes.
        revision: Branch, tag or commit on the Hub.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If there is no such repository, or the Hub does not answer.
        ValueError: If it is no model of barcodes or images, or a CLIBD without tower for images.
    """
    if spec == ALIGNED:
        return LibraryModel()
    path = Path(find_packaged(spec)).expanduser()
    folder = path if path.is_dir() and str(path) == str(Path(spec).expanduser()) else None
    name = folder.resolve().name if folder else spec
    if _is_clibd(spec, path, revision):
        towers = load_clibd(spec, device=device, revision=revision)
        if "image" not in towers:
            raise ValueError(f"'{spec}' is a CLIBD without tower for images, which a library needs it for.")
        return LibraryModel(name, _revision(towers), None, towers, folder)
    encoder = load_encoder(spec, device=device, revision=revision)
    if not isinstance(encoder, BarcodeEncoder):
        raise ValueError(
            f"'{spec}' computes nothing for new barcodes; a library needs '{ALIGNED}', a model of barcodes, or a CLIBD."
        )
    return LibraryModel(name, encoder.revision, encoder, None, folder)


def _is_clibd(spec: str, path: Path, revision: str | None) -> bool:
    config = path / "config.json"
    if not path.exists():
        if "/" not in spec:
            return False
        try:
            config = Path(hf_hub_download(spec, "config.json", revision=revision))
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError):
            return False  # `load_encoder` says what is wrong
    return config.is_file() and read_json(config).get("model_type") == ClibdConfig.model_type


def _revision(towers: Mapping[str, Encoder]) -> str | None:
    return next(iter(towers.values())).revision
