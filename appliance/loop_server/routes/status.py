"""Whether the loop is ready."""

from __future__ import annotations

from fastapi import APIRouter

from appliance.loop_server.services import LoopServices


def router(services: LoopServices) -> APIRouter:
    """`GET /api/status`, which nodes poll before they log in."""
    routes = APIRouter(tags=["status"])

    @routes.get("/api/status")
    async def status() -> dict[str, str]:
        """200 as soon as the loop answers requests."""
        return {"state": "online" if services.ready else "starting"}

    return routes
