"""Weights from a hub: fetched once, kept, and a sentence where they are not to be had. The hub here is a server of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from trainer_companion.hub import NotReached, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = save({"some.weight": torch.arange(6.0).reshape(2, 3)})


class Hub(ThreadingHTTPServer):
    """Hands out one file of one repository, as the hub does, and counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *arguments: object) -> None: ...

    def _answer(self, *, with_body: bool) -> None:
        assert isinstance(self.server, Hub)
        self.server.asked.append(f"{self.command} {self.path}")
        is_torn = self.path == "/somebody/torn/resolve/main/model.safetensors"
        is_there = is_torn or self.path == "/somebody/d-fine/resolve/main/model.safetensors"
        self.send_response(200 if is_there else 404)
        if is_there:
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(FILE) if is_there else 0))
        self.end_headers()
        if is_there and with_body:
            self.wfile.write(FILE[:40] if is_torn else FILE)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_weights_are_fetched_once_and_then_asked_of_nobody(hub: Hub, tmp_path: Path) -> None:
    path = fetch("somebody/d-fine", endpoint=hub.url, cache=tmp_path)
    assert path.read_bytes() == FILE
    asked = len(hub.asked)
    assert fetch("somebody/d-fine", endpoint=hub.url, cache=tmp_path) == path
    assert len(hub.asked) == asked


def test_what_the_hub_does_not_have_is_a_sentence(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotReached, match="somebody/other was not to be had"):
        fetch("somebody/other", endpoint=hub.url, cache=tmp_path)


def test_a_download_that_breaks_off_is_a_sentence_and_leaves_nothing_behind(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotReached, match="somebody/torn was not to be had"):
        fetch("somebody/torn", endpoint=hub.url, cache=tmp_path)
    assert list(tmp_path.rglob("*.safetensors")) == []
