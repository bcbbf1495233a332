"""A Loop that takes every request and keeps nothing: answers 200 when the body is there, after `--delay` seconds.

Bare asyncio, so that it costs what a server at least does. Says on which port it listens, then answers each line on its
standard input with what it got since the line before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import ClassVar

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Sink(asyncio.Protocol):
    """One connection."""

    got: ClassVar[dict[str, int]] = {"requests": 0, "bytes": 0}
    delay = 0.0

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.got["bytes"] += len(data)
        if self._left == 0:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self._left, data, self._head = int(length.partition(b":")[2]), rest, b""
        self._left -= len(data)
        if self._left == 0:
            self.got["requests"] += 1
            asyncio.get_running_loop().call_later(self.delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


async def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    Sink.delay = parser.parse_args().delay
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0)
    print(json.dumps({"ready": True, "port": server.sockets[0].getsockname()[1]}), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps({**Sink.got, "cpu_seconds": time.process_time()}), flush=True)
        Sink.got.update(requests=0, bytes=0)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
