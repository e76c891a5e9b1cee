"""What all cards say: limits, licence, how to cite, and what others published."""

from __future__ import annotations

from bioscan_hf.data.builder import CITATION
from bioscan_hf.evaluation.benchmarks.paper import PUBLISHED, Published

LANGUAGE = "en"
"""Of cards, and of the names of ranks; names of taxa are Latin."""

NOT_REGULATORY = (
    "Not for regulatory identification (quarantine, food, forensics) without a taxonomist who examines the specimen."
)
LABELS = (
    "Not all specimens have labels, and labels may be wrong: a wrong one is learnt, and counted as right. "
    "In BIOSCAN-5M 9 % of the specimens have a species; some names are placeholders."
)
PLACES = (
    "Specimens come from where they were collected, which is no even sample of the world (of BIOSCAN-5M 63 % from "
    "Costa Rica, 71 % flies): other places and groups are known less well."
)
SEEN_ONLY = "Only species of the training have names: a species that was not in it gets the name of another one."
KEYS_ONLY = (
    "A nearest neighbour can only have a name that is among the specimens compared with: a species that is not there "
    "gets the name of another one."
)

_ENTRIES = {
    "BIOSCAN-5M": CITATION,
    "BarcodeBERT": """@article{millanarias2023barcodebert,
  title   = {{BarcodeBERT}: Transformers for Biodiversity Analysis},
  author  = {Millan Arias, Pablo and Sadjadi, Niousha and Safari, Monireh and Gong, ZeMing and Wang, Austin T.
             and Lowe, Scott C. and Haurum, Joakim Bruslund and Zarubiieva, Iuliia and Steinke, Dirk
             and Kari, Lila and Chang, Angel X. and Taylor, Graham W.},
  journal = {arXiv preprint arXiv:2311.02401},
  year    = {2023}
}""",
    "BarcodeMAE": """@article{safari2025barcodemae,
  title   = {Enhancing {DNA} Foundation Models to Address Masking Inefficiencies},
  author  = {Safari, Monireh and Millan Arias, Pablo and Lowe, Scott C. and Kari, Lila and Chang, Angel X.
             and Taylor, Graham W.},
  journal = {arXiv preprint arXiv:2502.18405},
  year    = {2025}
}""",
    "CLIBD": """@inproceedings{gong2025clibd,
  title     = {{CLIBD}: Bridging Vision and Genomics for Biodiversity Monitoring at Scale},
  author    = {Gong, ZeMing and Wang, Austin T. and Huo, Xiaoliang and Haurum, Joakim Bruslund
               and Lowe, Scott C. and Taylor, Graham W. and Chang, Angel X.},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  note      = {arXiv:2405.17537}
}""",
}


def bullets(*lines: str) -> str:
    """Sentences as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def bibtex(*names: str) -> str:
    """Entries of these works, with an empty line between.

    Args:
        *names: Of `BIOSCAN-5M`, `BarcodeBERT`, `BarcodeMAE` and `CLIBD`.
    """
    return "\n\n".join(_ENTRIES[name].strip() for name in names)


def data_licence(dataset: str, credit: str | None, *, simulated: bool) -> str:
    """Say under which licence the data of a training are.

    Args:
        dataset: Their name.
        credit: What whoever trained says of them.
        simulated: Whether they are the embedded sample.
    """
    if credit:
        return f"The data, {dataset}: {credit.rstrip('.')}."
    if simulated:
        return "The simulated specimens are part of the package and have the same licence."
    if dataset.startswith("bioscan-ml/BIOSCAN-5M"):
        return (
            f"The data, {dataset}, are under CC BY 3.0: copyright 2021 CBG Photography Group, Centre for Biodiversity "
            "Genomics; photographer: CBG Robotic Imager."
        )
    return f"The licence of the data, {dataset}, is that of their source; ask there before you publish."


def published_results(model: str, contains: str = "") -> list[tuple[str, str, str]]:
    """What others published of a kind of model, on BIOSCAN-5M.

    Args:
        model: As the source calls it.
        contains: Part of the question.

    Returns:
        Question and metric, per cent, and where it stands; without what we computed from it.
    """
    found: list[Published] = [p for p in PUBLISHED if p.model == model and contains in p.benchmark]
    return [
        (f"{p.benchmark}, {p.metric.replace('_', ' ')}", f"{100 * p.value:.1f}", p.source.partition(" (harmonic")[0])
        for p in found
        if not p.benchmark.endswith("harmonic mean")
    ]
