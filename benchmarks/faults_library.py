"""`bioscan library build` under faults: a new library, or one in the place of an older one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from faults_data import made_specimens, write_table
from faults_harness import Content, Refused, Scenario

from bioscan_hf import Library, load_specimens
from bioscan_hf.data.features import COLUMN_NAMES

_SPLITS = ("train", "train", "train", "val")
_LETTERS = 120


class LibraryBuild(Scenario):
    """Some made specimens; every second trial begins with a library of fewer of them."""

    name = "library build"
    dashes: Mapping[str, str] = {
        "hub": "it reads models and specimens from the Hub before it writes; `push` has the errors of reading"
    }

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        rows = made_specimens(48, _LETTERS, _SPLITS)
        self.table = write_table(inputs / "table.csv", rows)
        self.old = inputs / "old"
        Library.build(load_specimens(write_table(inputs / "fewer.csv", rows[:30]))).save(self.old)
        self._trials = 0

    def begin(self, output: Path) -> None:
        """Put the older library there, in every second trial."""
        self._trials += 1
        if self._trials % 2 and not output.exists():
            shutil.copytree(self.old, output)

    def words(self, output: Path, *, again: bool = False) -> list[str]:
        """The same the second time."""
        return ["library", "build", str(self.table), "--output", str(output)]

    def read(self, output: Path) -> Content | None:
        """All that identification uses."""
        if not output.exists():
            return None
        try:
            library = Library.load(output)
        except (OSError, ValueError) as error:
            raise Refused(str(error)) from error
        columns = library.columns(COLUMN_NAMES)
        values = {
            "letters": library.letters.tobytes(),
            "vectors": library.vectors.numpy().tobytes(),
            "labels": library.keys.labels.tobytes(),
            "hashes": library.keys.hashes.tobytes(),
            "profile": library.barcodes.profile.log_odds.tobytes(),
            "taxa": repr(library.taxa),
            "calibration": repr([(name, fitted.to_json()) for name, fitted in library.calibration.items()]),
            "specimens": repr(columns.to_pylist()),
            "info": repr(sorted(library.info.items())),
        }
        return Content(tuple(columns["processid"].to_pylist()), {name: hash(value) for name, value in values.items()})

    def earlier(self, output: Path) -> list[Content]:
        """The older library."""
        old = self.read(self.old)
        assert old is not None
        return [old]
