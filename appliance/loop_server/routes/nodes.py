"""Trainers and annotation nodes: who is there, and what people have them do."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices
from models.wire.training import UserInput

USER_INPUT_SECONDS = 30.0
LOGOUT_SECONDS = 10.0

SAYS_NO: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such node"},
    409: {"description": "It is away, or says no"},
    504: {"description": "It did not answer"},
}


class NodeList(BaseModel):
    """Every node that has ever spoken: its last status, with `kind`, `online` and when it was `seen`."""

    nodes: list[dict[str, Any]]


class Leaving(BaseModel):
    """A page on which somebody annotated was closed."""

    frontend_id: Annotated[str, Field(max_length=255)]


class Answer(BaseModel):
    """What a node answered; for user input the drawing, as SVG."""

    payload: Any


def router(services: LoopServices) -> APIRouter:
    """The routes, bound to the services."""
    routes = APIRouter(prefix="/api/nodes", route_class=WholeBody, tags=["nodes"])
    nodes = services.nodes

    @routes.get("")
    async def all_nodes(kind: str | None = None) -> NodeList:
        """Who is connected or was; with `kind` only the `trainer`s, say.

        curl 'http://localhost:8014/api/nodes?kind=trainer'
        """
        return NodeList(nodes=[node.shown() for node in nodes.known(kind)])

    @routes.post("/{node_id}/restart", responses=SAYS_NO)
    async def restart(node_id: str) -> Answer:
        """Have a node restart. It ends at once, without an answer, and whoever watches it starts it anew.

        curl -X POST http://localhost:8014/api/nodes/NODE_ID/restart
        """
        await nodes.tell(node_id, "restart")
        return Answer(payload=None)

    @routes.post("/{node_id}/user_input", responses=SAYS_NO)
    async def user_input(node_id: str, given: UserInput) -> Answer:
        """What a person did with mouse or keyboard; the answer of the annotation node is what to draw."""
        message = given.model_dump(mode="json")
        return Answer(payload=await nodes.call(node_id, "handle_user_input", message, timeout=USER_INPUT_SECONDS))

    @routes.post("/{node_id}/user_logout", responses=SAYS_NO)
    async def user_logout(node_id: str, leaving: Leaving) -> Answer:
        """Have an annotation node forget what a page began to draw."""
        answer = await nodes.call(node_id, "user_logout", leaving.frontend_id, timeout=LOGOUT_SECONDS)
        return Answer(payload=answer)

    return routes
