"""The app through its real interface: no file of the computer, no other computer, no path in an answer, and bounds."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest

from bioscan_hf.app import application
from bioscan_hf.app.application import build_app, launch
from tests.app.made_app import served_with_images
from tests.identification.made_library import specimens

FILE = {"meta": {"_type": "gradio.FileData"}}
GOOD = specimens("test", 1)["dna_barcode"][0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where uploads go; beside it is a secret."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "secret.fasta").write_text(f">SECRET\n{GOOD}\n")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        app = build_app(served_with_images())
        with patch.context() as small:
            small.setattr(application, "MAX_FILE_SIZE", "2mb")  # for a smaller upload than one of 50
            _, address, _ = launch(app, prevent_thread_lock=True, quiet=True)
        with httpx.Client(base_url=address.rstrip("/"), timeout=60, headers={"Connection": "close"}) as client:
            yield client
        app.close(verbose=False)


def answer(client: httpx.Client, *data: Any) -> str:
    """What `/identify` answers, as text."""
    asked = client.post("/gradio_api/call/identify", content=json.dumps({"data": data}), headers=JSON)
    asked.raise_for_status()
    return client.get(f"/gradio_api/call/identify/{asked.json()['event_id']}").text


JSON = {"Content-Type": "application/json"}


def upload(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    head = f'--X\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    form = {"Content-Type": "multipart/form-data; boundary=X"}
    return client.post("/gradio_api/upload", content=head + content + b"\r\n--X--\r\n", headers=form)


def uploaded(client: httpx.Client, name: str, content: bytes) -> dict[str, Any]:
    return {**FILE, "path": upload(client, name, content).json()[0], "orig_name": name}


def raw(client: httpx.Client, path: str) -> bytes:
    """An answer to a path as it stands, which clients would put right; or to the head of another request."""
    asked = path if path.startswith("POST") else f"GET {path} HTTP/1.1"
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(f"{asked}\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        parts = iter(lambda: connection.recv(1 << 16), b"")
        return b"".join(parts)


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[int, list[str]]]:
    """Another server on this computer, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


def test_it_listens_at_this_computer_only(client: httpx.Client) -> None:
    assert client.base_url.host == "127.0.0.1"
    assert answer(client, GOOD, None, None, 5.0).startswith("event: complete")


ROUTES = ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/svelte/", "/gradio_api/static/")
CLIMBS = ("..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e", "..%5c..", "....//")


def test_files_of_the_computer_are_not_given(client: httpx.Client, folder: Path) -> None:
    secret, package = str(folder / "secret.fasta"), str(Path(__file__).parents[2] / "setup.cfg")
    for route in ROUTES:
        for path in (secret, package, "/etc/passwd", f"file://{secret}", f"{secret}%00.png", "/proc/self/environ"):
            given = raw(client, route + path)
            assert not re.match(rb"HTTP/1\.1 [25]", given), (route, path, given[:200])
        for climb in CLIMBS:
            given = raw(client, f"{route}{'/'.join([climb] * 12)}/etc/passwd")
            assert b"root:" not in given and not re.match(rb"HTTP/1\.1 5", given), (route, climb)


def test_a_file_that_was_not_uploaded_is_not_read(client: httpx.Client, folder: Path) -> None:
    secret = str(folder / "secret.fasta")
    for given in (
        {**FILE, "path": secret},
        {**FILE, "path": "/etc/passwd", "orig_name": "q.fasta"},
        {**FILE, "path": f"{folder}/uploads/../secret.fasta"},
        {**FILE, "path": "secret.fasta", "url": f"file://{secret}"},
        {"path": secret},
        secret,
        [secret],
    ):
        for data in (("", given, None, 5.0), ("", None, [given], 5.0)):
            told = answer(client, *data)
            assert told.startswith("event: error") and "SECRET" not in told and "root:" not in told, told
            assert "Traceback" not in told


def test_no_answer_names_a_folder_of_the_computer(client: httpx.Client, folder: Path) -> None:
    here = [str(Path.cwd()), str(Path(__file__).parents[2]), str(folder), "site-packages", "Traceback"]
    told = [
        answer(client, "", {**FILE, "path": "x.fasta"}, None, 5.0),  # would be put behind the working directory
        answer(client, "", {"path": 5}, 5, "x"),
        answer(client, GOOD),
        answer(client, GOOD, None, None, {"a": 1}),
        answer(client, "", None, [uploaded(client, "a.svg", b"<svg/>")], 5.0),
        answer(client, "", uploaded(client, "a.parquet", b"PAR1"), None, 5.0),
        answer(client, "", uploaded(client, "a.fasta.gz", b"\x1f\x8b"), None, 5.0),
        client.get("/config").text,
        client.get("/gradio_api/info").text,
    ]
    assert not [(text[:300], place) for text in told for place in here if place in text]


def test_other_computers_are_not_asked(client: httpx.Client, listener: tuple[int, list[str]]) -> None:
    port, asked = listener
    address = f"http://127.0.0.1:{port}/a.fasta"
    for given in ({**FILE, "path": address}, {**FILE, "path": "a.fasta", "url": address}, address):
        answer(client, "", given, None, 5.0)
        answer(client, "", None, [given], 5.0)
    for route in ("/gradio_api/file=", "/file=", "/gradio_api/proxy=", "/proxy="):
        raw(client, route + address)
    assert not asked


@pytest.mark.parametrize(
    "name", ["../../../owned.fasta", "/owned.fasta", "..\\..\\owned.fasta", "..", "a\0b", "x" * 300]
)
def test_uploads_stay_in_their_folder(name: str, client: httpx.Client, folder: Path) -> None:
    before = {path for path in folder.rglob("*") if "uploads" not in path.parts}
    given = upload(client, name, b"x")
    assert given.status_code < 500
    if given.status_code == 200:
        assert Path(given.json()[0]).resolve().is_relative_to((folder / "uploads").resolve())
    assert {path for path in folder.rglob("*") if "uploads" not in path.parts} == before
    assert not list(Path.cwd().glob("owned*"))


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xml", "a.xhtml", "a"])
def test_uploads_are_not_shown_as_pages(name: str, client: httpx.Client) -> None:
    path = upload(client, name, b"<html><svg onload=alert(1)></svg><script>alert(1)</script></html>").json()[0]
    given = client.get(f"/gradio_api/file={path}")
    assert given.headers["content-disposition"].startswith("attachment")
    assert "html" not in given.headers["content-type"] and "svg" not in given.headers["content-type"]


def test_more_than_it_takes_is_told(client: httpx.Client) -> None:
    image = io.BytesIO()
    PIL.Image.new("1", (9000, 9000)).save(image, "PNG")
    photograph = uploaded(client, "a.png", image.getvalue())
    many = uploaded(client, "a.fasta.gz", gzip.compress(b">a\nACGT\n" * 2000, 1))
    bomb = uploaded(client, "b.fasta.gz", gzip.compress(b">a\n" + b"A" * 5_000_000, 1))
    for data, message in (
        (("A" * 4_000_001, None, None, 5.0), "4,000,001 letters, more than 4,000,000"),
        (("", many, None, 5.0), "more than 1,000 queries"),
        (("", bomb, None, 5.0), "more than 4,194,304 characters"),
        (("", None, [photograph], 5.0), "at most 67,108,864 pixels"),
    ):
        assert message in answer(client, *data)
    assert application.MAX_FILE_SIZE == "50mb" and upload(client, "a.fasta", b"A" * (3 << 20)).status_code == 413
    asked = f"POST /gradio_api/call/identify HTTP/1.1\r\nContent-Length: {201 << 20}\r\nContent-Type: application/json"
    assert raw(client, asked).startswith(b"HTTP/1.1 413")


def test_another_page_gets_no_answer(client: httpx.Client) -> None:
    given = client.get("/config", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in given.headers
