import importlib
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from bioscan_hf.app import application
from bioscan_hf.app import served as served_module
from tests.app.made_app import served
from tests.cli.test_program import run

# `bioscan_hf.cli.app` may name the program's object, too.
module = importlib.import_module("bioscan_hf.cli.app")


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What is asked to be served; a small library is, whatever it is."""
    calls: list[dict[str, Any]] = []

    def open_(library: str | None = None, **settings: Any) -> served_module.Served:
        calls.append({"library": library, **settings})
        return served()

    monkeypatch.setattr(served_module.Served, "open", open_)
    monkeypatch.chdir(tmp_path)
    return calls


def interrupted_when(monkeypatch: pytest.MonkeyPatch, check: Callable[[], Any]) -> None:
    """Press Ctrl-C once the app waits, after a look at it."""

    def wait() -> None:
        check()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_wait", wait)


def test_it_serves_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opened: list[dict[str, Any]]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"http://127.0.0.1:{port}/"
    pages: list[str] = []
    interrupted_when(monkeypatch, lambda: pages.append(urllib.request.urlopen(address).read().decode()))
    words = ["app", "--library", "lib", "--images", "photos", "--max-error", "0.05", "--port", port, "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    (settings,) = opened
    assert settings.pop("report") is not None
    assert settings == {"library": "lib", "images": "photos", "max_error": 0.05, "device": "cpu"}
    assert "gradio" in pages[0]
    shown = capsys.readouterr()
    assert shown.out.strip() == f"The app runs at {address} (Ctrl-C ends it)." and not shown.err
    with pytest.raises(OSError):
        urllib.request.urlopen(address)


def test_how_it_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[dict[str, Any]] = []

    def launch(app: gr.Blocks, **settings: Any) -> tuple[None, str, None]:
        launched.append(settings)
        return None, "http://127.0.0.1:7860/", None

    monkeypatch.setattr(application, "launch", launch)
    monkeypatch.setattr(application, "build_app", lambda served: gr.Blocks(analytics_enabled=False))
    interrupted_when(monkeypatch, lambda: None)
    assert run(monkeypatch, "app") == 0
    assert run(monkeypatch, "app", "--host", "0.0.0.0", "--share", "--open") == 0
    for settings, expected in zip(launched, [("127.0.0.1", False, False), ("0.0.0.0", True, True)], strict=True):
        assert (settings["server_name"], settings["share"], settings["inbrowser"]) == expected
        assert settings["server_port"] is None


def test_a_space(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bioscan_hf.app import space

    monkeypatch.setattr(space, "requires", lambda name: ["gradio>=6"])
    assert run(monkeypatch, "app", "--write-space", "my-space") == 0
    assert "cd my-space && hf upload me/my-space . --repo-type space" in capsys.readouterr().out
    assert (Path("my-space") / "app.py").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["app", "--port", "0"], 2, "--port"),
        (["app", "--port", "70000"], 2, "--port"),
        (["app", "--write-space", "."], 1, "is no Space that was written before"),
        (["app", "--library", "nothing", "--write-space", "s"], 1, "No such library: 'nothing'"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.txt").write_text("")
    assert run(monkeypatch, *words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("bioscan: ") and message in error and "\n" not in error


def test_a_port_in_use_is_told_before_the_library_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opened: list[dict[str, Any]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(monkeypatch, "app", "--port", str(port)) == 1
    assert capsys.readouterr().err.startswith(f"bioscan: Port {port} of 127.0.0.1 cannot be used") and not opened


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run(monkeypatch, "app") == 1
    assert "pip install '.[app]'" in capsys.readouterr().err
