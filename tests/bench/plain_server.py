"""The least that a server around the bare loop can be: what the single-client goals were set by. Run as a module.

A process that reads HTTP by hand and hands each JPEG through a pipe to one worker, which runs the bare loop's detector. It
checks nothing: no queue, no time-outs, no access, no other routes, one kind of request. What the appliance costs above it
is what its promises cost; what this costs above the bare loop is what two processes and a socket cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench.bare_loop import Detector

WIDTH, HEIGHT = 1920, 1080
"""Of the photograph: this server does not look."""


def work(pipe: Connection, bundle: Path, runtime: str) -> None:
    """The worker: JPEG in, detections out, until the pipe ends."""
    detector = Detector(bundle, runtime)
    while True:
        try:
            jpeg = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(json.dumps({"box_detections": detector.detect(jpeg, WIDTH, HEIGHT)}).encode())


async def serve(port: int, pipe: Connection) -> None:
    """Answer `POST` with a form of one file, whatever the path; one picture at a time."""
    one_at_a_time = asyncio.Lock()

    def infer(jpeg: bytes) -> bytes:
        pipe.send_bytes(jpeg)
        return pipe.recv_bytes()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if not head.startswith(b"post"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                jpeg = body[body.index(b"\r\n\r\n") + 4 : body.rindex(b"\r\n--")]
                async with one_at_a_time:
                    answer = await asyncio.to_thread(infer, jpeg)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", port, limit=1 << 20)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the arguments and serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder with model.json and weights")
    parser.add_argument("--runtime", default="litert/cpu/2", help="as for the bare loop")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=work, args=(theirs, arguments.bundle, arguments.runtime), daemon=True).start()
    asyncio.run(serve(arguments.port, ours))


if __name__ == "__main__":
    main()
