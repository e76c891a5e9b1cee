"""Run the notebook of the examples anew, and keep what it shows: `python tools/run_notebook.py [OUTPUT]`.

Times and versions of the machine are left out, so that only what is new changes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def main(output: Path = NOTEBOOK) -> None:
    """Run it in an empty folder, by a kernel of this Python.

    Args:
        output: Where it is written to.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=600, record_timing=False, resources=resources)
        manager = client.create_kernel_manager()
        assert manager.kernel_spec is not None
        manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        client.execute()
        if left := sorted(path.name for path in Path(folder).iterdir()):
            raise RuntimeError(f"The notebook leaves {', '.join(left)} behind; it should write to a temporary folder.")
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, output)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
