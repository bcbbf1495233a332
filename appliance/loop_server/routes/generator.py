"""Projects to a measure, for the tests of nodes; only in a loop that was started with `--test-data`."""

from __future__ import annotations

from fastapi import APIRouter

from appliance.loop_server import test_data
from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices


def router(services: LoopServices) -> APIRouter:
    """`POST /api/{organization}/projects/generator`; no route at all where there shall be no test data."""
    routes = APIRouter(prefix="/api/{organization}/projects", route_class=WholeBody, tags=["test data"])
    if not services.settings.test_data:
        return routes

    @routes.post(
        "/generator",
        responses={409: {"description": "There is such a project"}, 422: {"description": "No name of a project"}},
    )
    async def generate(organization: str, wish: test_data.Wish) -> dict[str, str]:
        """Make a project with images, categories, annotations and models that are made up.

        curl -H 'content-type: application/json' -d '{"project_name": "tests", "complete": 10, "box_categories": 2}' \
        http://localhost:8014/api/zauberzeug/projects/generator
        """
        await test_data.generate(services, organization, wish)
        return {"project_id": wish.project_name.lower()}

    return routes
