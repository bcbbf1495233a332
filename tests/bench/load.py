"""Many clients, each a process of its own, told together what to do. Those that are not needed idle."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.children import LineProcess
from tests.bench.measures import Answer, Sample
from tests.bench.processes import cpu_seconds, worker_cpu_seconds

SCRIPT = Path(__file__).with_name("client.py")


@dataclass
class Running:
    """A load that is under way; `sample` is there once it has ended."""

    began: float
    sample: Sample | None = None


class Clients:
    """`count` closed-loop clients that send the same picture."""

    def __init__(self, count: int, picture: Path, folder: Path, stack: ExitStack) -> None:
        command = [sys.executable, "-I", "-S", str(SCRIPT), str(picture)]
        log = folder / "clients.log"
        self._clients = [stack.enter_context(LineProcess(command, log)) for _ in range(count)]
        for client in self._clients:
            client.hear()

    def load(
        self,
        count: int,
        port: int,
        pid: int,
        *,
        seconds: float | None = None,
        pictures: int | None = None,
        autoupload: str | None = None,
        cameras: int | None = None,
    ) -> Sample:
        """Let `count` clients load the server `pid` on `port` for `seconds`, or for `pictures` requests in all.

        `autoupload` is the header of that name, left out where it is None; `cameras` are so many camera ids in turn.
        """
        task: dict[str, Any] = {"port": port}
        if cameras is not None:
            task["cameras"] = cameras
        if autoupload is not None:
            task["autoupload"] = autoupload
        if seconds is not None:
            task["seconds"] = seconds
        if pictures is not None:
            task["count"] = -(-pictures // count)
        with self._started(count, task, pid) as running:
            pass
        assert running.sample is not None
        return running.sample

    @contextmanager
    def loading(self, count: int, port: int, pid: int) -> Iterator[Running]:
        """Load the server as long as the block lasts. The sample is there after it."""
        with self._started(count, {"port": port}, pid) as running:
            try:
                yield running
            finally:
                for client in self._clients[:count]:
                    client.tell("stop")

    @contextmanager
    def _started(self, count: int, task: dict[str, Any], pid: int) -> Iterator[Running]:
        clients = self._clients[:count]
        cpu, worker_cpu = cpu_seconds(pid), worker_cpu_seconds(pid)
        running = Running(began=time.monotonic())
        for client in clients:
            client.tell(task)
        yield running
        told = [client.hear() for client in clients]
        cpu, worker_cpu = cpu_seconds(pid) - cpu, worker_cpu_seconds(pid) - worker_cpu
        answers = sorted(
            (Answer(*request) for one in told for request in one["requests"]), key=lambda answer: answer.end
        )
        running.sample = Sample(
            milliseconds=[answer.milliseconds for answer in answers],
            seconds=(answers[-1].end if answers else time.monotonic()) - running.began,
            cpu_seconds=cpu,
            worker_cpu_seconds=max(worker_cpu, 0.0),
            clients_cpu_seconds=sum(one["cpu_seconds"] for one in told),
            failures=[reason for one in told for _, _, reason in one["failures"]],
            answers=answers,
        )
