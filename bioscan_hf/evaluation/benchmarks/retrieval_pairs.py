"""What is compared in benchmark 3: pairs of query and key, of which splits, by which models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bioscan_hf.evaluation.benchmarks.paper import SEEN, UNSEEN, pair_title
from bioscan_hf.evaluation.encoders.base import Encoder

IMAGE, DNA, TEXT = "image", "dna", "text"
MODALITIES = (IMAGE, DNA, TEXT)
JOINT, CONCAT, ALL = "joint", "concat", "all"
_PARTS = {JOINT: (IMAGE, DNA), CONCAT: (IMAGE, DNA), ALL: MODALITIES}


def parts_of(kind: str) -> tuple[str, ...]:
    """Modalities that make up a kind of query or key."""
    return _PARTS.get(kind, (kind,))


class Pair(NamedTuple):
    """What is embedded of a query, and what of a key.

    Either is `image`, `dna` or `text`; `joint`, the mean of the image's and the barcode's vector of length 1; or
    `concat`, both side by side, for queries and keys together. Keys are also `all`: each specimen is up to three keys,
    its image, its barcode and its text. These are the 21 pairs of CLIBD's code, which calls the last three
    `averaged_feature`, `concatenated_feature` and `all_key_features`.
    """

    query: str
    key: str

    @property
    def name(self) -> str:
        """As in commands: `image-dna`."""
        return f"{self.query}-{self.key}"

    @property
    def title(self) -> str:
        """As in tables: `image to DNA`."""
        return pair_title(*self)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What a model must embed."""
        return tuple(m for m in MODALITIES if any(m in parts_of(kind) for kind in self))


PAIRS = {
    pair.name: pair
    for pair in (
        *(Pair(query, key) for query in (*MODALITIES, JOINT) for key in (*MODALITIES, JOINT, ALL)),
        Pair(CONCAT, CONCAT),
    )
}
"""All pairs, by name."""
DEFAULT_PAIRS = ("dna-dna", "image-image", "image-dna", "image-text", "joint-dna")
"""The three of the paper, and what its models can do besides."""


@dataclass(frozen=True)
class RetrievalSettings:
    """What is asked; the defaults are the paper's.

    Attributes:
        keys: Splits of the known specimens, which include such of the unseen species.
        queries: Split of the queries of seen species; those of unseen species are of `test_unseen` or `val_unseen`.
        pairs: Names of pairs; None for `DEFAULT_PAIRS`, without those that models or data do not allow.
        seed: Of draws.
    """

    keys: str = "train+key_unseen"
    queries: Literal["test", "val"] = "test"
    pairs: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.queries not in ("test", "val"):
            raise ValueError(f"Expected queries of the split 'test' or 'val'; got {self.queries!r}.")
        if self.pairs == ():
            raise ValueError(f"Expected at least one pair, such as {DEFAULT_PAIRS[0]}; got none.")
        if unknown := [name for name in self.pairs or () if name not in PAIRS]:
            raise ValueError(f"Expected pairs of query and key; got {unknown[0]!r}. Possible are: {', '.join(PAIRS)}.")

    @property
    def asked(self) -> tuple[Pair, ...]:
        """The pairs, each once."""
        return tuple(PAIRS[name] for name in dict.fromkeys(self.pairs or DEFAULT_PAIRS))

    @property
    def groups(self) -> dict[str, str]:
        """Group of queries, and its split."""
        return {SEEN: self.queries, UNSEEN: f"{self.queries}_unseen"}


@dataclass(frozen=True)
class RetrievalModel:
    """A model by the encoders of its modalities, whose vectors lie in one space if there are several.

    Attributes:
        name: How tables call it.
        encoders: By modality.
    """

    name: str
    encoders: Mapping[str, Encoder]

    def __post_init__(self) -> None:
        if not self.encoders or not set(self.encoders) <= set(MODALITIES):
            raise ValueError(
                f"Expected encoders of any of {list(MODALITIES)}; {self.name!r} has {list(self.encoders)}."
            )

    @property
    def revision(self) -> str | None:
        """Digest or commit of its weights; several if the encoders are from different places."""
        revisions = dict.fromkeys(encoder.revision for encoder in self.encoders.values() if encoder.revision)
        return " + ".join(revisions) or None

    def embeds(self, pair: Pair) -> bool:
        """Whether it has what a pair needs."""
        return set(pair.modalities) <= set(self.encoders)
