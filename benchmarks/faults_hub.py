"""The local Hub of the tests, and its errors at random requests."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

TOKEN = "hf_test"
"""Of the local Hub."""


class Hub:
    """The local Hub, in a process of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "tests.hub_server", self._folder.name]
        root = Path(__file__).parents[1]
        self._server = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        self.url = self._server.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the local Hub did not start; its error is on stderr")
        self.api = HfApi(endpoint=self.url, token=TOKEN)
        disable_progress_bars()

    @property
    def environment(self) -> dict[str, str]:
        """Of programs that use it."""
        on = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS")
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", **dict.fromkeys(on, "1")}

    def fail(self, **fault: Any) -> None:
        """Let requests fail; see `tests/hub_server/faults.py`."""
        self._control("POST", "/_faults", {"method": "", "path": "", **fault})

    def fail_at_random(self, draw: random.Random, requests: int) -> None:
        """Let some of so many requests fail, in one way or another."""
        ways: list[dict[str, Any]] = [
            {"status": 500},
            {"status": 503},
            {"status": 429, "retry_after": draw.choice([0, 3])},
            {"status": 504, "done": True},
            {"cut": True},
            {"drop": True},
            {"delay": 0.3},
        ]
        self.fail(after=draw.randrange(requests), times=draw.randint(1, 8), **draw.choice(ways))

    def heal(self) -> None:
        """Forget the faults that have not struck."""
        self._control("DELETE", "/_faults")

    def requests(self) -> int:
        """Number of requests so far."""
        return len(json.loads(self._control("GET", "/_requests")))

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = json.dumps(body).encode() if body else None
        # Not `urlopen`: it would ask a proxy for a loopback address if the environment names one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, data, method=method), timeout=30) as response:
            content: bytes = response.read()
        return content

    def close(self) -> None:
        """End it, unless that was done."""
        if self._server.returncode is None:
            self._server.kill()
            self._server.communicate()
            self._folder.cleanup()
        local_hub.cache_clear()


@cache
def local_hub() -> Hub:
    """The one that all commands share."""
    return Hub()


def impatient() -> None:
    """Let the client and the pushes wait a fraction of the time before they try again."""
    sleep = time.sleep

    def shorter(seconds: float) -> None:
        sleep(seconds / 100)

    vars(time)["sleep"] = shorter
