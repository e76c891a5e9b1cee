"""Fixtures of all tests: offline, on the CPU, with models of a few thousand parameters."""

import os
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from bioscan_hf import BarcodeBertForMaskedLM, load_specimens
from tests.tiny import tiny_masked_lm

# Models here are tiny: several test processes with a thread per core each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)

pytest_plugins = ["tests.hub_server.fixture"]

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def _threads() -> None:
    """Each test has the same number, whatever the one before it has set."""
    if torch.get_num_threads() != THREADS:
        torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def sample() -> Dataset:
    """The embedded sample, without images."""
    return load_specimens()


@pytest.fixture
def masked_lm() -> BarcodeBertForMaskedLM:
    return tiny_masked_lm()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that is not part of the project: parity vectors, real records."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (parity vectors and real records), which is not part of the project")
    return SHARED
