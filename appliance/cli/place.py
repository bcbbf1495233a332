"""What every command needs: the settings in force, the data folder, and the server that runs on it, if one does."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from appliance import logs
from appliance.cli.server import Server
from appliance.lock import running_server
from appliance.settings import Settings, load_settings
from models.errors import DetectorApplianceError

T = TypeVar("T")


@dataclass(frozen=True)
class Surroundings:
    """What a command line is run in. `transport` replaces the network (in tests)."""

    environ: Mapping[str, str]
    working_directory: Path
    transport: httpx.BaseTransport | None = None


@dataclass(frozen=True)
class Place:
    """Where a command works, as its options --data-dir and --config say."""

    surroundings: Surroundings
    data_dir: Path | None = None
    config: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings in force; what is odd about them is said on stderr. Raises `SettingsInvalid`."""
        settings = self.load()
        for warning in settings.warnings:
            click.echo(f"Warning: {warning}", err=True)
        return settings

    def load(self) -> Settings:
        """Read the settings once more."""
        return load_settings(
            environ=self.surroundings.environ,
            config=self.config,
            data_dir=self.data_dir,
            working_directory=self.surroundings.working_directory,
            overrides=self.overrides,
        )

    def overriding(self, **values: Any) -> Place:
        """The same with options that are settings (field=value, None where one was not given)."""
        return Place(self.surroundings, self.data_dir, self.config, {**self.overrides, **values})

    def server(self) -> Server | None:
        """The server that runs on the data folder, or None. Raises `SettingsInvalid` where that cannot be told."""
        url = running_server(self.settings.data_folder)
        return None if url is None else Server(url, self.surroundings.transport)


def with_place(command: Callable[..., T]) -> Callable[..., T]:
    """Add the options that all commands have, and hand over the `Place` that they describe as the first argument.

    An error of ours ends the command with its sentence; with --debug it ends with the traceback.
    """

    @click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Where models, pictures and state are kept.",
    )
    @click.option(
        "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Settings as a TOML file."
    )
    @click.option("--debug", is_flag=True, help="Show where an error comes from.")
    @functools.wraps(command)
    def wrapped(*args: Any, data_dir: Path | None, config: Path | None, debug: bool, **options: Any) -> T:
        logs.configure("DEBUG" if debug else "WARNING", "text", sys.stderr)
        surroundings = click.get_current_context().find_object(Surroundings)
        assert surroundings is not None  # `main` sees to it
        try:
            return command(*args, Place(surroundings, data_dir, config), **options)
        except DetectorApplianceError as error:
            if debug:
                raise
            raise click.ClickException(str(error)) from error

    return wrapped
