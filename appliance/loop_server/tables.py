"""What the embedded loop remembers, as tables of SQLAlchemy Core, for SQLite and PostgreSQL alike.

Pictures and zips are no part of it: they lie in `blobs`, named by their sha256. Times are ISO 8601 text in UTC, which
sorts as it should. A change here needs a step in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Constraints have names, so that migrations can name them on every database."""

STATES = ("backlog", "inbox", "annotate", "review", "complete", "trash")
"""Where an image stands on its way to be trained with."""

SETS = ("train", "test", "val")


def written(moment: datetime) -> str:
    """A time as the tables hold it: UTC, microseconds, always of the same length."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


class SenderText(TypeDecorator[str]):
    """Text of any length as a stranger sent it. NUL is left out: PostgreSQL cannot hold it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """See SQLAlchemy."""
        del dialect
        return None if value is None else value.replace("\0", "")


def _project() -> Column[int]:
    return Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False)


def _project_in_key() -> Column[int]:
    return Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True, autoincrement=False)


users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False, comment="admin or user"),
    Column("created", String(40), nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("project", String(64), nullable=False, comment="lower case"),
    Column("created", String(40), nullable=False),
    UniqueConstraint("organization", "project"),
)

categories = Table(
    "categories",
    metadata,
    _project_in_key(),
    Column("id", String(36), primary_key=True, comment="uuid"),
    Column("position", Integer, nullable=False, comment="order within the project"),
    Column("name", String(255), nullable=False),
    Column("type", String(16), nullable=False),
    Column("description", Text),
    Column("hotkey", String(16)),
    Column("color", String(32)),
    Column("point_size", Integer),
    UniqueConstraint("project_id", "name"),
)

images = Table(
    "images",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, comment="in order of arrival"),
    _project(),
    Column("id", String(36), nullable=False, comment="uuid"),
    Column("name", SenderText, nullable=False, comment="as the sender calls it; not unique"),
    Column("sha256", String(64), nullable=False, index=True),
    Column("size", BigInteger, nullable=False, comment="bytes"),
    Column("format", String(8), nullable=False, comment="jpeg, png or webp"),
    Column("width", Integer, nullable=False, comment="pixels, as displayed"),
    Column("height", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("set", String(8), nullable=False),
    Column("created", SenderText, comment="as the sender wrote it"),
    Column("received", String(40), nullable=False),
    Column("source", SenderText),
    Column("tags", JSON, nullable=False),
    Column("extras", JSON, nullable=False, comment="what else the sender said of it"),
    Column("novelty_score", Float),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "name", "sha256"),
    Index(None, "project_id", "state", "key"),
)

image_detections = Table(
    "detections",
    metadata,
    Column("image_key", ForeignKey("images.key", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("model_version", SenderText, primary_key=True, comment="what its detections call model_name"),
    Column("found", JSON, nullable=False, comment="the four lists of the wire"),
    Column("received", String(40), nullable=False),
)

image_annotations = Table(
    "annotations",
    metadata,
    Column("image_key", ForeignKey("images.key", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("id", SenderText, primary_key=True),
    Column("kind", String(16), nullable=False, comment="box, point, segmentation or classification"),
    Column("position", Integer, nullable=False, comment="order within the image"),
    Column("category_id", String(36), index=True, comment="null: no category of the project has that name"),
    Column("category_name", SenderText, nullable=False),
    Column("geometry", JSON, nullable=False, comment="x, y, width, height; x, y; shape; or nothing"),
)

kept_pictures = Table(
    "kept_pictures",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("organization", String(64), nullable=False),
    Column("project", String(64), nullable=False),
    Column("name", SenderText, nullable=False),
    comment="pictures of projects that were deleted with keep_images",
)

models = Table(
    "models",
    metadata,
    _project_in_key(),
    Column("id", String(36), primary_key=True, comment="uuid"),
    Column("version", String(32), comment="null: not published"),
    Column("created", String(40), nullable=False),
    Column("comment", Text),
    Column("categories", JSON, nullable=False, comment="in the order of the model's outputs"),
    Column("resolution", Integer, comment="pixels of the larger side"),
    Column("training_number", Integer, comment="null: was uploaded as a zip"),
    Column("base_model_id", String(36)),
    Column("extras", JSON, nullable=False, comment="what else model.json said"),
    Column("deleted", String(40), comment="its number stays taken: devices may still have it"),
    UniqueConstraint("project_id", "version"),
)

model_files = Table(
    "model_files",
    metadata,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("model_id", String(36), primary_key=True),
    Column("format", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False, index=True),
    Column("size", BigInteger, nullable=False, comment="bytes of the zip"),
    Column("created", String(40), nullable=False),
    ForeignKeyConstraint(["project_id", "model_id"], ["models.project_id", "models.id"], ondelete="CASCADE"),
)

deployment_targets = Table(
    "deployment_targets",
    metadata,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("model_id", String(36), nullable=False),
    Column("since", String(40), nullable=False),
    ForeignKeyConstraint(["project_id", "model_id"], ["models.project_id", "models.id"], ondelete="CASCADE"),
)

detectors = Table(
    "detectors",
    metadata,
    _project_in_key(),
    Column("uuid", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("status", JSON, nullable=False, comment="as it came"),
    Column("seen", String(40), nullable=False),
)

trainings = Table(
    "trainings",
    metadata,
    _project_in_key(),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="from 1, per project"),
    Column("created", String(40), nullable=False),
    Column("state", String(32), nullable=False),
    Column("trainer_id", String(64)),
    Column("base_model_id", String(36)),
    Column("details", JSON, nullable=False, comment="as begin_training carries them"),
    Column("ended", String(40)),
    Column("reason", Text, comment="why it failed or was refused"),
)

training_metrics = Table(
    "training_metrics",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("project_id", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("received", String(40), nullable=False),
    Column("model_id", String(36)),
    Column("metrics", JSON, nullable=False, comment="TrainingOut as it came"),
    ForeignKeyConstraint(["project_id", "number"], ["trainings.project_id", "trainings.number"], ondelete="CASCADE"),
    Index(None, "project_id", "number", "key"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("kind", String(32), primary_key=True, comment="trainer, annotation_node, ..."),
    Column("id", String(64), primary_key=True),
    Column("organization", String(64)),
    Column("project", String(64)),
    Column("status", JSON, nullable=False, comment="the last one that it sent"),
    Column("seen", String(40), nullable=False),
)
