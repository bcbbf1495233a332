"""The loop starts, says so, and keeps what it has."""

from __future__ import annotations

from pathlib import Path

from tests.service.running_loop import RunningLoop


def test_a_loop_starts_on_an_empty_folder_and_again_on_the_same_one(tmp_path: Path) -> None:
    for _ in range(2):
        with RunningLoop(tmp_path) as loop:
            answer = loop.http.get("/api/status")
            assert (answer.status_code, answer.json()) == (200, {"state": "online"})
