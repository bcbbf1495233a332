"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """One step up."""

    op.create_table(
        "kept_pictures",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_kept_pictures")),
        comment="pictures of projects that were deleted with keep_images",
    )
    op.create_table(
        "nodes",
        sa.Column("kind", sa.String(length=32), nullable=False, comment="trainer, annotation_node, ..."),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=True),
        sa.Column("project", sa.String(length=64), nullable=True),
        sa.Column("status", sa.JSON(), nullable=False, comment="the last one that it sent"),
        sa.Column("seen", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_nodes")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False, comment="lower case"),
        sa.Column("created", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("organization", "project", name=op.f("uq_projects_organization_project")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False, comment="admin or user"),
        sa.Column("created", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "categories",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False, comment="uuid"),
        sa.Column("position", sa.Integer(), nullable=False, comment="order within the project"),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("hotkey", sa.String(length=16), nullable=True),
        sa.Column("color", sa.String(length=32), nullable=True),
        sa.Column("point_size", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_categories_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "id", name=op.f("pk_categories")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_categories_project_id_name")),
    )
    op.create_table(
        "detectors",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.JSON(), nullable=False, comment="as it came"),
        sa.Column("seen", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_detectors_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "uuid", name=op.f("pk_detectors")),
    )
    op.create_table(
        "images",
        sa.Column(
            "key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="in order of arrival"
        ),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False, comment="uuid"),
        sa.Column("name", sa.Text(), nullable=False, comment="as the sender calls it; not unique"),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes"),
        sa.Column("format", sa.String(length=8), nullable=False, comment="jpeg, png or webp"),
        sa.Column("width", sa.Integer(), nullable=False, comment="pixels, as displayed"),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("set", sa.String(length=8), nullable=False),
        sa.Column("created", sa.Text(), nullable=True, comment="as the sender wrote it"),
        sa.Column("received", sa.String(length=40), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("extras", sa.JSON(), nullable=False, comment="what else the sender said of it"),
        sa.Column("novelty_score", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_images_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_images")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_images_project_id_id")),
        sa.UniqueConstraint("project_id", "name", "sha256", name=op.f("uq_images_project_id_name_sha256")),
    )
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_images_project_id_state_key"), ["project_id", "state", "key"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_images_sha256"), ["sha256"], unique=False)

    op.create_table(
        "models",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False, comment="uuid"),
        sa.Column("version", sa.String(length=32), nullable=True, comment="null: not published"),
        sa.Column("created", sa.String(length=40), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("categories", sa.JSON(), nullable=False, comment="in the order of the model's outputs"),
        sa.Column("resolution", sa.Integer(), nullable=True, comment="pixels of the larger side"),
        sa.Column("training_number", sa.Integer(), nullable=True, comment="null: was uploaded as a zip"),
        sa.Column("base_model_id", sa.String(length=36), nullable=True),
        sa.Column("extras", sa.JSON(), nullable=False, comment="what else model.json said"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_models_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "id", name=op.f("pk_models")),
        sa.UniqueConstraint("project_id", "version", name=op.f("uq_models_project_id_version")),
    )
    op.create_table(
        "trainings",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False, comment="from 1, per project"),
        sa.Column("created", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("trainer_id", sa.String(length=64), nullable=True),
        sa.Column("base_model_id", sa.String(length=36), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False, comment="as begin_training carries them"),
        sa.Column("ended", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_trainings_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "number", name=op.f("pk_trainings")),
    )
    op.create_table(
        "annotations",
        sa.Column(
            "image_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="box, point, segmentation or classification"),
        sa.Column("position", sa.Integer(), nullable=False, comment="order within the image"),
        sa.Column(
            "category_id", sa.String(length=36), nullable=True, comment="null: no category of the project has that name"
        ),
        sa.Column("category_name", sa.Text(), nullable=False),
        sa.Column("geometry", sa.JSON(), nullable=False, comment="x, y, width, height; x, y; shape; or nothing"),
        sa.ForeignKeyConstraint(
            ["image_key"], ["images.key"], name=op.f("fk_annotations_image_key_images"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_key", "id", name=op.f("pk_annotations")),
    )
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_annotations_category_id"), ["category_id"], unique=False)

    op.create_table(
        "deployment_targets",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("since", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "model_id"],
            ["models.project_id", "models.id"],
            name=op.f("fk_deployment_targets_project_id_model_id_models"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_deployment_targets")),
    )
    op.create_table(
        "detections",
        sa.Column(
            "image_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("model_version", sa.Text(), nullable=False, comment="what its detections call model_name"),
        sa.Column("found", sa.JSON(), nullable=False, comment="the four lists of the wire"),
        sa.Column("received", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_key"], ["images.key"], name=op.f("fk_detections_image_key_images"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_key", "model_version", name=op.f("pk_detections")),
    )
    op.create_table(
        "model_files",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("format", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes of the zip"),
        sa.Column("created", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "model_id"],
            ["models.project_id", "models.id"],
            name=op.f("fk_model_files_project_id_model_id_models"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "model_id", "format", name=op.f("pk_model_files")),
    )
    with op.batch_alter_table("model_files", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_files_sha256"), ["sha256"], unique=False)

    op.create_table(
        "training_metrics",
        sa.Column("key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("received", sa.String(length=40), nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False, comment="TrainingOut as it came"),
        sa.ForeignKeyConstraint(
            ["project_id", "number"],
            ["trainings.project_id", "trainings.number"],
            name=op.f("fk_training_metrics_project_id_number_trainings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_training_metrics")),
    )
    with op.batch_alter_table("training_metrics", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_training_metrics_project_id_number_key"), ["project_id", "number", "key"], unique=False
        )
