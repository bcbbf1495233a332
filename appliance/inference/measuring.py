"""The short-lived process that tries every way to run a model: `python -m appliance.inference.measuring ORDER`.

ORDER is JSON: `folder`, `cache`, `wanted`, `skip`. It prints a JSON line before it tries a way and one afterwards, so that
whoever started it knows which way it was that killed it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from models.bundle import open_bundle
from models.errors import DetectorApplianceError
from models.fastest import Measured, measure
from models.runtimes.base import Choice


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    order = json.loads(arguments[0])
    skip = [Choice.parse(text) for text in order["skip"]]
    try:
        bundle = open_bundle(Path(order["folder"]))
        for step in measure(bundle, Path(order["cache"]), order["wanted"], skip):
            if isinstance(step, Measured):
                _print({"tried": str(step.choice), "milliseconds": step.milliseconds, "reason": step.reason})
            else:
                _print({"trying": str(step)})
    except DetectorApplianceError as error:
        _print({"failed": type(error).__name__, "message": str(error)})
        return 1
    return 0


def _print(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
