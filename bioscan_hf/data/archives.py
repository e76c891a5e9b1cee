"""Images of specimens, in the released archives or in the folders that they unpack to."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bioscan_hf.data.features import resolve_split
from bioscan_hf.data.release import MD5, PACKAGES, PACKAGES_IN_PARTS, PARTS, REPOSITORY, archives_for
from bioscan_hf.data.zips import LARGEST_MEMBER, ZipIndex, climbs_out

_FOLDER = "bioscan5m"
_NAMES_SHOWN = 12


class ImageArchives:
    """Images in zip archives, read in place.

    An archive's directory is read when it is first needed (5 s for five million images); pickled, only the paths go.

    Args:
        paths: The archives; where an image is in several, the first one's is taken.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._opened: dict[Path, ZipIndex] = {}

    def __reduce__(self) -> tuple[type[ImageArchives], tuple[tuple[Path, ...]]]:
        return ImageArchives, (self.paths,)

    def sizes(self, members: Sequence[str]) -> np.ndarray:
        """Size of each image in bytes, int64; -1 where it is absent.

        Args:
            members: Paths as `release.image_member` gives them.

        Raises:
            OSError: If an archive cannot be opened.
            ValueError: If an archive is damaged.
        """
        sizes = np.full(len(members), -1, np.int64)
        for path in self.paths:
            missing = np.flatnonzero(sizes < 0).tolist()
            if missing:
                sizes[missing] = self._archive(path).sizes([members[i] for i in missing])
        return sizes

    def read(self, members: Sequence[str]) -> list[bytes | None]:
        """Content of each image file, in the order asked for; None where it is absent.

        Args:
            members: Paths as `release.image_member` gives them.

        Raises:
            OSError: If an archive cannot be opened or read.
            ValueError: If an archive or an image in it is damaged.
        """
        contents: list[bytes | None] = [None] * len(members)
        for path in self.paths:
            missing = [i for i, content in enumerate(contents) if content is None]
            if missing:
                found = self._archive(path).read([members[i] for i in missing])
                for i, content in zip(missing, found, strict=True):
                    contents[i] = content
        return contents

    def _archive(self, path: Path) -> ZipIndex:
        if path not in self._opened:
            self._opened[path] = ZipIndex(path)
        return self._opened[path]


class ImageFolder:
    """Images in the folders that the archives unpack to; used like `ImageArchives`.

    Args:
        root: Folder that holds `bioscan5m/`, or this folder itself.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = root / _FOLDER if (root / _FOLDER).is_dir() else root

    def holds(self, package: str, splits: Iterable[str]) -> bool:
        """Whether there is a folder for each of the splits of a package."""
        return all((self._base / "images" / package / split).is_dir() for split in splits)

    def sizes(self, members: Sequence[str]) -> np.ndarray:
        """Size of each image in bytes, int64; -1 where it is absent.

        Raises:
            ValueError: If a member's path leads out of the folder.
        """
        return np.array([_size(self._path(member)) for member in members], np.int64)

    def read(self, members: Sequence[str]) -> list[bytes | None]:
        """Content of each image file, in the order asked for; None where it is absent.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If a file is too large for an image, or a member's path leads out of the folder.
        """
        contents: list[bytes | None] = []
        for path in map(self._path, members):
            size = _size(path)
            if size > LARGEST_MEMBER:
                raise ValueError(f"'{path}' has {size:,} bytes, more than the {LARGEST_MEMBER:,} of any image.")
            contents.append(path.read_bytes() if size >= 0 else None)
        return contents

    def _path(self, member: str) -> Path:
        if climbs_out(member):
            raise ValueError(f"{member!r} leads out of '{self.root}'; expected the path of an image in an archive.")
        return self._base / member.removeprefix(f"{_FOLDER}/")


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def find_images(root: Path, package: str, splits: Sequence[str]) -> ImageArchives | ImageFolder:
    """Find the images of some splits.

    The unpacked folder goes first; then the archives of the parts that hold the splits, then those of the whole
    package. Of archives that come in numbers (`.01.zip`, `.02.zip`), all must be there.

    Args:
        root: Folder with the released archives, with the unpacked `bioscan5m/`, or `bioscan5m/` itself.
        package: One of `release.PACKAGES`.
        splits: Splits whose images are needed.

    Raises:
        ValueError: If the package or a split is not known.
        FileNotFoundError: If there are no images of one of the splits; the message says what was looked for.
    """
    if package not in PACKAGES:
        raise ValueError(f"`package` must be one of {list(PACKAGES)}; got {package!r}.")
    wanted = resolve_split("+".join(splits))
    folder = ImageFolder(root)
    if folder.holds(package, wanted):
        return folder
    found = {path.name: path for place in (root / _FOLDER, root) for path in place.glob("*.zip") if path.is_file()}
    try:
        names = archives_for(_complete(found), package, wanted)
    except FileNotFoundError:
        raise FileNotFoundError(_nothing_found(root, package, wanted)) from None
    return ImageArchives([found[name] for name in names])


def _complete(names: Iterable[str]) -> list[str]:
    """Leave out numbered archives of which one is missing, as far as their count is known."""
    numbered: dict[str, set[str]] = {}
    for name in (*names, *MD5):
        if match := re.fullmatch(r"(.+)\.\d\d\.zip", name):
            numbered.setdefault(match[1], set()).add(name)
    kept = set(names)
    for stem, expected in numbered.items():
        highest = int(max(expected)[-6:-4])
        if not {f"{stem}.{number:02}.zip" for number in range(1, highest + 1)} <= kept:
            kept -= expected
    return sorted(kept)


def _nothing_found(root: Path, package: str, splits: Sequence[str]) -> str:
    parts = [part for part, held in PARTS.items() if set(held) & set(splits)]
    whole = f"BIOSCAN_5M_{package}.zip"
    ways, get = [whole], f"The page of {REPOSITORY} on the Hub tells where to get them."
    if package in PACKAGES_IN_PARTS:
        of_parts = [f"BIOSCAN_5M_{package}_{part}.zip" for part in parts]
        ways = [" and ".join(of_parts), whole]
        get = f"Get them by: hf download {REPOSITORY} {' '.join(of_parts)} --repo-type dataset --local-dir '{root}'"
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    there = ", ".join(names[:_NAMES_SHOWN]) + more if names else "nothing"
    return (
        f"No {package} images of {', '.join(splits)} in '{root}'; expected {', or '.join(ways)} (or all of their "
        f"numbered parts .01.zip, .02.zip, ...), or {_FOLDER}/images/{package} with a folder for each split; found "
        f"{there}. {get}"
    )


def read_each(images: ImageArchives | ImageFolder, members: Sequence[str]) -> tuple[list[bytes | None], dict[int, str]]:
    """Read images, of which some may be missing or damaged.

    Args:
        images: Where they are.
        members: Paths as `release.image_member` gives them.

    Returns:
        Content of each, None where it cannot be read, and the reasons by position.

    Raises:
        OSError: If an archive or a file cannot be opened.
    """
    try:
        contents = images.read(members)
    except ValueError as error:
        if len(members) == 1:
            return [None], {0: str(error)}
        # One of them is damaged: read them one by one.
        alone = [read_each(images, [member]) for member in members]
        return [content for (content,), _ in alone], {i: error[0] for i, (_, error) in enumerate(alone) if error}
    return contents, {i: f"no {member}" for i, member in enumerate(members) if contents[i] is None}
