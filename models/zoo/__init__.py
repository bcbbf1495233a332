"""The seed model: what the box detects before it has ever met a Loop, and a photograph to try it with. Data, beside the
recipe that made it.
"""

from __future__ import annotations

from pathlib import Path

SEED_NAME = "detector-appliance"
SEED_ORGANIZATION = "detector-appliance"
SEED_PROJECT = "everyday-objects"
SEED_VERSION = "0.0"


def seed_folder() -> Path:
    """The seed model's bundle as it lies in this package; read only."""
    return Path(__file__).parent / "everyday_objects"


def photograph() -> Path:
    """A JPEG in which the seed model sees a cup, for whoever has no picture at hand; read only."""
    return Path(__file__).parent / "cup.jpg"
