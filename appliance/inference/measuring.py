"""The short-lived process that tries every way to run a model: started with the file descriptor of its channel.

It is told `folder`, `cache`, `wanted` and `skip`. It says what it tries before it does so, so that whoever started it knows
which way it was that killed it, then what came of it, and at last that it is done.
"""

from __future__ import annotations

import sys
from pathlib import Path

from appliance.inference import channel
from models.bundle import open_bundle
from models.errors import DetectorApplianceError
from models.fastest import Measured, measure
from models.runtimes.base import Choice


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    ours = channel.in_child(arguments)
    received = channel.receive(ours)
    if received is None:
        return 0
    order, _ = received
    skip = [Choice.parse(text) for text in order["skip"]]
    try:
        bundle = open_bundle(Path(order["folder"]))
        for step in measure(bundle, Path(order["cache"]), order["wanted"], skip):
            if isinstance(step, Measured):
                channel.send(
                    ours, {"tried": str(step.choice), "milliseconds": step.milliseconds, "reason": step.reason}
                )
            else:
                channel.send(ours, {"trying": str(step)})
    except DetectorApplianceError as error:
        channel.send(ours, {"failed": type(error).__name__, "message": str(error)})
        return 1
    channel.send(ours, {"done": True})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
