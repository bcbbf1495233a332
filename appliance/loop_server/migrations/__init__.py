"""The schema's history, as Alembic steps: a new database walks all of them, an old one those that it lacks."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from models.errors import SettingsInvalid


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision` within the transaction of `connection`.

    Raises `SettingsInvalid` for a schema that is newer than this program.
    """
    try:
        command.upgrade(config(connection), revision)
    except CommandError as error:
        raise SettingsInvalid(
            f"The loop's database cannot be brought up to date: {error}. If a newer version of this program has used it, "
            "run that one."
        ) from error


def config(connection: Connection) -> Config:
    """Alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made
