"""Other packages, in environments of their own, that some tests compare this one with."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class ForeignPython:
    """The interpreter of another environment."""

    path: Path

    def ask(self, program: str, *arguments: object) -> Any:
        """Run a program of this repository, and return what the last line of its output says in JSON.

        Raises:
            AssertionError: If the program fails; the message is what it wrote to stderr.
        """
        command: Sequence[str] = [str(self.path), str(ROOT / program), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert not result.returncode, f"{' '.join(command)} failed:\n{result.stderr}"
        return json.loads(result.stdout.splitlines()[-1])


def foreign_python(variable: str, packages: str) -> ForeignPython:
    """Find the interpreter that an environment variable names; without it, the test is skipped.

    Tests download nothing, so they do not make the environment; benchmarks/README.md says how to.
    """
    if variable not in os.environ:
        pytest.skip(f"needs {packages}: set {variable} to the Python of an environment made as in benchmarks/README.md")
    path = Path(os.environ[variable]).expanduser()
    assert path.is_file(), f"{variable} must name a Python interpreter; there is no '{path}'."
    return ForeignPython(path)
