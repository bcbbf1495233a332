"""`appliance version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from appliance.cli.table import table

LIBRARIES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "numpy")
"""What decides how models run; a report of a fault should say which it was."""


@click.command()
def version() -> None:
    """Show the version of this program and of what models run on.

    \b
    appliance version
    """
    rows = [("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    for name in LIBRARIES:
        try:
            rows.append((name, installed(name)))
        except PackageNotFoundError:
            continue  # one runtime of the two is enough
    click.echo(table(("detector-appliance", installed("detector-appliance")), rows))
