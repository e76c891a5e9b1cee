"""The local Hub as a pytest fixture, and a handle with which tests use, watch and disturb it."""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

ROOT = Path(__file__).parents[2]
FOREIGN = ("HF_", "HUGGING", "TRANSFORMERS_")  # settings of the caller that a subprocess must not inherit


@dataclass(frozen=True)
class LocalHub:
    """A running local Hub; `token` may write for the user `tester` and the organisation `bioscan-ml`."""

    url: str
    token: str = "hf_test"

    def api(self, token: str | bool | None = None) -> HfApi:
        """Return a client for this process; pass False for an anonymous one."""
        return HfApi(endpoint=self.url, token=self.token if token is None else token)

    def env(self, home: Path, *, token: bool = True) -> dict[str, str]:
        """Return the environment of a subprocess that uses this Hub, with its caches below `home`."""
        settings = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "huggingface"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if token:
            settings["HF_TOKEN"] = self.token
        return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | settings

    def run(self, source: str, home: Path, *args: str, token: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Python source in such a subprocess, in the folder `home`.

        Clients read `HF_ENDPOINT` when they are imported, so what has no `endpoint` argument
        (`from_pretrained`, `load_dataset`, cards) cannot use the Hub from the test's own process.

        Args:
            source: Program text; it may be indented as a whole.
            home: Folder for caches and results, one per imagined computer.
            args: Become `sys.argv[1:]`.
            token: Whether the program is logged in.

        Raises:
            AssertionError: If the program fails; the message is what it wrote to stderr.
        """
        command = [sys.executable, "-c", textwrap.dedent(source), *args]
        env = self.env(home, token=token)
        result = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=300)
        if result.returncode:
            raise AssertionError(f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def fail(
        self, method: str, path: str, *, status: int = 500, times: int = 1, after: int = 0, cut: bool = False
    ) -> None:
        """Let coming requests fail, until the end of the test at most.

        Args:
            method: HTTP method; a `HEAD` is not a `GET`.
            path: Regular expression sought in the path.
            status: What is answered instead.
            times: How many requests fail.
            after: How many matching requests succeed first.
            cut: Carry the request out, but close the connection halfway through the answer.
        """
        fault = {"method": method, "path": path, "status": status, "times": times, "after": after, "cut": cut}
        self._control("POST", "/_faults", fault)

    def heal(self) -> None:
        """Forget all faults that have not struck yet."""
        self._control("DELETE", "/_faults")

    def requests(self, path: str = "") -> list[dict[str, Any]]:
        """Return `method`, `path` and `status` of all requests whose path matches, oldest first."""
        log: list[dict[str, Any]] = json.loads(self._control("GET", "/_requests"))
        return [entry for entry in log if re.search(path, entry["path"])]

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = json.dumps(body).encode() if body else None
        # Not `urlopen`: it would ask a proxy for a loopback address if the environment names one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, data, method=method), timeout=30) as response:
            content: bytes = response.read()
        return content


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """Serve an empty Hub from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.hub_server", folder]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().strip() if server.stdout else ""
                if not url:
                    raise RuntimeError("the local Hub did not start; its error is on stderr")
                yield LocalHub(url)
            finally:
                server.kill()


@pytest.fixture(scope="session")
def hub() -> Iterator[LocalHub]:
    """Serve one Hub to all tests of the session: use repository names that no other test uses."""
    with pytest.MonkeyPatch.context() as patch, local_hub() as served:
        # The environment variable of this name is read at import, which is too early to set it here.
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield served


@pytest.fixture(autouse=True)
def _no_fault_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    hub = request.getfixturevalue("hub") if "hub" in request.fixturenames else None
    yield
    if hub:
        hub.heal()
