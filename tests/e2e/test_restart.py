"""A box that is asked to start anew: the same process, the same call, and nothing left behind."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.server_process import appliance_process

pytestmark = pytest.mark.slow


def uptime(client: httpx.Client) -> float | None:
    """Seconds since the program was started; None while it does not answer."""
    try:
        return float(client.get("/api/v1/system").json()["uptime"])
    except (httpx.TransportError, KeyError, ValueError):
        return None


def test_a_restore_that_was_cut_off_is_finished_before_the_box_starts(tmp_path: Path) -> None:
    staged = tmp_path / "data" / ".restore"
    (staged / "files").mkdir(parents=True)
    (staged / "files" / "settings.toml").write_text('node_name = "restored"\n')
    (staged / "decided").touch()
    process = appliance_process(tmp_path / "data", environment={"RUNTIME": "onnx/cpu/1"})
    process.start()
    try:
        process.wait_until("/readyz")
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", trust_env=False, timeout=30) as client:
            settings = {each["name"]: each["value"] for each in client.get("/api/v1/settings").json()}
        assert settings["node_name"] == "restored"
        assert not staged.exists()
        process.stop()
    finally:
        process.kill()


def test_a_box_starts_anew_under_its_own_number(tmp_path: Path) -> None:
    process = appliance_process(tmp_path / "data", environment={"RUNTIME": "onnx/cpu/1", "NODE_NAME": "robot-7"})
    process.start()
    try:
        process.wait_until("/readyz")
        workers = psutil.Process(process.pid).children(recursive=True)
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", trust_env=False, timeout=30) as client:
            before = uptime(client)
            assert before is not None
            asked = time.monotonic()
            assert client.post("/api/v1/restart").status_code == 202
            while (now := uptime(client)) is None or now >= before + (time.monotonic() - asked) / 2:
                assert time.monotonic() - asked < 60, process.log_text()
                time.sleep(0.1)
            process.wait_until("/readyz")
            settings = {each["name"]: each["value"] for each in client.get("/api/v1/settings").json()}
        assert settings["node_name"] == "robot-7", "called as before"
        assert not [worker for worker in workers if worker.is_running()], "nothing of before is left"
        process.stop()
    finally:
        process.kill()
