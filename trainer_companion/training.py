"""The subprocess that trains: `python -m trainer_companion.training JOB_FOLDER`, or the same under torchrun.

It prints what `trainer_companion.progress` describes on standard output, and whatever a library says on standard error.
Exit status 0 after `done`, 1 after `failed`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import cv2
import torch

from models.errors import DetectorApplianceError, StorageRefused
from trainer_companion import hyperparameters, job
from trainer_companion.memory import AgainWithLess
from trainer_companion.progress import Failed, Warned, say
from trainer_companion.recipes import Session, dataset_for, recipe_of
from trainer_companion.stopping import Stopping, told_to_end
from trainer_companion.team import joined

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def run(folder: Path) -> None:
    """Train what is in the folder. Raises what the recipe raises."""
    asked = job.read(folder)
    recipe = recipe_of(asked)
    given = hyperparameters.parse(recipe.hyperparameters, asked.hyperparameters)
    stopping = Stopping(_sooner(asked.minutes, given.minutes))
    with told_to_end(stopping.request), joined(asked.device) as (team, device):
        found = dataset_for(recipe, asked.dataset, given)
        session = Session(asked, folder, found, given, team, device, stopping)
        for remark in found.remarks:
            session.say(Warned(message=remark))
        done = recipe.train(session)
        session.say(done)


def _sooner(*minutes: float | None) -> float | None:
    return min((each for each in minutes if each is not None), default=None)


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, however that comes about.

    torchrun gives its workers sessions of their own. Where it is killed they would train on, beside those that are
    started next and on the same files.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def main() -> int:
    """See the module."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m trainer_companion.training JOB_FOLDER\n")
        return 2
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(max(1, threads))
    cv2.setNumThreads(1)
    try:
        run(Path(sys.argv[1]))
    except AgainWithLess as error:
        say(Failed(message=str(error), again=True))  # whichever process it was: the others only lost their partner
        return 1
    except StorageRefused as error:
        say(Failed(message=str(error), later=True))  # on whichever machine the disk is
        return 1
    except DetectorApplianceError as error:
        if int(os.environ.get("RANK", "0")) == 0:
            say(Failed(message=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
