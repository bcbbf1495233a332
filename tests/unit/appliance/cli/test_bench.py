"""`appliance bench`: what it prints, and against what."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from appliance.cli import bench as module
from appliance.cli.load_test import Measured
from appliance.cli.server import Server
from models.zoo import seed_folder
from tests.support.small_bundles import make_bundle
from tests.unit.appliance.cli.conftest import SERVER, Shell

PLAIN = Measured(1, 100, 0, p50_ms=20.0, p99_ms=25.0, per_second=50.0, cpu_ms=40.0, client_cpu_ms=0.0)
ONE = Measured(1, 90, 0, p50_ms=22.0, p99_ms=30.0, per_second=45.0, cpu_ms=42.0, client_cpu_ms=1.0)
MANY = Measured(16, 180, 0, p50_ms=170.0, p99_ms=200.0, per_second=90.0, cpu_ms=44.0, client_cpu_ms=1.0)
WAYS = [
    {"runtime": "litert/cpu/2", "milliseconds": 27.4, "reason": None},
    {"runtime": "onnx/cpu/2", "milliseconds": 18.2, "reason": None},
    {"runtime": "litert/edgetpu/1", "milliseconds": None, "reason": "there is no Edge TPU"},
]
ABOUT: dict[str, Any] = {
    "model_info": {"version": "0.0", "model_root_path": str(seed_folder())},
    "runtime": "onnx/cpu/2",
    "ways": WAYS,
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is really measured; the servers that would have been asked."""
    asked: list[str] = []

    def clients(url: str, _picture: bytes, count: int, _seconds: float, _pid: int | None) -> Measured:
        asked.append(f"{url} by {count}")
        return ONE if count == 1 else MANY

    monkeypatch.setattr(module, "clients_against", clients)
    monkeypatch.setattr(module, "plain_loop", lambda look, _seconds: (look(), PLAIN)[1])
    return asked


def test_the_running_server_is_measured_and_told_beside_a_plain_loop(shell: Shell, measured: list[str]) -> None:
    shell.serve(lambda _: httpx.Response(200, json=ABOUT))
    lines = shell.ok("bench").splitlines()
    assert measured == [f"{SERVER} by 1", f"{SERVER} by 16"]
    assert [line.split()[0] for line in lines[2:5]] == [
        "onnx/cpu/2",
        "litert/cpu/2",
        "litert/edgetpu/1",
    ]  # fastest first
    assert "there is no Edge TPU" in lines[4]
    assert any(line.split() == ["16", "clients", "170.0", "200.0", "90.0", "44.0", "1.0"] for line in lines)
    assert any("p50 to the plain loop's" in line and line.endswith("1.10") for line in lines)


def test_json_holds_the_same_numbers(shell: Shell, measured: list[str]) -> None:
    shell.serve(lambda _: httpx.Response(200, json=ABOUT))
    result = json.loads(shell.ok("bench", "--json", "--clients", "4"))
    assert measured[1] == f"{SERVER} by 4"
    assert result["runtime"] == "onnx/cpu/2"
    assert result["many_clients"]["per_second"] == 90.0
    assert list(result["ratios"].values()) == [1.1, 1.05, 1.8, 1.1, 1.176]


def test_requests_that_failed_fail_the_benchmark(
    shell: Shell, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "clients_against", lambda *_: Measured(1, 9, 1, 1.0, 1.0, 1.0, None, 1.0))
    shell.serve(lambda _: httpx.Response(200, json=ABOUT))
    assert shell.run("bench").exit_code == 1


def test_a_server_without_a_model_cannot_be_measured(shell: Shell, measured: list[str]) -> None:
    shell.serve(lambda _: httpx.Response(200, json={"model_info": None}))
    assert "no model that could be measured" in shell.fails("bench")


def test_a_picture_that_is_not_there_is_told_before_anything_is_started(shell: Shell) -> None:
    assert "The picture x.jpg cannot be read" in shell.fails("bench", "--picture", "x.jpg")


def test_without_a_running_server_one_is_started_for_the_measurement_and_ended(
    shell: Shell, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []
    real = module._temporary

    @contextmanager
    def watched(place: Any, model: str | None) -> Iterator[Any]:
        with real(place, model) as target:
            yield target
        ended.append(not Server(target.server.url).is_ready())

    monkeypatch.setattr(module, "_temporary", watched)
    out = shell.ok("bench", "--model", "0.0", RUNTIME="litert/cpu/1", LOOP_HOST="loop.invalid")
    assert "run as litert/cpu/1" in out
    assert measured[0].endswith(" by 1")
    assert not shell.data.exists()
    assert ended == [True]


def test_a_model_that_does_not_work_is_not_measured_by_way_of_another(shell: Shell, measured: list[str]) -> None:
    make_bundle(shell.folder / "mine", "1.4")
    error = shell.fails("bench", "--model", "mine")
    assert "Model 1.4 does not serve. " in error
    assert "model.tflite" in error
    assert measured == []


def test_a_server_that_does_not_start_says_why(
    shell: Shell, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(module, "_free_port", lambda: taken.getsockname()[1])
        error = shell.fails("bench", RUNTIME="litert/cpu/1")
    assert "The server for the measurement did not start. " in error
    assert "address already in use" in error
