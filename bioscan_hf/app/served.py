"""What the app serves: a library, how it names specimens, and their photographs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub import constants

from bioscan_hf import __version__
from bioscan_hf.app.pictures import Pictures
from bioscan_hf.data.anywhere import SAMPLE
from bioscan_hf.data.files import build_once, digest
from bioscan_hf.data.selection import select_split
from bioscan_hf.data.specimens import describe_source, load_specimens
from bioscan_hf.identification.identify import MAX_ERROR, Identifier
from bioscan_hf.identification.library import Library, Report
from bioscan_hf.identification.library_files import FORMAT
from bioscan_hf.identification.models import load_image_model
from bioscan_hf.models.pretrained import SMALL_CLIBD, packaged_model

NEAREST = 5
"""Specimens that are shown with each query."""
_CALIBRATION = "val+val_unseen+other_heldout"
# Text that many specimens share is kept once.
_SHARED = ("country", "province_state")


@dataclass(frozen=True)
class Served:
    """A library that is served.

    Attributes:
        identifier: Names specimens by it; tells `NEAREST` of its specimens with each.
        name: Of the library: its folder, its repository, or `sample`.
        simulated: Whether its specimens are the simulated ones, whose names are invented.
        pictures: Photographs of its specimens, as far as there are some.
    """

    identifier: Identifier
    name: str
    simulated: bool
    pictures: Pictures

    @property
    def library(self) -> Library:
        """The library itself."""
        return self.identifier.library

    @cached_property
    def facts(self) -> pa.Table:
        """What the pages tell of each specimen of the library: process id, BIN and place.

        It is held: to look one specimen up on the disk takes as long as to read them all.
        """
        table = self.library.columns(["processid", "dna_bin", *_SHARED, "coord-lat", "coord-lon"])
        for name in _SHARED:
            table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
        return table

    def row_of(self, processid: str) -> int:
        """Row of a specimen of the library; -1 if there is none."""
        return int(pc.index(self.facts["processid"], processid).as_py())

    def id_of(self, row: int) -> str:
        """Process id of a specimen."""
        return str(self.facts["processid"][row].as_py())

    @classmethod
    def open(
        cls,
        library: str | None = None,
        *,
        images: str | None = None,
        device: str | None = None,
        max_error: float = MAX_ERROR,
        report: Report | None = None,
    ) -> Served:
        """Load a library, or make that of the embedded sample, which is kept in the cache.

        Args:
            library: Folder, or repository on the Hub; None for the sample's.
            images: Where the photographs of its specimens are, see `Pictures.open`; by default those of the sample for
                a library of the sample, and none for others.
            device: Where its models compute, if it has some.
            max_error: Share of the names at the safe rank that may be wrong.
            report: Told of the progress.

        Raises:
            FileNotFoundError: If there is no such folder.
            OSError: If there is no such repository, the Hub does not answer, or the cache cannot be written.
            ValueError: If it is no library, there are no images where they should be, or `max_error` is out of range.
        """
        source = str(_sample_library(device, report)) if library is None else library
        identifier = Identifier.from_pretrained(source, max_error=max_error, nearest=NEAREST, device=device)
        simulated = identifier.library.info.get("source") == describe_source()[0]
        name = SAMPLE if library is None else _name(library)
        where = images or (SAMPLE if simulated else None)
        return cls(identifier, name, simulated, Pictures.open(where) if where else Pictures())


def _name(library: str) -> str:
    folder = Path(library).expanduser()
    return folder.resolve().name if folder.exists() else library


def _sample_library(device: str | None, report: Report | None) -> Path:
    """Folder of the library of the embedded sample; it is made once, in some seconds."""
    name, revision = describe_source()
    model = digest(packaged_model(SMALL_CLIBD) / "model.safetensors")
    depends_on = json.dumps([__version__, FORMAT, revision, model])
    folder = Path(constants.HF_HOME) / "bioscan_hf" / "libraries"
    folder /= f"sample-{hashlib.sha256(depends_on.encode()).hexdigest()[:16]}"

    def build(partial: Path) -> None:
        specimens = load_specimens(image=True)
        info = {"source": name, "revision": revision, "split": "train", "command": "bioscan app"}
        library = Library.build(
            select_split(specimens, "train"),
            calibration=select_split(specimens, _CALIBRATION),
            image_model=load_image_model(SMALL_CLIBD, device=device),
            info=info,
            report=report,
        )
        library.save(partial)

    build_once(folder, build)
    return folder
