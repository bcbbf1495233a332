"""`/api/v1/…` of the machine: what it is, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from appliance.services import Services
from appliance.system.doctor import facts_of_box
from appliance.system.findings import findings


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1", tags=["system"])

    @made.get("/doctor")
    async def doctor() -> list[dict[str, Any]]:
        """What is wrong, the worst first, each with what to do; an empty list: nothing. A Loop that seems away is asked anew.

        curl http://localhost:8004/api/v1/doctor
        """
        return [asdict(each) for each in findings(await facts_of_box(services))]

    return made
