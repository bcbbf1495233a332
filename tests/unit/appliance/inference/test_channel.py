"""Messages between server and worker: whole, in order, and without a file descriptor left behind."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.inference import channel
from models.errors import Overloaded

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = channel.pair()
    with ours, theirs:
        yield ours, theirs


def received(end: socket.socket) -> tuple[dict[str, Any], bytes | None]:
    message = channel.receive(end)
    assert message is not None
    header, payload = message
    return header, None if payload is None else bytes(payload)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_picture_comes_with_its_header(ends: Ends) -> None:
    picture = os.urandom(100_000)
    channel.send(ends[0], {"id": 7}, picture)
    assert received(ends[1]) == ({"id": 7}, picture)


def test_messages_keep_their_boundaries_and_their_order(ends: Ends) -> None:
    for number in range(20):
        channel.send(ends[0], {"id": number}, bytes([number]) * number)
    assert [received(ends[1]) for _ in range(20)] == [({"id": n}, bytes([n]) * n) for n in range(20)]


def test_a_message_may_come_without_a_picture(ends: Ends) -> None:
    channel.send(ends[0], {"ready": {"choice": "litert/cpu/2"}})
    assert received(ends[1]) == ({"ready": {"choice": "litert/cpu/2"}}, None)


def test_a_picture_of_no_bytes_is_a_picture(ends: Ends) -> None:
    channel.send(ends[0], {"id": 1}, b"")
    assert received(ends[1]) == ({"id": 1}, b"")


def test_an_array_travels_as_it_lies_in_memory(ends: Ends) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    channel.send(ends[0], {"id": 1}, array.data)
    assert received(ends[1]) == ({"id": 1}, array.tobytes())


def test_the_largest_picture_that_a_robot_may_send(ends: Ends) -> None:
    """64 MiB, far beyond what a socket buffers: sending must not wait for the other side to read."""
    picture = bytes(64 * 2**20)
    channel.send(ends[0], {"id": 1}, picture)
    assert received(ends[1]) == ({"id": 1}, picture)


@pytest.mark.parametrize("size", [channel.MAX_HEADER - 100, channel.MAX_HEADER + 100, 10 * channel.MAX_HEADER])
def test_an_answer_with_very_many_detections(ends: Ends, size: int) -> None:
    answer = {"id": 3, "detections": "x" * size}
    channel.send(ends[0], answer)
    assert received(ends[1]) == (answer, None)


def test_text_of_every_script_comes_through(ends: Ends) -> None:
    channel.send(ends[0], {"name": "Schräubchen 螺丝 🔩"})
    assert received(ends[1])[0] == {"name": "Schräubchen 螺丝 🔩"}


def test_a_picture_cannot_be_changed_by_who_received_it(ends: Ends) -> None:
    channel.send(ends[0], {"id": 1}, b"picture")
    message = channel.receive(ends[1])
    assert message is not None
    assert message[1] is not None
    assert message[1].readonly


def test_what_was_sent_before_the_end_still_comes(ends: Ends) -> None:
    channel.send(ends[0], {"id": 1}, b"last")
    ends[0].close()
    assert received(ends[1]) == ({"id": 1}, b"last")
    assert channel.receive(ends[1]) is None


def test_nobody_is_there_to_send_to(ends: Ends) -> None:
    ends[1].close()
    with pytest.raises(OSError, match="Broken pipe"):
        channel.send(ends[0], {"id": 1}, b"picture")


def test_nothing_has_come_yet(ends: Ends) -> None:
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        channel.receive(ends[1])


def test_who_never_reads_is_noticed(ends: Ends) -> None:
    ends[0].setblocking(False)

    def send_on() -> None:
        for number in range(100_000):
            channel.send(ends[0], {"id": number}, b"picture")

    with pytest.raises(BlockingIOError):
        send_on()


def test_no_file_stays_open(ends: Ends) -> None:
    before = open_files()
    for number in range(1000):
        channel.send(ends[0], {"id": number}, b"picture" * 1000)
        received(ends[1])
        channel.send(ends[1], {"id": number, "detections": "x" * (2 * channel.MAX_HEADER)})
        received(ends[0])
    assert open_files() == before


def test_no_file_stays_open_where_nobody_receives(ends: Ends) -> None:
    ends[1].close()
    before = open_files()
    for _ in range(100):
        with pytest.raises(OSError, match="Broken pipe"):
            channel.send(ends[0], {"id": 1}, b"picture")
    assert open_files() == before


def test_a_box_without_free_file_descriptors_says_so(ends: Ends) -> None:
    with (
        no_more_files(),
        pytest.raises(Overloaded, match=r"no room in memory for this picture \(Too many open files\)"),
    ):
        channel.send(ends[0], {"id": 1}, b"picture")
    channel.send(ends[0], {"id": 2}, b"picture")
    assert received(ends[1])[0] == {"id": 2}  # the channel still works, and the first one was not sent


@contextmanager
def no_more_files() -> Iterator[None]:
    """No file can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
