"""Projects in the database: found by organization and name, made, counted, deleted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from appliance.loop_server.tables import images, kept_pictures, model_files, projects
from models.errors import AlreadyInLoop, InvalidInput, NotInLoop

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

ROUTE_WORDS = frozenset({"generator"})
"""What stands in routes where the name of a project could stand."""

NOT_ORGANIZATIONS = frozenset({"users"})


@dataclass(frozen=True)
class Project:
    """One project. `key` is what other tables call it."""

    key: int
    organization: str
    project: str
    created: str

    @property
    def resource(self) -> str:
        """Its path below `/api`."""
        return f"/{self.organization}/projects/{self.project}"


def find(connection: Connection, organization: str, project: str) -> Project:
    """One project; its name is lower case, however it is asked for. Raises `NotInLoop`."""
    row = connection.execute(
        select(projects).where(projects.c.organization == organization, projects.c.project == project.lower())
    ).one_or_none()
    if row is None:
        raise NotInLoop(f"There is no project {organization[:60]}/{project[:60]} in this loop")
    return Project(row.id, row.organization, row.project, row.created)


def project_key(connection: Connection, organization: str, project: str) -> int:
    """The key of a project in the tables. Raises `NotInLoop`."""
    return find(connection, organization, project).key


def all_projects(connection: Connection) -> list[Project]:
    """Every project, by name."""
    rows = connection.execute(select(projects).order_by(projects.c.organization, projects.c.project)).all()
    return [Project(row.id, row.organization, row.project, row.created) for row in rows]


def create(connection: Connection, organization: str, project: str, now: str) -> Project:
    """Make an empty project. Raises `InvalidInput` for a name that is none, `AlreadyInLoop`."""
    for text, what, reserved in (
        (organization, "organization", NOT_ORGANIZATIONS),
        (project, "project", ROUTE_WORDS),
    ):
        if _NAME.fullmatch(text) is None or text.lower() in reserved:
            raise InvalidInput(
                f"{text[:80]!r} cannot be the name of a{'n' if what[0] == 'o' else ''} {what}: it takes up to 64 letters, "
                f"digits, '.', '_' and '-', begins with a letter or digit, and is none of {', '.join(sorted(reserved))}"
            )
    name = project.lower()
    if connection.execute(
        select(projects.c.id).where(projects.c.organization == organization, projects.c.project == name)
    ).first():
        raise AlreadyInLoop(f"There is a project {organization}/{name} already")
    connection.execute(insert(projects), {"organization": organization, "project": name, "created": now})
    return find(connection, organization, name)


def count_images(connection: Connection, key: int) -> dict[str, int]:
    """How many images stand in each state; states without any are left out."""
    rows = connection.execute(
        select(images.c.state, func.count()).where(images.c.project_id == key).group_by(images.c.state)
    )
    return {row[0]: row[1] for row in rows}


def remove(connection: Connection, project: Project, *, keep_images: bool) -> list[str]:
    """Delete a project with all that belongs to it; returns the sha256 of files that may be needed no more.

    With `keep_images` the files of its pictures stay where they are, and `kept_pictures` says what they were.
    """
    pictures = connection.execute(
        select(images.c.sha256, func.min(images.c.name).label("name"))
        .where(images.c.project_id == project.key)
        .group_by(images.c.sha256)
    ).all()
    zips: Sequence[str] = connection.scalars(
        select(model_files.c.sha256).where(model_files.c.project_id == project.key)
    ).all()
    connection.execute(delete(projects).where(projects.c.id == project.key))
    if not keep_images:
        return [*zips, *(row.sha256 for row in pictures)]
    known = set(connection.scalars(select(kept_pictures.c.sha256)))
    kept = [
        {"sha256": row.sha256, "organization": project.organization, "project": project.project, "name": row.name}
        for row in pictures
        if row.sha256 not in known
    ]
    if kept:
        connection.execute(insert(kept_pictures), kept)
    return list(zips)
