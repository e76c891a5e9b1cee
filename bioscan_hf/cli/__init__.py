"""The command line: parse, call, show."""

from bioscan_hf.cli.program import main

__all__ = ["main"]
