"""Run by Alembic: the steps on the connection that `migrations.upgrade` has been given."""

from __future__ import annotations

from alembic import context

from appliance.loop_server.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter a table: it is made anew beside the old one.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()
