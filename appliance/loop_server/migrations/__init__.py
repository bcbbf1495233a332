"""The schema's history, as Alembic steps: a new database walks all of them, an old one those that it lacks."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision` within the transaction of `connection`."""
    command.upgrade(config(connection), revision)


def config(connection: Connection) -> Config:
    """Alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made
