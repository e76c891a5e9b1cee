"""Start programs that use the local Hub at once: `python -m tests.hub_server.clients` forks itself for each.

A fresh Python needs some ten seconds to import the libraries. This process has imported them, with the settings of its
environment, and nothing of `bioscan_hf`: that is imported, or found to be absent, by the programs.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import sys
import textwrap
import threading
from types import ModuleType
from typing import Any

# What programs import, directly or as `bioscan_hf` does.
LIBRARIES = [
    *("accelerate", "datasets", "evaluate", "huggingface_hub", "matplotlib.pyplot", "pandas", "PIL.Image", "psutil"),
    *("pyarrow.dataset", "pyarrow.parquet", "rich.console", "rich.progress", "rich.table", "safetensors.torch"),
    *("scipy.stats", "sklearn.cluster", "sklearn.linear_model", "sklearn.manifold", "sklearn.metrics"),
    *("sklearn.neighbors", "sklearn.preprocessing", "tokenizers", "torch", "typer", "yaml"),
    *("transformers.image_utils", "transformers.modeling_utils", "transformers.models.auto.modeling_auto"),
    *("transformers.models.bert.modeling_bert", "transformers.models.vit.modeling_vit", "transformers.pipelines"),
    *("transformers.processing_utils", "transformers.tokenization_utils_tokenizers", "transformers.trainer"),
]
LIMIT = 300
"""Seconds after which a program is killed."""


def main() -> None:
    """Import, then start what is asked for on stdin, one program after the other, and answer its exit status."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # forks share what they need not look through
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            answers.close()
            os._exit(become(asked))
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


def become(asked: dict[str, Any]) -> int:
    """Do, in this process, what `python -c SOURCE ARGS` does in a new one; returns the exit status.

    What Python does at the end comes as well, but that it takes all modules apart, which lasts seconds.

    Args:
        asked: `source`, `args`, `cwd`, `env`, and the files `stdout` and `stderr`.
    """
    signal.alarm(LIMIT)
    for descriptor, path in ((0, os.devnull), (1, asked["stdout"]), (2, asked["stderr"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[0] = ""
    sys.argv = ["-c", *asked["args"]]
    program = ModuleType("__main__")
    sys.modules["__main__"] = program
    status = 0
    try:
        exec(compile(textwrap.dedent(asked["source"]), "<string>", "exec"), program.__dict__)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    main()
