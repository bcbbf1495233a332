"""`appliance version`."""

from __future__ import annotations

from importlib.metadata import version

from tests.unit.appliance.cli.conftest import Shell


def test_the_version_and_what_models_run_on(shell: Shell) -> None:
    lines = dict(line.split(maxsplit=1) for line in shell.ok("version").splitlines())
    assert lines["detector-appliance"] == version("detector-appliance")
    assert lines["numpy"] == version("numpy")
    assert lines["python"].startswith("3.")
