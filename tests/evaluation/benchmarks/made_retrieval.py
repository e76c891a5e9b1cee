"""Made encoders and photographs for the tests of retrieval."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from datasets import Dataset
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from bioscan_hf.evaluation.benchmarks.retrieval_pairs import RetrievalModel
from bioscan_hf.evaluation.encoders.base import Report
from tests.training.made_runs import write_table


class ByTaxon:
    """An encoder whose vectors are near where genus and species are the same, whatever the modality."""

    def __init__(self, name: str, *, noise: float = 0.0, revision: str | None = None, dimension: int = 16) -> None:
        self.name, self.revision = name, revision
        self._noise, self._dimension = noise, dimension
        self.asked: list[list[str]] = []

    def embed(self, specimens: Dataset, *, report: Report | None = None) -> NDArray[np.float32]:
        self.asked.append(list(specimens["processid"]))
        columns = (specimens[name] for name in ("processid", "genus", "species"))
        vectors = [
            2 * self._drawn(genus) + self._drawn(species) + self._noise * self._drawn(f"{self.name} {processid}")
            for processid, genus, species in zip(*columns, strict=True)
        ]
        return np.array(vectors, np.float32)

    def _drawn(self, word: str | None) -> NDArray[np.float64]:
        return np.random.default_rng(zlib.crc32(str(word).encode())).normal(size=self._dimension)


def aligned_model(name: str = "aligned", noise: float = 0.0) -> RetrievalModel:
    """A model of three modalities with one revision."""
    encoders = {part: ByTaxon(f"{name} {part}", noise=noise, revision="0123") for part in ("image", "dna", "text")}
    return RetrievalModel(name, encoders)


SPLITS = ("train", "train", "train", "test")
UNSEEN_SPLITS = ("key_unseen", "key_unseen", "key_unseen", "test_unseen")
COLOURS = {
    **{"Aus bus": (220, 30), "Aus cus": (30, 220), "Dus eus": (30, 30)},
    **{"Aus fus": (220, 220), "Aus gus": (120, 30)},
}


def made_rows(count: int = 24, species: int = 3, *, splits: bool = True) -> list[dict[str, str]]:
    """Specimens of some species, of which `Aus cus` is the unseen one; no two have the same barcode."""
    draw = np.random.default_rng(0)
    rows = []
    for i in range(count):
        name = list(COLOURS)[i % species]
        of_species = UNSEEN_SPLITS if name == "Aus cus" else SPLITS
        barcode = "".join(draw.choice(list("ACGT"), size=30)) + ("A", "C", "G", "T", "AC")[i % species] * 30
        taxa = {"order": "Aptera", "genus": name.split()[0], "species": name}
        split = of_species[i // species % 4] if splits else ""
        rows.append({"processid": f"P{i:02d}", "dna_barcode": barcode, **taxa, "split": split})
    return rows


def write_photos(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write a photograph of each specimen, whose colour is about that of its species, and their table."""
    folder.mkdir()
    for row in rows:
        picture = Image.new("RGB", (40, 30), (*COLOURS[row["species"]], 100 + int(row["processid"][1:])))
        picture.save(folder / f"{row['processid']}.png")
    write_table(folder / "metadata.csv", rows)
    return folder


def blank_picture(*_: object, **__: object) -> Figure:
    """In place of pictures that a test does not look at, and that take longer than all else."""
    return plt.figure(figsize=(1, 1))
