"""Models that were deleted keep their number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One step up."""
    with op.batch_alter_table("models") as batch_op:
        batch_op.add_column(
            sa.Column(
                "deleted",
                sa.String(length=40),
                nullable=True,
                comment="its number stays taken: devices may still have it",
            )
        )
