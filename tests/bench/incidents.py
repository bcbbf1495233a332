"""What may happen to a serving box: the model is swapped, the worker dies, thousands of pictures pass, it starts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.zoo import SEED_VERSION, seed_folder
from tests.bench.goals import Goal
from tests.bench.load import Clients
from tests.bench.measures import Sample, percentile
from tests.bench.processes import cpu_seconds, memory, wait_for_other_worker, workers
from tests.e2e.server_process import ServerProcess, appliance_process

CLIENTS = 8
OTHER_VERSION = "0.1"
SWAP_SECONDS = 120.0
WORKER_SECONDS = 60.0


@dataclass
class Incident:
    """What a scenario has shown: goals, and everything else worth keeping."""

    goals: list[Goal]
    details: dict[str, Any] = field(default_factory=dict)


def second_version(folder: Path) -> Path:
    """A zip of the seed model under another version and id, for a swap that changes nothing but the version."""
    path = folder / "second_version.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        for file in sorted(seed_folder().iterdir()):
            if file.name == "model.json":
                description = json.loads(file.read_text())
                description |= {"version": OTHER_VERSION, "id": "00000000-0000-4000-8000-000000000001"}
                bundle.writestr(file.name, json.dumps(description))
            else:
                bundle.write(file, file.name)
    return path


def add_model(data_folder: Path, bundle: Path) -> None:
    """`appliance models add ZIP` for this data folder. Raises CalledProcessError."""
    command = [sys.executable, "-m", "appliance", "models", "add", str(bundle), "--data-dir", str(data_folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def swap(clients: Clients, server: ServerProcess, times: int, before_seconds: float) -> Incident:
    """Swap between two versions `times` times under load. The second version must be on the box."""
    before = clients.load(CLIENTS, server.port, server.pid, seconds=before_seconds)
    took: list[float] = []
    with clients.loading(CLIENTS, server.port, server.pid) as load:
        for number in range(times):
            version = OTHER_VERSION if number % 2 == 0 else SEED_VERSION
            took.append(_use(server.port, version))
            time.sleep(1.0)
    during = load.sample
    assert during is not None
    answered = sorted({answer.version for answer in during.answers})
    longest = max(during.milliseconds, default=float("nan"))
    return Incident(
        [
            Goal(f"swapping the model under {CLIENTS} clients: failures", len(during.failures), "≤", 0, ""),
            Goal(
                f"swapping the model under {CLIENTS} clients: slowest request against p99 before",
                longest / before.p99,
                "≤",
                3,
                "x",
                f"{longest:.0f} ms against {before.p99:.0f} ms; {times} swaps, {max(took):.1f} s the longest",
            ),
            Goal("swapping the model: versions that answered", len(answered), "≥", 2, "", ", ".join(answered)),
        ],
        {"before": before.as_json(), "during": during.as_json(), "seconds_per_swap": took},
    )


def kill_workers(clients: Clients, server: ServerProcess, times: int) -> Incident:
    """`kill -9` the inference worker `times` times under load."""
    kills: list[float] = []
    with clients.loading(CLIENTS, server.port, server.pid) as load:
        time.sleep(2.0)
        for _ in range(times):
            worker = workers(server.pid)[0]
            kills.append(time.monotonic())
            os.kill(worker, signal.SIGKILL)
            wait_for_other_worker(server.pid, worker, WORKER_SECONDS)
            time.sleep(4.0)
    sample = load.sample
    assert sample is not None
    back = [_first_answer_after(sample, kill) for kill in kills]
    return Incident(
        [
            Goal(
                f"kill -9 of the worker, {times} times: failures",
                len(sample.failures),
                "≤",
                0,
                "",
            ),
            Goal(
                "kill -9 of the worker: seconds until a request sent after it is answered, the longest",
                max(back),
                "≤",
                3,
                "s",
                f"median {percentile(back, 50):.2f} s; slowest request {max(sample.milliseconds) / 1000:.2f} s",
            ),
        ],
        {"during": sample.as_json(), "seconds_until_back": back},
    )


def memory_over_time(clients: Clients, server: ServerProcess, first: int, last: int) -> Incident:
    """Memory after `first` and after `last` pictures, the dashboard having been opened."""
    dashboard = _status(server.port, "/")
    early = clients.load(CLIENTS, server.port, server.pid, pictures=first)
    time.sleep(2.0)
    at_first = memory(server.pid)
    idle = cpu_seconds(server.pid)
    time.sleep(5.0)
    idle = (cpu_seconds(server.pid) - idle) / 5.0 * 100
    late = clients.load(CLIENTS, server.port, server.pid, pictures=last - first)
    time.sleep(2.0)
    at_last = memory(server.pid)
    detail = f"PSS {at_last.pss:.0f} MiB; RSS after {first}: {at_first.rss:.0f} MiB; GET / answered {dashboard}"
    return Incident(
        [
            Goal(f"resident memory of server and worker after {last} pictures", at_last.rss, "≤", 290, "MiB", detail),
            Goal(
                f"memory after {last} pictures against after {first}",
                at_last.rss / at_first.rss,
                "≤",
                1.05,
                "x",
                f"PSS {at_first.pss:.0f} to {at_last.pss:.0f} MiB",
            ),
        ],
        {
            "after_first": vars(at_first),
            "after_last": vars(at_last),
            "idle_cpu_percent_of_a_core": idle,
            "failures": [*early.failures, *late.failures],
        },
    )


def start(picture: Path, folder: Path, times: int, detect_once: Callable[[ServerProcess, Path], float]) -> Incident:
    """From the start of the process to the first detection, in a new data folder and in one that is known."""
    new: list[float] = []
    known: list[float] = []
    for number in range(times):
        data_folder = folder / f"start-{number}"
        for seconds in (new, known):
            server = appliance_process(data_folder)
            try:
                server.start()
                seconds.append(detect_once(server, picture))
            finally:
                server.kill()
    return Incident(
        [
            Goal("start to first detection, new data folder", percentile(new, 50), "≤", 4, "s", _range(new)),
            Goal("start to first detection, later start", percentile(known, 50), "≤", 4, "s", _range(known)),
        ],
        {"new": new, "known": known},
    )


def seconds_to_first_detection(server: ServerProcess, picture: Path) -> float:
    """Seconds from the start of the process to the first answer with detections. Raises TimeoutError."""
    boundary = "a-line-that-no-picture-contains"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="p.jpg"\r\n\r\n'.encode()
    body = head + picture.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    while time.monotonic() < server.started_at + 60:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request("POST", "/detect", body, headers)
            answer = connection.getresponse()
            if answer.status == 200 and json.loads(answer.read())["box_detections"]:
                return time.monotonic() - server.started_at
        except (OSError, http.client.HTTPException):
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(0.02)
    raise TimeoutError(f"No detection within 60 s of the start.\n{server.log_text()}")


def _first_answer_after(sample: Sample, moment: float) -> float:
    """Seconds from `moment` to the end of the first answer to a request that was sent after it."""
    ends = [answer.end for answer in sample.answers if answer.start > moment]
    return min(ends) - moment if ends else float("nan")


def _use(port: int, version: str) -> float:
    """Have the box use `version`; seconds until it says that it does. Raises RuntimeError or TimeoutError."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SWAP_SECONDS)
    connection.request("PUT", "/model_version", version)
    answer = connection.getresponse()
    said = answer.read().decode()
    if answer.status != 200:
        raise RuntimeError(f"PUT /model_version {version} was answered with {answer.status}: {said}")
    while time.monotonic() < began + SWAP_SECONDS:
        connection.request("GET", "/model_version")
        if json.loads(connection.getresponse().read())["current_version"] == version:
            connection.close()
            return time.monotonic() - began
        time.sleep(0.1)
    raise TimeoutError(f"Version {version} was not in use after {SWAP_SECONDS:.0f} s.")


def _status(port: int, path: str) -> int:
    """Status of GET `path`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def _range(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f} s in {len(seconds)} starts"
