"""Projects and their categories."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from appliance.loop_server import categories, projects
from appliance.loop_server.categories import MAX_CATEGORIES, ChangedCategory, NewCategory
from appliance.loop_server.references import forget
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from models.wire.model_information import Category

NO_PROJECT: dict[int | str, dict[str, Any]] = {404: {"description": "No such project"}}


class ProjectItem(BaseModel):
    """One project in the list. `resource` is its path below `/api`."""

    organization_id: str
    project_id: str
    resource: str


class ProjectList(BaseModel):
    """Every project of the loop."""

    projects: list[ProjectItem]


class ProjectAnswer(ProjectItem):
    """A project: `images` says how many stand in each state."""

    created: str
    categories: list[Category]
    images: dict[str, int]


class NewProject(BaseModel):
    """Body of `POST /api/{organization}/projects`."""

    project_name: str
    categories: Annotated[list[NewCategory], Field(max_length=MAX_CATEGORIES)] = []


class CategoryList(BaseModel):
    """The categories of a project."""

    categories: list[Category]


def router(services: LoopServices) -> APIRouter:
    """`/api/projects`, `/api/{organization}/projects`, and a project itself."""
    routes = APIRouter(tags=["projects"], route_class=WholeBody)
    database = services.database

    @routes.get("/api/projects")
    async def list_projects() -> ProjectList:
        """Every project."""
        found = await database.read(projects.all_projects)
        return ProjectList(projects=[ProjectItem(**_item(project)) for project in found])

    @routes.post(
        "/api/{organization}/projects",
        responses={409: {"description": "There is one of that name"}, 422: {"description": "No name of a project"}},
    )
    async def create(organization: str, body: NewProject) -> ProjectAnswer:
        """Make a project, with categories or without. Its name becomes lower case.

        curl -H 'content-type: application/json' -d '{"project_name": "bolts", "categories": [{"name": "bolt"}]}' \
        http://localhost:8014/api/acme/projects
        """
        now = written(services.now())

        def make(connection: Connection) -> ProjectAnswer:
            made = projects.create(connection, organization, body.project_name, now)
            categories.add(connection, made.key, body.categories)
            return _answer(connection, made)

        return await database.write(make)

    @routes.get(PROJECT, responses=NO_PROJECT)
    async def show(organization: str, project: str) -> ProjectAnswer:
        """A project with its categories, and how many images stand where."""
        return await database.read(lambda db: _answer(db, projects.find(db, organization, project)))

    @routes.delete(PROJECT, responses=NO_PROJECT)
    async def remove(organization: str, project: str, keep_images: bool = False) -> dict[str, str]:
        """Delete a project with all that belongs to it; with `keep_images` the files of its pictures stay on the disk."""

        def delete(connection: Connection) -> list[str]:
            found = projects.find(connection, organization, project)
            return projects.remove(connection, found, keep_images=keep_images)

        await forget(database, services.blobs, await database.write(delete))
        return {}

    @routes.get(PROJECT + "/categories", responses=NO_PROJECT)
    async def list_categories(organization: str, project: str) -> CategoryList:
        """What annotations and detections can be of."""

        def ask(connection: Connection) -> list[Category]:
            return categories.all_categories(connection, projects.project_key(connection, organization, project))

        return CategoryList(categories=await database.read(ask))

    @routes.post(PROJECT + "/categories", responses={**NO_PROJECT, 409: {"description": "The name is taken"}})
    async def add_category(organization: str, project: str, body: NewCategory) -> Category:
        """Make a category; its id is a uuid by chance."""

        def add(connection: Connection) -> Category:
            key = projects.project_key(connection, organization, project)
            return categories.add(connection, key, [body])[0]

        return await database.write(add)

    @routes.put(
        PROJECT + "/categories/{category_id}", responses={**NO_PROJECT, 409: {"description": "The name is taken"}}
    )
    async def change_category(organization: str, project: str, category_id: str, body: ChangedCategory) -> Category:
        """Give a category another name, colour, …; what is left out stays."""

        def change(connection: Connection) -> Category:
            key = projects.project_key(connection, organization, project)
            return categories.change(connection, key, category_id, body)

        return await database.write(change)

    @routes.delete(
        PROJECT + "/categories/{category_id}", responses={**NO_PROJECT, 409: {"description": "Annotations are of it"}}
    )
    async def remove_category(organization: str, project: str, category_id: str) -> dict[str, str]:
        """Delete a category that no annotation is of."""

        def delete(connection: Connection) -> None:
            key = projects.project_key(connection, organization, project)
            categories.remove(connection, key, category_id)

        await database.write(delete)
        return {"id": category_id}

    return routes


def _item(project: projects.Project) -> dict[str, str]:
    return {
        "organization_id": project.organization,
        "project_id": project.project,
        "resource": project.resource,
    }


def _answer(connection: Connection, project: projects.Project) -> ProjectAnswer:
    return ProjectAnswer(
        **_item(project),
        created=project.created,
        categories=categories.all_categories(connection, project.key),
        images=projects.count_images(connection, project.key),
    )
