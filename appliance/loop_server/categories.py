"""Categories of a project: what an annotation or a detection can be of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import Connection, delete, func, insert, select, update

from appliance.loop_server.tables import categories, image_annotations, images
from models.errors import AlreadyInLoop, InvalidInput, LoopRefused, NotInLoop
from models.wire.model_information import Category, CategoryType

MAX_CATEGORIES = 10_000


def _name(text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable():
        raise ValueError("a name has at least one character, and all of them can be printed")
    return text


Name = Annotated[str, Field(max_length=255), AfterValidator(_name)]


class NewCategory(BaseModel):
    """A category that a person makes. `point_size` is in pixels."""

    name: Name
    type: CategoryType = "box"
    description: Annotated[str, Field(max_length=10_000)] | None = None
    hotkey: Annotated[str, Field(max_length=16)] | None = None
    color: Annotated[str, Field(max_length=32)] | None = None
    point_size: Annotated[int, Field(ge=1, le=10_000)] | None = None


class ChangedCategory(BaseModel):
    """What of a category shall be different; what is left out stays. The type stays, for annotations depend on it."""

    name: Name | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    hotkey: Annotated[str, Field(max_length=16)] | None = None
    color: Annotated[str, Field(max_length=32)] | None = None
    point_size: Annotated[int, Field(ge=1, le=10_000)] | None = None


_COLUMNS = [column for column in categories.c if column.name not in {"project_id", "position"}]


def all_categories(connection: Connection, project: int) -> list[Category]:
    """The categories of a project, in the order in which they were made."""
    rows = connection.execute(
        select(*_COLUMNS).where(categories.c.project_id == project).order_by(categories.c.position)
    )
    return [Category(**row._mapping) for row in rows]


def category(connection: Connection, project: int, category_id: str) -> Category:
    """One category. Raises `NotInLoop`."""
    row = connection.execute(
        select(*_COLUMNS).where(categories.c.project_id == project, categories.c.id == category_id)
    ).one_or_none()
    if row is None:
        raise NotInLoop(f"There is no category {category_id[:60]!r} in this project")
    return Category(**row._mapping)


def add(connection: Connection, project: int, new: Sequence[NewCategory]) -> list[Category]:
    """Make categories, with ids by chance. Raises `AlreadyInLoop` for a name that is taken, `InvalidInput`."""
    there = set(connection.scalars(select(categories.c.name).where(categories.c.project_id == project)))
    if len(there) + len(new) > MAX_CATEGORIES:
        raise InvalidInput(f"A project has at most {MAX_CATEGORIES} categories")
    last = connection.scalar(select(func.max(categories.c.position)).where(categories.c.project_id == project))
    position = 0 if last is None else last + 1
    made = []
    for number, each in enumerate(new):
        if each.name in there:
            raise AlreadyInLoop(f"There is a category {each.name!r} already; names are unique in a project")
        there.add(each.name)
        made.append({**each.model_dump(), "project_id": project, "id": str(uuid4()), "position": position + number})
    if made:
        connection.execute(insert(categories), made)
    return [category(connection, project, row["id"]) for row in made]


def change(connection: Connection, project: int, category_id: str, changes: ChangedCategory) -> Category:
    """Give a category another name, colour, …. Raises `NotInLoop`, `AlreadyInLoop` for a name that is taken."""
    before = category(connection, project, category_id)
    values = changes.model_dump(exclude_unset=True)
    name = values.setdefault("name", before.name) or before.name
    values["name"] = name
    taken = select(categories.c.id).where(
        categories.c.project_id == project, categories.c.name == name, categories.c.id != category_id
    )
    if connection.execute(taken).first():
        raise AlreadyInLoop(f"There is a category {name!r} already; names are unique in a project")
    here = (categories.c.project_id == project, categories.c.id == category_id)
    connection.execute(update(categories).where(*here).values(values))
    return category(connection, project, category_id)


def remove(connection: Connection, project: int, category_id: str) -> None:
    """Delete a category. Raises `NotInLoop`, and `LoopRefused` while annotations are of it."""
    found = category(connection, project, category_id)
    of_project = image_annotations.c.image_key.in_(select(images.c.key).where(images.c.project_id == project))
    used = connection.scalar(select(func.count()).where(image_annotations.c.category_id == category_id, of_project))
    if used:
        raise LoopRefused(
            f"{used} annotations are of category {found.name!r}: change them first, and then delete it", 409
        )
    connection.execute(delete(categories).where(categories.c.project_id == project, categories.c.id == category_id))


class Resolver:
    """Finds the category of the project that somebody means: by its id, else by its name."""

    def __init__(self, known: Sequence[Category]) -> None:
        self._by_id = {category.id: category for category in known}
        self._by_name = {category.name: category for category in known}

    @classmethod
    def of(cls, connection: Connection, project: int) -> Resolver:
        """That of a project as it is now."""
        return cls(all_categories(connection, project))

    def resolve(self, category_id: str | None, name: str) -> tuple[str | None, str]:
        """Id and name of the category; no id and the name as it is where the project has neither."""
        found = self._by_id.get(category_id or "") or self._by_name.get(name)
        return (None, name) if found is None else (found.id, found.name)

    def named(self, category_id: str | None, name: str) -> tuple[str | None, str]:
        """Id and present name of a category that was resolved before; no id where it has been deleted meanwhile."""
        found = self._by_id.get(category_id or "")
        return (None, name) if found is None else (found.id, found.name)
