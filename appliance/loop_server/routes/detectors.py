"""Detectors of a project: what they tell of themselves, and what people see of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from appliance.loop_server import detector_records
from appliance.loop_server.model_records import project_key
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices
from models.wire.loop import DetectorStatus


class DetectorList(BaseModel):
    """Every detector that has ever spoken: its last status, with `online` and when it was `seen`."""

    detectors: list[dict[str, Any]]


def router(services: LoopServices) -> APIRouter:
    """The routes, bound to the services."""
    routes = APIRouter(prefix=f"{PROJECT}/detectors", route_class=WholeBody, tags=["detectors"])
    database = services.database

    @routes.post("")
    async def report(organization: str, project: str, status: DetectorStatus) -> dict[str, bool]:
        """A detector tells how it is, about every 30 s."""
        now = services.now()
        await database.write(lambda db: detector_records.seen(db, project_key(db, organization, project), status, now))
        return {"success": True}

    @routes.get("")
    async def detectors(organization: str, project: str) -> DetectorList:
        """The detectors of a project: model, errors, and whether they are there.

        curl http://localhost:8014/api/shop/projects/parts/detectors
        """
        now = services.now()
        return DetectorList(
            detectors=await database.read(
                lambda db: detector_records.known(db, project_key(db, organization, project), now)
            )
        )

    return routes
