"""Log messages of ours and of the libraries, as `--quiet` and `--verbose` want them."""

from __future__ import annotations

import logging
import sys

from bioscan_hf.cli.screen import get_level

_LIBRARIES = ("transformers", "datasets", "huggingface_hub", "accelerate")
# They log what is worth reading, but have no handler of their own.
_OTHERS = ("bioscan_hf", "httpx")


def set_up_logs() -> None:
    """With `--verbose`, show messages with their times on stderr; with `--quiet`, errors only.

    The libraries must have been imported: they put up their own handlers then, whose messages have no times.
    """
    level = get_level()
    if level == "normal":
        return
    import datasets  # noqa: F401
    import huggingface_hub  # noqa: F401

    if "transformers" in sys.modules:  # else the command needs neither it nor accelerate
        import accelerate  # noqa: F401
        import transformers  # noqa: F401

    wanted = logging.INFO if level == "verbose" else logging.ERROR
    for name in _LIBRARIES + _OTHERS:
        logger = logging.getLogger(name)
        logger.setLevel(wanted)
        if level == "verbose":
            logger.handlers.clear()
            logger.propagate = True
    if level == "verbose":
        # It prints whole configurations, of all that a model is made of.
        logging.getLogger("transformers.configuration_utils").setLevel(logging.WARNING)
        logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", force=True)
