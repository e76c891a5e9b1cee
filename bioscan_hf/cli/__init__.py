"""The command line: parse, call, show."""

from bioscan_hf.cli.app import main

__all__ = ["main"]
