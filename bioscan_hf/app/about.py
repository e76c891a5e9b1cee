"""The tab that says what the answers mean, what is served, and how programs ask."""

from __future__ import annotations

from html import escape

import gradio as gr

from bioscan_hf import __version__
from bioscan_hf.app.served import Served

_MEANING = """
### What the answer means

- **Probability**: that the name at this rank is right, for queries like those that the library was calibrated on.
- **Safe to** a rank: the deepest rank at which names told like this are wrong in at most the share that you set. Finer
  names are guesses. It is about the names of all queries together, not about each.
- **New**: whether the species is one that the library does not have, and with which probability. "New to the library"
  need not be new to science.
- **Similarity** is how the library ranks its specimens; **identity** is the share of equal letters where both barcodes
  have one. Photographs have no identity.
- A barcode and a photograph together are named twice, each for itself, so that you see whether they agree.

### What it is not for

Names depend on the labels of the library, of which some are wrong, and on where its specimens were collected. Do not
use them for regulatory identification (quarantine, food, forensics) without a taxonomist.

### For programs

```python
from gradio_client import Client, handle_file

client = Client("http://127.0.0.1:7860")  # the address of this page
rows = client.predict("AACATTATATTTTATTTTTGGAATTTGAGC...", None, None, 1.0, api_name="/identify")
print(rows[0]["species"], rows[0]["species_probability"], rows[0]["safe_rank"], rows[0]["novel"])
```

The second argument is a FASTA or CSV file, `handle_file("my.fasta")`, the third a list of photographs, the fourth the
share of safe names that may be wrong, in per cent. For many barcodes, `bioscan identify` on your own computer is faster
and has no limit.
"""


def about_tab(served: Served) -> None:
    """Lay the tab out, inside of a `gr.Blocks`.

    Args:
        served: What is served.
    """
    gr.Markdown(_MEANING)
    rows = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in _facts(served))
    gr.Markdown("### What is served")
    gr.HTML(f'<table class="bs-facts">{rows}</table>', apply_default_css=False)


def _facts(served: Served) -> list[tuple[str, str]]:
    library, info = served.library, served.library.info
    calibrated = [
        f"{'photographs' if modality == 'image' else 'barcodes'} (on {len(calibration.processids):,} specimens)"
        for modality, calibration in library.calibration.items()
    ]
    return [
        ("library", served.name),
        ("specimens", f"{len(library.keys.of_specimen):,}"),
        ("taxa", ", ".join(f"{rank} {len(names):,}" for rank, names in library.taxa.items() if names)),
        ("model", str(info.get("model", "unknown"))),
        (
            "photographs",
            "not compared: there is no model for them" if library.images is None else "compared",
        ),
        ("calibrated for", ", ".join(calibrated) or "nothing: there were no specimens to hold out"),
        ("source", f"{info.get('source', 'unknown')}, revision {info.get('revision', 'unknown')}"),
        ("version", f"bioscan_hf {__version__}"),
    ]
