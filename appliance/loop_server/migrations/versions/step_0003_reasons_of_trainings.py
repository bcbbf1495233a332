"""Trainings say why they failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """One step up."""
    with op.batch_alter_table("trainings") as batch_op:
        batch_op.add_column(sa.Column("reason", sa.Text(), nullable=True, comment="why it failed or was refused"))
