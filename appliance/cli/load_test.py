"""Measuring: how long pictures take, how many come through, and what they cost. Used by `appliance bench`."""

from __future__ import annotations

import http.client
import math
import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelFailed

WARM_UP = 5
"""Pictures of each client that do not count."""

ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True)
class Measured:
    """One run. `p50_ms` and `p99_ms` are of the time that one picture takes, from sending it to having the answer.

    `cpu_ms` is the processor time per picture of whoever looks (None where it cannot be told), `client_cpu_ms` that of
    whoever asks.
    """

    clients: int
    pictures: int
    failed: int
    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms: float | None
    client_cpu_ms: float


def quantile(times: Sequence[float], share: float) -> float:
    """The smallest of the times that at least this share (0..1) of them does not exceed."""
    ordered = sorted(times)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def plain_loop(look: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> Measured:
    """Call `look` again and again in this thread: what a script would reach that does nothing but detect."""
    for _ in range(WARM_UP):
        look()
    times: list[float] = []
    began, cpu = clock(), time.process_time()
    while not times or clock() - began < seconds:
        started = clock()
        look()
        times.append(clock() - started)
    lasted, spent = clock() - began, time.process_time() - cpu
    return _measured(1, times, len(times), 0, lasted, spent, 0.0)


def clients_against(url: str, picture: bytes, clients: int, seconds: float, server_pid: int | None) -> Measured:
    """So many clients that each send the picture to `POST /detect`, one after the other, for so many seconds.

    An answer other than 200, or none, is a failure and has no time. Raises `ModelFailed` where there are only such.
    """
    body, content_type = _form(picture)
    times: list[float] = []
    failures: list[str] = []
    ready, end = threading.Barrier(clients + 1), threading.Event()

    def client() -> None:
        host = url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=ANSWER_WITHIN_S)
        headers = {"content-type": content_type, "autoupload": "disabled"}
        try:
            for _ in range(WARM_UP):
                _send(connection, body, headers)
        except (OSError, http.client.HTTPException):
            connection.close()  # it is measured all the same, and fails then
        ready.wait()
        while not end.is_set():
            started = time.perf_counter()
            try:
                status = _send(connection, body, headers)
            except (OSError, http.client.HTTPException) as error:
                failures.append(str(error))
                connection.close()
                end.wait(0.1)
                continue
            if status == http.client.OK:
                times.append(time.perf_counter() - started)
            else:
                failures.append(str(status))
        connection.close()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(WARM_UP * ANSWER_WITHIN_S)
    except threading.BrokenBarrierError:
        raise ModelFailed("The server did not answer the first pictures in time.") from None
    began, own, theirs = time.perf_counter(), time.process_time(), tree_seconds(server_pid)
    end.wait(seconds)
    lasted, own, later = time.perf_counter() - began, time.process_time() - own, tree_seconds(server_pid)
    count = len(times)  # what is still under way counts for the times, but not for what came through
    end.set()
    for thread in threads:
        thread.join()
    if not count:
        why = failures[0] if failures else f"none came within {seconds:g} s"
        raise ModelFailed(f"The server answered no picture: {why}.")
    spent = None if theirs is None or later is None else later - theirs
    return _measured(clients, times, count, len(failures), lasted, spent, own)


def _send(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> int:
    connection.request("POST", "/detect", body, headers)
    response = connection.getresponse()
    response.read()
    return response.status


def _form(picture: bytes) -> tuple[bytes, str]:
    """A multipart form, made once: the clients shall cost little."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="picture"\r\n\r\n'
    return head.encode() + picture + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _measured(
    clients: int, times: list[float], count: int, failed: int, lasted: float, spent: float | None, own: float
) -> Measured:
    return Measured(
        clients=clients,
        pictures=count,
        failed=failed,
        p50_ms=1e3 * statistics.median(times),
        p99_ms=1e3 * quantile(times, 0.99),
        per_second=count / lasted,
        cpu_ms=None if spent is None else 1e3 * spent / count,
        client_cpu_ms=1e3 * own / count,
    )


def tree_seconds(pid: int | None, proc: Path = Path("/proc")) -> float | None:
    """Processor seconds that a process and all its descendants have used; None where the system does not tell."""
    if pid is None:
        return None
    found = dict(_processes(proc))
    if pid not in found:
        return None
    family, grown = {pid}, True
    while grown:
        more = {number for number, (parent, _) in found.items() if parent in family} - family
        family |= more
        grown = bool(more)
    total = sum(found[number][1] for number in family)
    return total / os.sysconf("SC_CLK_TCK")


def _processes(proc: Path) -> list[tuple[int, tuple[int, int]]]:
    """(pid, (parent, ticks of user and system time)) of every process; see proc(5)."""
    processes = []
    for folder in proc.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        processes.append((int(folder.name), (int(fields[1]), int(fields[11]) + int(fields[12]))))
    return processes
