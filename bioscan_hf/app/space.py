"""The app as a folder that runs on a Space of the Hub as it is."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import requires, version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCard, SpaceCardData
from packaging.requirements import Requirement

from bioscan_hf import __version__
from bioscan_hf.data.files import staged
from bioscan_hf.identification.library_files import find_library, read_manifest

PACKAGE, APP, CARD, LIBRARY, IMAGES = "bioscan_hf", "app.py", "README.md", "library", "images"
_FIRST_LINE = "# Written by `bioscan app --write-space`."
_TAGS = ["bioscan_hf", "biology", "biodiversity", "DNA barcoding", "species identification"]


def write_space(folder: Path, library: str | None = None, *, images: str | None = None, max_error: float) -> None:
    """Write a Space: its card, `app.py`, `requirements.txt`, and a copy of this package, which is on no index.

    Args:
        folder: Absent, empty, or a Space written before, of which the parts are replaced; they appear together, when
            all are complete.
        library: As for `Served.open`. A folder is copied, too; a repository is downloaded when the Space starts.
        images: Likewise: a file or folder is copied, too.
        max_error: Share of the names at the safe rank that may be wrong.

    Raises:
        FileExistsError: If something else lies in the folder.
        FileNotFoundError: If there is no such library, or no such images.
        OSError: If the Hub does not answer, a file cannot be written, or the package is not installed whole.
        ValueError: If the library is none.
    """
    check_space(folder)
    manifest = {} if library is None else read_manifest(find_library(library))
    needed = requirements()
    with staged(folder) as stage:
        arguments: dict[str, Any] = {
            "library": _copied(library, stage / LIBRARY),
            "images": _copied(images, stage / IMAGES),
            "max_error": max_error,
        }
        with as_file(files(PACKAGE)) as package:
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(package, stage / PACKAGE, ignore=ignored)
        (stage / APP).write_text(_app(arguments), encoding="utf-8")
        (stage / "requirements.txt").write_text(needed, encoding="utf-8")
        card = space_card(folder.resolve().name, library, manifest)
        (stage / CARD).write_text(str(card), encoding="utf-8")


def check_space(folder: Path) -> None:
    """Refuse to write a Space where something else lies.

    Raises:
        FileExistsError: If so.
    """
    if folder.is_dir():
        app = folder / APP
        # A Space that was cloned before anything was written into it holds hidden files, and perhaps a card.
        others = [item.name for item in folder.iterdir() if not item.name.startswith(".") and item.name != CARD]
        if not others or (app.is_file() and app.read_text(encoding="utf-8").startswith(_FIRST_LINE)):
            return
    elif not folder.exists():
        return
    raise FileExistsError(f"'{folder}' exists, and is no Space that was written before; choose another folder.")


def requirements() -> str:
    """`requirements.txt`, from the metadata of the package.

    Raises:
        OSError: If these lack the packages that the app needs.
    """
    lines = []
    for line in requires("bioscan-hf") or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": "app"}):
            lines.append(f"{needed.name}{needed.specifier}\n")
    if not any(line.startswith("gradio") for line in lines):
        raise OSError(
            "The installed metadata of bioscan_hf do not name what the app needs; install the package again: "
            "`pip install '.[app]'`."
        )
    note = (
        f"# What bioscan_hf {__version__} needs, with its extra `app`. A Space without GPU needs the CPU build of\n"
        "# torch only, which installs faster: put `--extra-index-url` and PyTorch's index of CPU builds into a line.\n"
    )
    return note + "".join(lines)


def space_card(name: str, library: str | None, manifest: dict[str, Any]) -> SpaceCard:
    """The card of a Space.

    Args:
        name: Of the Space.
        library: As for `write_space`.
        manifest: Of the library.
    """
    on_the_hub = library is not None and not Path(library).expanduser().exists()
    source = str(manifest.get("source", ""))
    data = SpaceCardData(
        title=name,
        colorFrom="green",
        colorTo="gray",
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version=".".join(platform.python_version_tuple()[:2]),
        app_file=APP,
        license="mit",
        short_description="Names for insects by DNA barcode or photograph",
        models=[str(library)] if on_the_hub else None,
        datasets=[source] if source.count("/") == 1 and not source.startswith(("/", ".", "~")) else None,
        tags=_TAGS,
    )
    if library is None:
        what = "the simulated sample of bioscan_hf: its names are invented"
    else:
        what = f"`{library if on_the_hub else Path(library).resolve().name}`, made of {source or 'unknown'}"
    return SpaceCard(
        f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n"
        "Paste a DNA barcode or FASTA, or drop a photograph: the name at each rank with the probability that it is\n"
        "right, whether the species is new to the library, the nearest specimens, letter by letter and on a map.\n\n"
        f"The library is {what}.\n\n"
        "Names depend on the labels of the library, and on where its specimens were collected. Do not use them for\n"
        "regulatory identification (quarantine, food, forensics) without a taxonomist.\n\n"
        f"Made by `bioscan app --write-space` of bioscan_hf {__version__} (MIT); the data of the library have\n"
        "their own licence. To run it on your computer: `pip install -r requirements.txt`, then `python app.py`.\n"
    )


def _copied(source: str | None, target: Path) -> str | None:
    """Copy what lies on this computer beside `app.py`; how that is called there."""
    path = None if source is None else Path(source).expanduser()
    if path is None or not path.exists():
        return source
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        return target.name
    target = target.with_name(f"{target.name}{''.join(path.suffixes)}")
    shutil.copyfile(path, target)
    return target.name


def _app(arguments: dict[str, Any]) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value is not None)
    return f"""{_FIRST_LINE}
# The app as `bioscan app` starts it, for a Space of the Hub.

import os
from pathlib import Path

from bioscan_hf.app.application import build_app, launch
from bioscan_hf.app.served import Served

os.chdir(Path(__file__).parent)  # where the copies of what is served lie

if __name__ == "__main__":
    launch(build_app(Served.open({given})))
"""
