"""The slot of a trainer built on learning-loop-node 0.27, told on standard input what to do with it. Run as a script.

The file is named by TRAINING_SLOT_LOCK, as the library reads it. Each line is `claim`, `look`, `wait` or `release`; each is
answered with a line of JSON: whether this slot is held, whether a sibling has it, and what the library said.
"""

# mypy: disable-error-code="import-not-found"
# The library is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import asyncio
import json
import sys

from learning_loop_node.trainer.exceptions import TrainingSlotTakenError
from learning_loop_node.trainer.training_slot import training_slot_from_env

TRAINING = "node upstream, training #5 of acme/cups"


def main() -> None:
    """Obey until standard input ends."""
    slot = training_slot_from_env()
    for line in sys.stdin:
        said = None
        try:
            if line.strip() == "claim":
                slot.claim(TRAINING)
            elif line.strip() == "wait":
                asyncio.run(slot.wait_for(TRAINING))
            elif line.strip() == "release":
                slot.release()
        except TrainingSlotTakenError as error:
            said = str(error)
        print(json.dumps({"held": slot.held, "taken": slot.taken_by_sibling, "said": said}), flush=True)


main()
