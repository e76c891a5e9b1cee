"""Serve the local Hub on a free port and print its address: `python -m tests.hub_server FOLDER`."""

import argparse
import socket
import sys
from pathlib import Path

from aiohttp import web

from .server import application


def main() -> None:
    """Parse the command line and serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="existing folder for the blobs")
    root = parser.parse_args().root
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    web.run_app(application(root), sock=listener, print=None, access_log=None)


if __name__ == "__main__":
    main()
