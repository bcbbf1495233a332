"""What the node remembers survives restarts and power cuts."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter_companion import state
from converter_companion.plan import Failure
from converter_companion.state import Memory

FAILURE = Failure(reason="The model is of another kind.", file="tag", circumstances="here", version="1.0", when=7.0)


def test_failures_are_there_after_a_restart_until_they_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "converter.json"
    memory = Memory(path)
    memory.load()
    memory.remember("a", FAILURE)
    again = Memory(path)
    again.load()
    assert again.failures == {"a": FAILURE}
    again.forget("a")
    again.forget("a", "b")
    memory.load()
    assert memory.failures == {}


def test_what_an_older_program_remembered_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "converter.json"
    path.write_text(
        '{"version": 1, "failures": {"a": {"reason": "The model is of another kind.", "file": "tag", '
        '"circumstances": "here", "version": "1.0", "when": 7.0}}}'
    )
    memory = Memory(path)
    memory.load()
    assert memory.failures == {"a": FAILURE}
    assert memory.failures["a"].applies


@pytest.mark.parametrize("content", [b"", b"{", b'{"failures": {"a": {"reason": 7}}}', b"\xff"])
def test_a_broken_file_costs_another_try_and_nothing_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "converter.json"
    path.write_bytes(content)
    memory = Memory(path)
    memory.load()
    assert memory.failures == {}
    memory.remember("a", FAILURE)
    memory.load()
    assert memory.failures == {"a": FAILURE}


def test_they_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_FAILURES", 3)
    memory = Memory(tmp_path / "converter.json")
    for number in range(5):
        memory.remember(str(number), FAILURE)
    assert list(memory.failures) == ["2", "3", "4"]
