"""Processes that decide together: what each of two hears."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer_companion import job
from trainer_companion.team import Team

SCRIPT = """
import json, pathlib, sys
import torch
from trainer_companion.team import joined
with joined("cpu") as (team, device):
    mine = torch.tensor([float(team.rank), 10.0 - team.rank])
    heard = {
        "size": team.size, "local": [team.local_rank, team.local_size], "leads": team.leads,
        "gather": team.gather(team.rank), "share": team.share(f"of {team.rank}"), "least": team.least(5 - team.rank),
        "most": team.most(mine.clone()).tolist(), "mean": team.mean(mine.clone()).tolist(),
    }
    team.wait()
    pathlib.Path(sys.argv[1], f"{team.rank}.json").write_text(json.dumps(heard))
"""


def test_two_hear_the_same(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += [str(tmp_path / "script.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=200, env=job.environment(), capture_output=True)
    heard = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [each.pop("leads") for each in heard] == [True, False]
    assert [each.pop("local") for each in heard] == [[0, 2], [1, 2]]
    expected = {"size": 2, "gather": [0, 1], "share": "of 0", "least": 4, "most": [1.0, 10.0], "mean": [0.5, 9.5]}
    assert heard == [expected, expected]


def test_one_decides_alone() -> None:
    team = Team()
    assert team.leads
    assert team.gather("me") == ["me"]
    assert team.share("mine") == "mine"
    assert team.least(3) == 3
    assert team.mean(torch.tensor([2.0])).item() == pytest.approx(2.0)
    team.wait()
