"""One closed-loop HTTP client: sends a picture, waits for the answer, sends the next. Run as a script.

A raw socket and a request that is built once, so that the client costs next to nothing beside the server that it shares
the machine with. It waits for lines on standard input,

    {"port": 8004, "seconds": 10}      or      {"port": 8004, "count": 625}

(with `"autoupload": "all"` or another word for that header, and `"cameras": 4` for pictures of so many cameras in turn),
and answers each with one JSON line when it is through, or when a line `stop` comes:

    {"requests": [[start, end, version], ...], "failures": [[start, end, reason], ...], "cpu_seconds": 0.03}

Times are seconds of the monotonic clock, which all processes of a machine share. An answer counts as a failure if it is
not 200, or holds no detection.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

BOUNDARY = "a-line-that-no-picture-contains"
TIME_OUT = 60.0
AFTER_FAILURE = 0.05


def build_request(picture: bytes, port: int, autoupload: str | None = None, camera: str | None = None) -> bytes:
    """The bytes of POST /detect with `picture` as multipart form, and the headers for what else is given."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="photograph.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body = head + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    lines = (
        "POST /detect HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body)}",
        *([] if autoupload is None else [f"autoupload: {autoupload}"]),
        *([] if camera is None else [f"camera-id: {camera}"]),
        "\r\n",
    )
    return "\r\n".join(lines).encode() + body


def connect(port: int) -> socket.socket:
    """A connection that sends at once."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIME_OUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one HTTP answer that names its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received = received + receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    status = int(lines[0].split()[1])
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += receive(connection)
    return status, body


def receive(connection: socket.socket) -> bytes:
    """Whatever has come in."""
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


def version_of(body: bytes) -> str:
    """Text of the first `model_name` in an answer: the version of the model that gave it; empty if it has none."""
    _, found, rest = body.partition(b'"model_name"')
    return rest.split(b'"', 2)[1].decode() if found else ""


def told_to_stop() -> bool:
    """Whether a line waits on standard input; it is read away."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and bool(sys.stdin.readline())


def run(picture: bytes, task: dict[str, Any]) -> dict[str, Any]:
    """Send and wait until the task is fulfilled."""
    port = task["port"]
    cameras = [f"camera {number + 1}" for number in range(task["cameras"])] if "cameras" in task else [None]
    sent = cycle(build_request(picture, port, task.get("autoupload"), camera) for camera in cameras)
    requests: list[tuple[float, float, str]] = []
    failures: list[tuple[float, float, str]] = []
    connection: socket.socket | None = None
    cpu = time.process_time()
    end = time.monotonic() + task["seconds"] if "seconds" in task else float("inf")
    count = task.get("count", float("inf"))
    while time.monotonic() < end and len(requests) + len(failures) < count and not told_to_stop():
        start = time.monotonic()
        try:
            if connection is None:
                connection = connect(port)
            connection.sendall(next(sent))
            status, body = read_answer(connection)
            reason = None if status == 200 else f"{status} {body[:200].decode(errors='replace')}"
        except (OSError, ValueError, StopIteration) as error:
            reason = f"{type(error).__name__}: {error}"
            if connection is not None:
                connection.close()
                connection = None
        version = version_of(body) if reason is None else ""
        if reason is None and not version:
            reason = "the answer holds no detection"
        if reason is None:
            requests.append((start, time.monotonic(), version))
        else:
            failures.append((start, time.monotonic(), reason))
            time.sleep(AFTER_FAILURE)
    if connection is not None:
        connection.close()
    return {"requests": requests, "failures": failures, "cpu_seconds": time.process_time() - cpu}


def main() -> None:
    """Do one task after another until standard input ends."""
    picture = Path(sys.argv[1]).read_bytes()
    print(json.dumps({"ready": True}), flush=True)
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip() != "stop":
            print(json.dumps(run(picture, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
