"""Names for specimens: what, how sure, how new, and nearest to which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Image, Value
from numpy.typing import NDArray

from bioscan_hf.data.features import RANKS
from bioscan_hf.identification.answers import Answers, Described
from bioscan_hf.identification.barcode_space import FITS, REVERSED, STOP, Seen
from bioscan_hf.identification.calibration import rank_probabilities
from bioscan_hf.identification.library import Library, Modality
from bioscan_hf.identification.novelty import NOVEL, novelty_features
from bioscan_hf.identification.packed import known_letters
from bioscan_hf.identification.queries import Queries
from bioscan_hf.identification.results import names_of, nearest_prefix, numbers, results_schema
from bioscan_hf.identification.safe import safe_ranks
from bioscan_hf.identification.votes import NEIGHBOURS, Evidence, Neighbours
from bioscan_hf.tokenization.letters import clean_barcode

MAX_ERROR = 0.01
# Letters in the columns of the gene below which a name is told with a note.
_FEW_LETTERS = 200


class Identifier:
    """Names specimens by a library.

    Attributes:
        library: What queries are compared with.
        max_error: Share of the names at the safe rank that may be wrong.
        nearest: Specimens of the library that are told with each query.

    >>> from bioscan_hf import load_specimens, select_split
    >>> specimens = load_specimens()
    >>> library = Library.build(select_split(specimens, "train"), calibration=select_split(specimens, "val+val_unseen"))
    >>> queries = select_split(specimens, "test")
    >>> table = Identifier(library, max_error=0.05)(queries["dna_barcode"][:2], queries["processid"][:2])
    >>> table["species"].to_pylist() == queries["species"][:2]
    True
    """

    def __init__(self, library: Library, *, max_error: float = MAX_ERROR, nearest: int = 1) -> None:
        """Prepare a library.

        Args:
            library: See `Library.build` and `Library.load`.
            max_error: Between 0 and 1; see `safe.safe_thresholds`.
            nearest: From 1 to 20.

        Raises:
            ValueError: If an argument is out of range.
        """
        if not 1 <= nearest <= NEIGHBOURS:
            raise ValueError(f"`nearest` must be from 1 to {NEIGHBOURS}; got {nearest}.")
        self.library, self.max_error, self.nearest = library, max_error, nearest
        if not 0 < max_error < 1:
            raise ValueError(
                f"`max_error` must be between 0 and 1, such as 0.01 for one wrong name in 100; got {max_error}."
            )
        self._thresholds = {
            modality: calibration.thresholds(max_error) for modality, calibration in library.calibration.items()
        }
        self._schema = results_schema(nearest)
        self._specimens = Described.of(library)

    @classmethod
    def from_pretrained(
        cls,
        library: str | Path,
        *,
        revision: str | None = None,
        max_error: float = MAX_ERROR,
        nearest: int = 1,
        device: str | None = None,
    ) -> Identifier:
        """Load a library, and prepare it.

        Args:
            library: Folder, or repository on the Hub.
            revision: Branch, tag or commit on the Hub.
            max_error: As above.
            nearest: As above.
            device: Where the library's models compute, if it has some.

        Raises:
            FileNotFoundError: If there is no such folder.
            OSError: If there is no such repository, or the Hub does not answer.
            ValueError: If it is no library, or one that this version does not read; or an argument is out of range.
        """
        loaded = Library.load(library, revision=revision, device=device)
        return cls(loaded, max_error=max_error, nearest=nearest)

    def __call__(self, barcodes: Sequence[str | None], processids: Sequence[str] | None = None) -> pa.Table:
        """Name barcodes.

        Args:
            barcodes: N barcodes, in any letter case, with or without gaps, on either strand. One that is none gets a
                row with a note, and no name.
            processids: What they are called; by default by their numbers, from 1.

        Returns:
            N rows; see `results_schema`.

        Raises:
            ValueError: If there are not as many ids as barcodes.
        """
        if isinstance(barcodes, str):
            raise ValueError("Expected a list of barcodes; got one text. Put it into a list.")
        if processids is not None and len(processids) != len(barcodes):
            raise ValueError(f"Expected an id for each barcode; got {len(processids):,} and {len(barcodes):,}.")
        clean: list[str | None] = []
        notes: list[str | None] = []
        for barcode in barcodes:
            try:
                clean.append(clean_barcode(barcode))
                notes.append(None)
            except ValueError as error:
                reason = str(error).removesuffix(".").replace("; ", ", ")
                clean.append(None)
                notes.append(reason[0].lower() + reason[1:])
        nowhere = np.full(len(clean), np.nan)
        ids = [str(i) for i in range(1, len(clean) + 1)] if processids is None else list(map(str, processids))
        return self.identify(Queries(ids, clean, None, notes, nowhere, nowhere))

    def identify(self, queries: Queries) -> pa.Table:
        """Name queries by their barcodes, and those without by their images, if the library has a model for images.

        Args:
            queries: N queries.

        Returns:
            N rows; see `results_schema`.
        """
        notes = [[note] if note else [] for note in queries.notes]
        count = len(queries.processids)
        answers = [Answers.none(count, self.nearest)]
        if any(queries.barcodes):
            answers.append(self._by_barcode(queries, notes))
        if queries.images is not None:
            answers.append(self._by_image(queries, notes))
        merged = answers[0]
        for other in answers[1:]:
            merged = merged.filled_up(other)
        return self._table(queries, merged, notes)

    def _by_barcode(self, queries: Queries, notes: list[list[str]]) -> Answers:
        # Of equal barcodes one is asked for.
        distinct = sorted({barcode for barcode in queries.barcodes if barcode})
        place_of: dict[str | None, int] = {barcode: place for place, barcode in enumerate(distinct)}
        places = np.array([place_of.get(barcode, -1) for barcode in queries.barcodes])
        seen, neighbours, evidence = self.library.ask(distinct)
        for barcode_notes, rows in zip(_notes(seen), _rows_of(places, len(distinct)), strict=True):
            for row in rows if barcode_notes else ():
                notes[row] += barcode_notes
        found = self._answers("barcode", neighbours, evidence, self.library.keys.first[neighbours.keys])
        found = found._replace(answered=seen.has(FITS))
        return found.at(places)

    def _by_image(self, queries: Queries, notes: list[list[str]]) -> Answers:
        count = len(queries.processids)
        none = Answers.none(count, self.nearest)
        wanted = [row for row, image in enumerate(queries.images or ()) if image and not queries.barcodes[row]]
        if wanted and self.library.images is None:
            for row in wanted:
                notes[row].append("an image without barcode, and the library has no model for images")
            return none
        answers, good = none, wanted
        if good:
            try:
                answers = self._ask_by_image(queries, good)
            except ValueError:
                # Looked for in this case only, for it takes as long as to embed them.
                good = self._good_images(queries, wanted, notes)
                answers = self._ask_by_image(queries, good) if good else none
        places = np.full(count, -1)
        places[good] = np.arange(len(good))
        return answers.at(places)

    def _ask_by_image(self, queries: Queries, rows: Sequence[int]) -> Answers:
        images = queries.images or ()
        specimens = Dataset.from_dict(
            {"processid": [queries.processids[row] for row in rows], "image": [images[row] for row in rows]},
            features=Features({"processid": Value("string"), "image": Image()}),
        )
        found, neighbours, evidence = self.library.ask_by_image(specimens)
        return self._answers("image", neighbours, evidence, found)

    def _good_images(self, queries: Queries, rows: Sequence[int], notes: list[list[str]]) -> list[int]:
        """Those that a model can look at, and notes on the others."""
        assert self.library.images is not None
        good = []
        for row in rows:
            reason = self.library.images.why_not((queries.images or ())[row])
            if reason is None:
                good.append(row)
            else:
                notes[row].append(reason.replace("; ", ", "))
        return good

    def _answers(
        self, modality: Modality, neighbours: Neighbours, evidence: Evidence, specimens: NDArray[np.int64]
    ) -> Answers:
        """What evidence says, with the calibration of its modality."""
        count = len(neighbours.keys)
        probabilities = np.full(evidence.names.shape, np.nan, np.float32)
        novelty, safe = np.full(count, np.nan, np.float32), np.full(count, -1)
        calibration = self.library.calibration.get(modality)
        if calibration is not None:
            probabilities = rank_probabilities(evidence.names, evidence.features, calibration.ranks)
            safe = safe_ranks(probabilities, self._thresholds[modality])
            if calibration.novelty is not None:
                novelty = calibration.novelty(novelty_features(neighbours, evidence))
        told = np.minimum(np.arange(self.nearest), neighbours.keys.shape[1] - 1)
        nearest, identities = specimens[:, told], neighbours.identities
        # Where there are fewer, the last one is repeated. Of parts of barcodes, the similarity may be above 1.
        missing = np.zeros(nearest.shape, bool)
        missing[:, 1:] = nearest[:, 1:] == nearest[:, :-1]
        similar = np.where(missing, np.nan, np.minimum(neighbours.similarities[:, told], 1))
        same = np.where(missing, np.nan, np.nan if identities is None else identities[:, told])
        return Answers(
            np.full(count, modality, object),
            np.ones(count, bool),
            evidence.names,
            probabilities,
            safe,
            novelty,
            np.where(missing, -1, nearest),
            similar.astype(np.float32),
            same.astype(np.float32),
        )

    def _table(self, queries: Queries, answers: Answers, notes: Sequence[Sequence[str]]) -> pa.Table:
        columns: dict[str, Any] = {"processid": queries.processids}
        by_rank = [names_of(answers.names[:, place], self.library.taxa[rank]) for place, rank in enumerate(RANKS)]
        for rank, names in zip(RANKS, by_rank, strict=True):
            columns[rank] = names
        for place, rank in enumerate(RANKS):
            columns[f"{rank}_probability"] = numbers(answers.probabilities[:, place])
        columns["safe_rank"] = names_of(answers.safe, RANKS)
        # From the deepest rank on, as text: few distinct ones of many.
        taxa = np.full(len(answers.safe), None, object)
        for place, names in enumerate(by_rank):
            rows = np.flatnonzero(answers.safe == place)
            taxa[rows] = names.take(pa.array(rows)).to_numpy(zero_copy_only=False)
        columns["safe_taxon"] = pa.array(taxa, pa.string())
        columns["novelty"] = numbers(answers.novelty)
        columns["novel"] = pa.array(answers.novelty >= NOVEL, pa.bool_(), mask=np.isnan(answers.novelty))
        for place in range(self.nearest):
            prefix, rows = nearest_prefix(place), answers.specimens[:, place]
            for name, column in self._specimens.at(rows).items():
                columns[f"{prefix}{name}"] = column
            columns[f"{prefix}similarity"] = numbers(answers.similarities[:, place])
            columns[f"{prefix}identity"] = numbers(answers.identities[:, place])
        columns["evidence"] = pa.array(answers.evidence, pa.string())
        columns["notes"] = pa.array(["; ".join(own) if own else None for own in notes], pa.string())
        columns["coord-lat"] = numbers(queries.latitudes, pa.float64())
        columns["coord-lon"] = numbers(queries.longitudes, pa.float64())
        return pa.table(columns, schema=self._schema)


def _notes(seen: Seen) -> list[list[str]]:
    """What is remarkable about barcodes."""
    letters = known_letters(seen.letters)
    notes: list[list[str]] = [[] for _ in range(len(letters))]
    for row in np.flatnonzero((seen.flags != FITS) | (letters < _FEW_LETTERS)):
        if not seen.flags[row] & FITS:
            notes[row].append("not like the barcodes of the library")
            continue
        if seen.flags[row] & REVERSED:
            notes[row].append("reverse complement")
        if seen.flags[row] & STOP:
            notes[row].append("stop codon")
        if letters[row] < _FEW_LETTERS:
            notes[row].append(f"only {letters[row]} letters of the gene")
    return notes


def _rows_of(places: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Rows with each of the places 0 to count - 1."""
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(count + 1))
    return [order[starts[place] : starts[place + 1]] for place in range(count)]
