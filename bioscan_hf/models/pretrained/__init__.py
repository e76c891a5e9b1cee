"""The models that come with the package."""

from importlib.resources import files
from pathlib import Path

DEFAULT_ENCODER = "barcodebert-small"
"""Name of the barcode encoder that is used where no other is named; its card is its README.md."""


def packaged_encoder() -> Path:
    """Folder of that encoder, which `AutoModel.from_pretrained` loads."""
    return Path(str(files("bioscan_hf") / "models" / "pretrained" / DEFAULT_ENCODER))
