"""`/api/v1/…` of the box itself: who was turned away, reload."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from appliance.services import Services


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1", tags=["box"])

    @made.get("/refusals")
    async def refusals() -> list[dict[str, Any]]:
        """Who was turned away lately and why, the latest first; `network` is what one would trust to let them in.

        curl http://localhost:8004/api/v1/refusals
        """
        return [{**asdict(each), "reason": each.reason.value} for each in services.access.refusals.snapshot()]

    @made.post("/reload", status_code=202)
    async def reload() -> dict[str, str]:
        """Load the serving model anew, beside itself; nothing is interrupted.

        curl -X POST http://localhost:8004/api/v1/reload
        """
        services.soft_reload()
        return {"status": "OK"}

    return made
