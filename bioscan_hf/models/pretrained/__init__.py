"""The models that come with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

DEFAULT_ENCODER = "barcodebert-small"
"""Name of the barcode encoder that is used where no other is named; its card is its README.md."""
SMALL_CLIBD = "clibd-small"
"""Name of the CLIBD, which was trained on simulated specimens: for trying things out."""
PACKAGED = (DEFAULT_ENCODER, SMALL_CLIBD)


def packaged_model(name: str = DEFAULT_ENCODER) -> Path:
    """Folder of a model that comes with the package, which `AutoModel.from_pretrained` loads.

    Args:
        name: One of `PACKAGED`.

    Raises:
        ValueError: If there is none of this name.

    >>> packaged_model("clibd-small").name
    'clibd-small'
    """
    if name not in PACKAGED:
        raise ValueError(f"No model '{name}' comes with the package; there are {', '.join(PACKAGED)}.")
    return Path(str(files("bioscan_hf") / "models" / "pretrained" / name))


def find_packaged(model: str) -> str:
    """The folder of a packaged model for its name, unless there is a folder of that name; else what is given."""
    return str(packaged_model(model)) if model in PACKAGED and not Path(model).exists() else model
