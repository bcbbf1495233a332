"""`kill -9` at moments by chance while pictures are saved and sent: what was acknowledged arrives, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.killing import run

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("times", "spoil"), [(20, False), (10, True)], ids=["index whole", "index spoiled"])
def test_every_acknowledged_picture_is_in_the_loop_once(tmp_path: Path, times: int, spoil: bool) -> None:
    outcome = run(tmp_path, times, spoil=spoil)

    assert len(outcome.acknowledged) > 5 * times, f"too little was sent to mean anything: {outcome}"
    assert outcome.unanswered > 0, f"no kill came in the middle of anything: {outcome}"
    assert not outcome.lost, str(outcome)
    assert not outcome.doubled, str(outcome)
