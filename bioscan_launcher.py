"""Starts the program `bioscan` at once.

`import bioscan_hf` registers models with transformers, which takes seconds. Help, completion and wrong usage do not
need that: started from here, the package leaves it to the command that runs.
"""

starting = False
"""Whether this process is the program."""


def main() -> None:
    """Run the program."""
    global starting
    starting = True
    from bioscan_hf.cli import main as run

    run()
