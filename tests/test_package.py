import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import bioscan_hf

ROOT = Path(__file__).parents[1]


def test_public_names_exist_and_are_documented() -> None:
    assert sorted(bioscan_hf.__all__) == bioscan_hf.__all__
    for name in bioscan_hf.__all__:
        assert getattr(bioscan_hf, name).__doc__


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == bioscan_hf.__version__


def test_every_dependency_is_pinned() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    wanted = {
        line.split(">")[0].split("[")[0].lower().replace("_", "-")
        for line in "\n".join(lines).split("\n")
        if line and not line.startswith(("#", "bioscan-hf"))
    }
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert wanted <= {line.split("==")[0].lower().replace("_", "-") for line in pins}


@pytest.mark.slow  # a build environment of its own is installed
def test_wheel_holds_code_sample_and_templates(tmp_path: Path) -> None:
    # A copy, because setuptools leaves its work beside the sources and takes stale files from there.
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "bioscan_launcher.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "bioscan_hf", tmp_path / "bioscan_hf", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "bioscan_hf").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md":
            assert path.relative_to(ROOT).as_posix() in names
    assert not any(name.startswith(("tests/", "tools/")) for name in names)
