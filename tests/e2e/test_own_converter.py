"""What the README tells people to type for a pair of formats of their own, with real processes and the usual pauses."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.circle import wait_for
from tests.e2e.server_process import ServerProcess, free_port, loop_process
from tests.support.sample_packages import installed_into

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parents[1] / "samples" / "own_converter"
WITHIN_S = 60.0


def test_within_a_minute_a_model_is_listed_with_the_other_format_too(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    installed_into(site, SAMPLE)
    loop = loop_process(tmp_path / "loop")
    port = free_port()
    loop_address = f"http://127.0.0.1:{loop.port}"
    command = [sys.executable, "-m", "converter_companion", "serve", "--loop", loop_address, "--port", str(port)]
    converter = ServerProcess(
        [*command, "--data-dir", str(tmp_path / "converter"), "--pairs", "format_a:format_b"],
        port=port,
        log=tmp_path / "converter.log",
        environment={"PYTHONPATH": str(site)},
    )
    with httpx.Client(base_url=f"{loop_address}/api/acme", trust_env=False) as http:

        def models(model_format: str) -> list[dict[str, Any]]:
            return list(
                http.get("projects/demo/models", params={"format": model_format}).raise_for_status().json()["models"]
            )

        try:
            loop.start()
            loop.wait_until("/api/status")
            http.post("projects", json={"project_name": "demo"}).raise_for_status()
            http.post("projects/demo/format_a", files={"files": ("my_model.zip", a_model())}).raise_for_status()
            assert models("format_b") == []

            converter.start()
            [listed] = wait_for("format_b", lambda: models("format_b"), WITHIN_S)
            assert sorted(listed["formats"]) == ["format_a", "format_b"]
            assert [each["id"] for each in models("format_a")] == [listed["id"]]
            data = http.get(f"projects/demo/models/{listed['id']}/format_b/file").raise_for_status().content
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                assert archive.read("greeting.txt") == b"HELLO"
            converter.wait_until("/healthz")
            converter.stop()
            loop.stop()
        finally:
            converter.kill()
            loop.kill()
    assert "Traceback" not in converter.log_text(), converter.log_text()


def a_model() -> bytes:
    """A zip as people make them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("model.json", json.dumps({"own": 7}))
        archive.writestr("greeting.txt", "hello")
    return made.getvalue()
