"""Messages between the server and an inference worker: a small JSON header, and a picture as a file in memory.

The two ends of a sequenced-packet socket pair keep message boundaries. A picture travels as a memory file descriptor
beside its header: it is written once, mapped by the worker, and gone when both have closed it, however either of them
ends. So no message is ever larger than `MAX_HEADER`, and sending never has to wait for the other side to read.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import socket
import threading
from collections.abc import Mapping
from typing import Any

from models.errors import Overloaded

MAX_HEADER = 64 * 1024
"""Bytes. A longer header (very many detections) goes into a memory file, too."""

_INLINE, _IN_MEMORY = b"H", b"M"

Payload = bytes | memoryview


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, header: Mapping[str, Any], payload: Payload | None = None) -> None:
    """Send one message. Raises OSError if the other end is gone or (BlockingIOError) does not read any more.

    Raises `Overloaded` where there is no memory (or no file descriptor) for the picture; then nothing was sent.
    """
    encoded = json.dumps(header, separators=(",", ":")).encode()
    kind = _INLINE
    if len(encoded) > MAX_HEADER:
        assert payload is None, "only answers have long headers, and answers carry no picture"
        encoded, payload, kind = b"", encoded, _IN_MEMORY
    if payload is None:
        channel.send(kind + encoded)
        return
    try:
        file = _memory_file(payload)
    except OSError as error:
        raise Overloaded(
            f"The box has no room in memory for this picture ({error.strerror}); try again soon"
        ) from error
    try:
        socket.send_fds(channel, [kind + encoded], [file])
    finally:
        os.close(file)


def send_with_file(channel: socket.socket, header: Mapping[str, Any], file: int) -> None:
    """Send a short message and an open file beside it. Raises OSError as `send` does."""
    socket.send_fds(channel, [_INLINE + json.dumps(header, separators=(",", ":")).encode()], [file])


def receive_with_file(channel: socket.socket) -> tuple[dict[str, Any], memoryview] | None:
    """What `send_with_file` has sent, the file mapped read-only, without touching its pages; None at the end."""
    message, files, _, _ = socket.recv_fds(channel, MAX_HEADER + 1, 1)
    return (json.loads(message[1:]), _mapped(files[0], populate=False)) if message else None


def receive(channel: socket.socket) -> tuple[dict[str, Any], memoryview | None] | None:
    """The next message with its picture, mapped read-only; None when the other end is gone.

    Raises BlockingIOError where the channel does not block and nothing has come.
    """
    message, files, _, _ = socket.recv_fds(channel, MAX_HEADER + 1, 1)
    if not message:
        return None
    payload = _mapped(files[0]) if files else None
    if message[:1] == _IN_MEMORY:
        assert payload is not None
        return json.loads(bytes(payload)), None
    return json.loads(message[1:]), payload


def in_child(arguments: list[str]) -> socket.socket:
    """The end of a child process that was started with the number of its file descriptor.

    From now on the child ends when the server does (or hangs up), and not otherwise: Ctrl-C in a terminal and a service
    manager's SIGTERM reach it too, but the server decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = socket.socket(fileno=int(arguments[0]))
    channel.set_inheritable(False)
    _exit_on_hangup(channel)
    return channel


def _exit_on_hangup(channel: socket.socket) -> None:
    """Even from within a library that loads a model for minutes."""

    def wait() -> None:
        hangup = select.poll()
        hangup.register(channel, 0)  # that is always told
        hangup.poll()
        os._exit(0)

    threading.Thread(target=wait, name="ends with the server", daemon=True).start()


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


def _mapped(file: int, *, populate: bool = True) -> memoryview:
    try:
        if os.fstat(file).st_size == 0:
            return memoryview(b"")
        # All pages at once: they are there, and each would cost a fault of its own.
        flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if populate else 0)
        return memoryview(mmap.mmap(file, 0, flags=flags, prot=mmap.PROT_READ))
    finally:
        os.close(file)
