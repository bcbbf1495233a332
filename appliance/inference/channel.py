"""Messages between the server and an inference worker: a small JSON header, and a picture as a file in memory.

The two ends of a sequenced-packet socket pair keep message boundaries. A picture travels as a memory file descriptor
beside its header: it is written once, mapped by the worker, and gone when both have closed it, however either of them
ends. So no message is ever larger than `MAX_HEADER`, and sending never has to wait for the other side to read.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
from collections.abc import Mapping
from typing import Any

MAX_HEADER = 64 * 1024
"""Bytes. A longer header (very many detections) goes into a memory file, too."""

_INLINE, _IN_MEMORY = b"H", b"M"

Payload = bytes | memoryview


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, header: Mapping[str, Any], payload: Payload | None = None) -> None:
    """Send one message. Raises OSError if the other end is gone or (BlockingIOError) does not read any more."""
    encoded = json.dumps(header, separators=(",", ":")).encode()
    kind = _INLINE
    if len(encoded) > MAX_HEADER:
        assert payload is None, "only answers have long headers, and answers carry no picture"
        encoded, payload, kind = b"", encoded, _IN_MEMORY
    if payload is None:
        channel.send(kind + encoded)
        return
    file = _memory_file(payload)
    try:
        socket.send_fds(channel, [kind + encoded], [file])
    finally:
        os.close(file)


def receive(channel: socket.socket) -> tuple[dict[str, Any], memoryview | None] | None:
    """The next message with its picture, mapped read-only; None when the other end is gone."""
    message, files, _, _ = socket.recv_fds(channel, MAX_HEADER + 1, 1)
    if not message:
        return None
    payload = _mapped(files[0]) if files else None
    if message[:1] == _IN_MEMORY:
        assert payload is not None
        return json.loads(bytes(payload)), None
    return json.loads(message[1:]), payload


def _memory_file(payload: Payload) -> int:
    file = os.memfd_create("picture", os.MFD_CLOEXEC)
    try:
        left = memoryview(payload).cast("B")
        while left:
            left = left[os.write(file, left) :]
    except BaseException:
        os.close(file)
        raise
    return file


def _mapped(file: int) -> memoryview:
    try:
        if os.fstat(file).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file, 0, prot=mmap.PROT_READ))
    finally:
        os.close(file)
