"""Where specimens come from: released archives, a converted folder, or the Parquet files of a Hub repository."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datasets import config
from datasets.utils import tqdm

from bioscan_hf.data.archives import ImageArchives, ImageFolder, find_images
from bioscan_hf.data.download import Repository
from bioscan_hf.data.features import published_name
from bioscan_hf.data.files import build_once, digest
from bioscan_hf.data.labels import LABEL_COLUMNS, Labels
from bioscan_hf.data.metadata import MetadataSource, OnError, Skipped, find_metadata
from bioscan_hf.data.metadata_conversion import convert_metadata
from bioscan_hf.data.plan import Plan
from bioscan_hf.data.release import METADATA_ARCHIVE, archives_for

REPORT = "report.json"
"""The file that marks a conversion as complete."""

_SHARD = re.compile(r"(?P<family>\w+)/(?P<split>\w+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")
# Raised when the form of the converted metadata in the cache changes.
_FORM = 1


class Source(ABC):
    """Specimens as Parquet files, with their vocabulary and the order of the released table."""

    @abstractmethod
    def shards(self, family: str, split: str, *, remote: bool = False) -> list[str]:
        """Parquet files of a split, in order; none where the split is empty.

        Args:
            family: `metadata`, or an image package.
            split: Released name.
            remote: Whether addresses for fsspec are welcome, so that nothing is downloaded.
        """

    @abstractmethod
    def images(self, package: str, split: str) -> ImageArchives | ImageFolder | None:
        """Images of a split; None where the shards of the package hold them."""

    @abstractmethod
    def side_file(self, name: str) -> Path:
        """A file of `labels/` or `order/`."""

    def labels(self, ranks: Sequence[str] = LABEL_COLUMNS) -> Labels:
        """Read the vocabulary."""
        files = [self.side_file(f"labels/{rank}.txt") for rank in ranks]
        return Labels.read(files[0].parent, ranks) if files else Labels({})

    def order(self, split: str) -> np.ndarray:
        """Number, in the released table, of each specimen of a split, int32."""
        return pq.read_table(self.side_file(f"order/{published_name(split)}.parquet"))["row"].to_numpy()


class ConvertedFolder(Source):
    """What `bioscan data convert` wrote.

    Args:
        root: Folder with `metadata/`, `labels/` and `order/`, and perhaps image packages.

    Raises:
        ValueError: If the conversion was interrupted, or its plan is damaged.
    """

    def __init__(self, root: Path) -> None:
        # A folder that was copied from the Hub has no plan.
        plan = Plan.read(root, root)
        if plan is not None and not (root / REPORT).exists():
            raise ValueError(f"The conversion in '{root}' is not complete; `bioscan data convert` goes on with it.")
        self.root = root
        self._digests = {} if plan is None else plan.files
        self._files = [path.relative_to(root).as_posix() for path in sorted(root.glob("*/*.parquet"))]
        self._rows = _reported_rows(root / REPORT)

    def shards(self, family: str, split: str, *, remote: bool = False) -> list[str]:
        """See `Source`."""
        files = select_shards(self._files, family, split, str(self.root))
        _check_reported(files, self._rows, family, split, str(self.root))
        return [str(self.root / file) for file in files]

    def images(self, package: str, split: str) -> None:
        """See `Source`."""

    def side_file(self, name: str) -> Path:
        """See `Source`.

        Raises:
            ValueError: If it is not as it was written.
        """
        path, expected = self.root / name, self._digests.get(name)
        if expected is not None and digest(path) != expected:
            raise ValueError(f"'{path}' is damaged; `bioscan data convert` makes it anew.")
        return path


class HubParquet(Source):
    """A repository on the Hub in the same layout.

    Args:
        repository: The repository at a commit.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        # By it the cache is known, without a connection, to be of a complete repository, and what it lacks.
        self._rows = _reported_rows(repository.download(REPORT))

    def shards(self, family: str, split: str, *, remote: bool = False) -> list[str]:
        """See `Source`."""
        files = select_shards(self.repository.files, family, split, self.repository.path)
        _check_reported(files, self._rows, family, split, self.repository.path)
        return [self.repository.url(file) if remote else str(self.repository.download(file)) for file in files]

    def images(self, package: str, split: str) -> None:
        """See `Source`."""

    def side_file(self, name: str) -> Path:
        """See `Source`."""
        return self.repository.download(name)


class Archives(Source):
    """The released archives as they lie; the metadata are converted once, into the cache.

    Args:
        root: Folder with the archives, or with what they unpack to.
        cache: Folder for the converted metadata.
        on_error: What to do with a bad record.
        repository: Where archives that are not in `root` come from.
    """

    def __init__(
        self, root: Path, cache: Path, *, on_error: OnError = "raise", repository: Repository | None = None
    ) -> None:
        self.root = root
        self._repository = repository
        self._metadata = ConvertedFolder(_converted(find_metadata(root), cache, on_error))

    def shards(self, family: str, split: str, *, remote: bool = False) -> list[str]:
        """See `Source`."""
        return self._metadata.shards("metadata", split)

    def images(self, package: str, split: str) -> ImageArchives | ImageFolder:
        """See `Source`."""
        if self._repository is not None:
            for file in archives_for(self._repository.files, package, [split]):
                self._repository.download(file)
        return find_images(self.root, package, [split])

    def side_file(self, name: str) -> Path:
        """See `Source`."""
        return self._metadata.side_file(name)


def open_source(
    root: Path | None = None,
    *,
    repository: Repository | None = None,
    cache: Path | None = None,
    on_error: OnError = "raise",
) -> Source:
    """Open a local folder, or a repository on the Hub.

    Args:
        root: Folder with the released archives, with what they unpack to, or converted; or a file of metadata.
        repository: Repository, if there is no `root`.
        cache: Folder for converted metadata; by default the cache of `datasets`.
        on_error: What to do with a bad record of the released metadata.

    Raises:
        FileNotFoundError: If there is nothing of the kind.
        ValueError: If a record is bad.
    """
    cache = cache or Path(config.HF_DATASETS_CACHE)
    if root is not None:
        if not root.exists():
            raise FileNotFoundError(f"No such folder: '{root}'; expected the released archives, or a converted folder.")
        is_converted = next(root.glob("metadata/*.parquet"), None) if root.is_dir() else None
        return ConvertedFolder(root) if is_converted else Archives(root, cache, on_error=on_error)
    assert repository is not None
    if REPORT in repository.files:
        return HubParquet(repository)
    if METADATA_ARCHIVE not in repository.files:
        raise FileNotFoundError(
            f"{repository.path} has neither {REPORT}, which `bioscan data push` sends last of all, nor "
            f"{METADATA_ARCHIVE}; it has {list(repository.files)}."
        )
    downloaded = repository.download(METADATA_ARCHIVE)
    return Archives(downloaded.parent, cache, on_error=on_error, repository=repository)


def select_shards(files: Sequence[str], family: str, split: str, where: str) -> list[str]:
    """The shards of a split among paths such as `metadata/train-00000-of-00001.parquet`, in order.

    Raises:
        FileNotFoundError: If the family is not there, or one of the shards is missing.
    """
    own = [match for file in files if (match := _SHARD.fullmatch(file)) and match["family"] == family]
    if not own:
        families = sorted({match["family"] for file in files if (match := _SHARD.fullmatch(file))})
        raise FileNotFoundError(f"{where} has no {family!r}; it has {families}.")
    found = {int(match["number"]): match for match in own if match["split"] == published_name(split)}
    count = max((int(match["count"]) for match in found.values()), default=0)
    if sorted(found) != list(range(count)):
        raise FileNotFoundError(f"{where} has just {len(found)} of the {count} shards of {family}, {split}.")
    return [found[number].string for number in range(count)]


def _reported_rows(report: Path) -> Mapping[str, Mapping[str, int]]:
    """Rows of each family and split, as a conversion says; nothing if there is no report."""
    if not report.exists():
        return {}
    rows = json.loads(report.read_text(encoding="utf-8")).get("rows", {})
    return dict(rows)


def _check_reported(
    files: Sequence[str], rows: Mapping[str, Mapping[str, int]], family: str, split: str, where: str
) -> None:
    """Tell a split without shards here from one without specimens."""
    if not files and rows.get(family, {}).get(published_name(split)):
        raise FileNotFoundError(
            f"{where} has none of the shards of {family}, {split}; without a connection only those that were loaded "
            "before are there."
        )


def fingerprint(root: Path) -> str:
    """Short name of the present state of a folder: names, sizes and times of change of its files.

    Of unpacked images, which are too many, it has the folders of the splits, whose times follow what is in them.
    """
    files = (".", "bioscan5m", "metadata", "metadata/*", "bioscan5m/metadata/*", "*_256", "cropped", "original_full")
    folders = ("images/*", "bioscan5m/images/*")
    found = [root] if root.is_file() else {path for folder in (*files, *folders) for path in root.glob(f"{folder}/*")}
    states = [(str(path), path.stat()) for path in sorted(found) if path.is_file() or path.parts[-3] == "images"]
    listed = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _converted(source: MetadataSource, cache: Path, on_error: OnError) -> Path:
    """Convert the metadata into the cache, unless they are there; say what was left out."""
    key = f"{_FORM} {source} {fingerprint(source.path.resolve())} {on_error}"
    folder = cache / "bioscan_hf" / f"metadata-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def build(partial: Path) -> None:
        skipped: list[Skipped] = []
        with tqdm(desc="Converting metadata, once", unit=" specimens", unit_scale=True) as bar:
            convert_metadata(
                source, partial, on_error=on_error, skipped=skipped, compression_level=1, report=bar.update
            )
        listed = json.dumps([asdict(record) for record in skipped], indent=1)
        (partial / "skipped.json").write_text(listed, encoding="utf-8")

    build_once(folder, build)
    skipped_file = folder / "skipped.json"
    if left_out := json.loads(skipped_file.read_text(encoding="utf-8")):
        first = "; ".join(f"{record['processid']}: {record['reason']}" for record in left_out[:3])
        warnings.warn(f"{len(left_out)} bad records are left out, see '{skipped_file}': {first}", stacklevel=2)
    return folder
