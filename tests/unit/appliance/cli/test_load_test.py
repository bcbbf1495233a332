"""Numbers that `appliance bench` prints mean what they say."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.cli.load_test import WARM_UP, clients_against, plain_loop, quantile, tree_seconds
from models.errors import ModelFailed


class Clock:
    """Every look takes 20 ms, the tenth 50 ms."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0

    def __call__(self) -> float:
        return self.now

    def look(self) -> None:
        self.looks += 1
        self.now += 0.05 if self.looks == WARM_UP + 10 else 0.02


def test_a_plain_loop_counts_what_comes_after_the_warm_up() -> None:
    clock = Clock()
    measured = plain_loop(clock.look, 2.0, clock)
    assert measured.pictures == clock.looks - WARM_UP
    assert measured.p50_ms == pytest.approx(20)
    assert measured.p99_ms == pytest.approx(50)
    assert measured.per_second == pytest.approx(measured.pictures / (clock.now - WARM_UP * 0.02))


def test_a_loop_that_is_slower_than_its_time_runs_once() -> None:
    clock = Clock()
    assert plain_loop(clock.look, 0.0, clock).pictures == 1


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10), (0.0, 1)])
def test_a_quantile_is_one_of_the_times(share: float, expected: float) -> None:
    assert quantile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], share) == expected


@contextmanager
def serving(statuses: list[int]) -> Iterator[str]:
    """A server that answers with these statuses, then with the last of them for ever."""
    lock = threading.Lock()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert b"the picture" in body
            assert self.headers["autoupload"] == "disabled"
            with lock:
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_clients_ask_side_by_side_and_failures_are_counted_apart() -> None:
    with serving([*[200] * 2 * WARM_UP, 503, 503, 503, 200]) as url:
        measured = clients_against(url, b"the picture", 2, 0.3, os.getpid())
    assert measured.clients == 2
    assert measured.failed == 3
    assert measured.pictures > 3
    assert measured.cpu_ms is not None
    assert measured.per_second == pytest.approx(measured.pictures / 0.3, rel=0.5)


def test_a_server_that_answers_nothing_but_refusals_cannot_be_measured() -> None:
    with serving([503]) as url, pytest.raises(ModelFailed, match="answered no picture: 503"):
        clients_against(url, b"the picture", 1, 0.05, None)


def test_processor_time_is_that_of_a_process_and_all_below_it(tmp_path: Path) -> None:
    for pid, parent, ticks in ((1, 0, 900), (10, 1, 100), (11, 10, 20), (12, 11, 3), (13, 1, 5000)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        before = " ".join("0" for _ in range(9))
        (folder / "stat").write_text(f"{pid} (a (b) c) S {parent} {before} {ticks} {ticks} 0 0")
    assert tree_seconds(10, tmp_path) == pytest.approx(2 * 123 / os.sysconf("SC_CLK_TCK"))
    assert tree_seconds(99, tmp_path) is None
    assert tree_seconds(None, tmp_path) is None
