"""The models that come with the package."""

from importlib.resources import files
from pathlib import Path

DEFAULT_ENCODER = "barcodebert-small"
"""Name of the barcode encoder that is used where no other is named; its card is its README.md."""


def packaged_encoder() -> Path:
    """Folder of that encoder, which `AutoModel.from_pretrained` loads."""
    return Path(str(files("bioscan_hf") / "models" / "pretrained" / DEFAULT_ENCODER))


def find_packaged(model: str) -> str:
    """The folder of the packaged encoder for its name, unless there is a folder of that name; else what is given."""
    return str(packaged_encoder()) if model == DEFAULT_ENCODER and not Path(model).exists() else model
