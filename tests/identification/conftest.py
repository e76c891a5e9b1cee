"""A library on the disk, for all tests that only read it."""

from pathlib import Path

import pytest

from tests.identification.made_library import library


@pytest.fixture(scope="session")
def saved_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library") / "lib"
    library().save(folder)
    return folder
