"""The plan of a bulk embedding: what it computes, and where its parts lie until the output is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from bioscan_hf import __version__

Dtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class Plan:
    """What a bulk embedding computes; two runs with equal plans write the same bytes.

    Attributes:
        output: File or folder that is written.
        encoder: The encoder's description of itself.
        dimension: D, the entries of an embedding.
        dtype: Type of the entries.
        normalise: Whether embeddings get length 1.
        chunk_size: Distinct barcodes in a chunk.
        specimens: Number of specimens that are embedded.
        barcodes: Number of distinct barcodes among them.
        skipped: Number of specimens that are left out.
        input: Digest of the process ids and barcodes that are embedded, in their order.
        version: Version of this package.
    """

    output: Path
    encoder: dict[str, Any]
    dimension: int
    dtype: Dtype
    normalise: bool
    chunk_size: int
    specimens: int
    barcodes: int
    skipped: int
    input: str
    version: str = __version__

    @property
    def folder(self) -> Path:
        """Hidden folder beside the output that holds the parts."""
        return self.output.with_name(f".{self.output.name}.partial")

    @property
    def path(self) -> Path:
        """The plan as a file, the last of what is written before the work begins."""
        return self.folder / "plan.json"

    @property
    def barcodes_path(self) -> Path:
        """Arrow file of the distinct barcodes, each with the process id of its first specimen; one batch per chunk."""
        return self.folder / "barcodes.arrow"

    @property
    def specimens_path(self) -> Path:
        """Arrow file of the specimens: `processid`, and `barcode`, the number of their distinct barcode."""
        return self.folder / "specimens.arrow"

    @property
    def skipped_path(self) -> Path:
        """Table of the specimens that are left out, until the output is whole."""
        return self.folder / "skipped.csv"

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.barcodes // self.chunk_size)

    def content(self) -> dict[str, Any]:
        """All but the place of the output, as JSON has it."""
        values = {own.name: getattr(self, own.name) for own in fields(self) if own.name != "output"}
        return dict(json.loads(json.dumps(values)))

    @cached_property
    def key(self) -> bytes:
        """By which chunks of this plan differ from those of any other."""
        return json.dumps(self.content(), sort_keys=True).encode()

    def begun(self) -> dict[str, Any] | None:
        """Content of the plan that an unfinished output was begun with; None if there is none, or it is damaged."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        # Without it the work begins anew, with the chunks that are of this plan.
        return content if isinstance(content, dict) and isinstance(content.get("encoder"), dict) else None

    def differences(self, other: dict[str, Any]) -> str:
        """Say in what the content of another plan differs; an empty text if in nothing."""
        old, new = _flat(other), _flat(self.content())
        names = [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
        return "; ".join(f"{name} {old.get(name)!r}, not {new.get(name)!r}" for name in names)

    def chunk(self, number: int) -> pa.RecordBatch:
        """Process ids and distinct barcodes of a chunk, memory-mapped."""
        with pa.memory_map(str(self.barcodes_path)) as file:
            return pa.ipc.open_file(file).get_batch(number)

    def specimen_table(self) -> pa.Table:
        """Content of `specimens_path`, memory-mapped."""
        with pa.memory_map(str(self.specimens_path)) as file:
            return pa.ipc.open_file(file).read_all()


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    encoder = content["encoder"]
    return {**{f"encoder.{name}": encoder[name] for name in encoder}, **content, "encoder": None}
