"""The local Hub as a pytest fixture, and a handle with which tests use, watch and disturb it."""

from __future__ import annotations

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
    clients: Clients | None = None

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

    def run(
        self, source: str, home: Path, *args: str, token: bool = True, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python source in such a subprocess, in the folder `home`.

        It is a fork of one that has imported the libraries, if there is one. Clients read `HF_ENDPOINT` when they are
        imported, so what has no `endpoint` argument (`from_pretrained`, `load_dataset`, cards) cannot use the Hub from
        the test's own process.

        Args:
            source: Program text; it may be indented as a whole.
            home: Folder for caches and results, one per imagined computer.
            args: Become `sys.argv[1:]`.
            token: Whether the program is logged in.
            check: Whether it must succeed.

        Raises:
            AssertionError: If the program fails and must not; the message is what it wrote to stderr.
        """
        if self.clients:
            result = self.clients.run(source, home, *args, token=token)
        else:
            command = [sys.executable, "-c", textwrap.dedent(source), *args]
            env = self.env(home, token=token)
            result = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=300)
        if check and result.returncode:
            raise AssertionError(f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def fail(self, method: str, path: str, **fault: Any) -> None:
        """Let coming requests fail, until the end of the test at most.

        Args:
            method: HTTP method; a `HEAD` is not a `GET`; any if empty.
            path: Regular expression sought in the path.
            fault: The other fields of `faults.Fault`: by default, the next one is answered by the status 500.
        """
        self._control("POST", "/_faults", {"method": method, "path": path, **fault})

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


class Clients:
    """Programs that start without importing the libraries anew; see `clients.py`.

    The libraries read `HF_HOME` when they are imported. It is a link here, which leads to the home of each program.

    Args:
        hub: What they use.
        folder: Empty; takes the link, and what programs write.
    """

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self._hub, self._home, self._outputs = hub, folder / "home", (folder / "stdout", folder / "stderr")
        command = [sys.executable, "-m", "tests.hub_server.clients"]
        env = hub.env(self._home, token=False)
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, source: str, home: Path, *args: str, token: bool) -> subprocess.CompletedProcess[str]:
        """As `LocalHub.run`, whatever the exit status.

        Raises:
            RuntimeError: If the process that forks is gone.
        """
        self._home.unlink(missing_ok=True)
        self._home.symlink_to(home)
        for path in self._outputs:
            path.unlink(missing_ok=True)
        stdout, stderr = map(str, self._outputs)
        env = self._hub.env(self._home, token=token)
        asked = {"source": source, "args": args, "cwd": str(home), "env": env, "stdout": stdout, "stderr": stderr}
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError("the process that starts clients is gone; its error is on stderr")
        return subprocess.CompletedProcess(source, int(answer), *(path.read_text() for path in self._outputs))

    def close(self) -> None:
        """End the process that forks."""
        self._server.kill()
        self._server.communicate()


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """Serve an empty Hub from a process of its own."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as homes:
        command = [sys.executable, "-m", "tests.hub_server", folder]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
            clients = None
            try:
                url = server.stdout.readline().strip() if server.stdout else ""
                if not url:
                    raise RuntimeError("the local Hub did not start; its error is on stderr")
                clients = Clients(LocalHub(url), Path(homes))
                yield LocalHub(url, clients=clients)
            finally:
                if clients:
                    clients.close()
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
