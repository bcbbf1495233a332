"""`/api/v1/…` of the machine: what it is, what is wrong with it, its log, and starting anew."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from appliance.api.bodies import read_text
from appliance.logs import parse_level
from appliance.services import Services
from appliance.system.doctor import facts_of_box
from appliance.system.findings import findings
from appliance.system.report import report
from appliance.system.steering import restart_soon, set_log_level
from appliance.system.support import of_box

WORD: dict[str, Any] = {"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}, "required": True}}


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1", tags=["system"])

    @made.get("/system")
    async def system() -> dict[str, Any]:
        """Board, accelerators, disk, temperature and power, networks, versions, uptime.

        curl http://localhost:8004/api/v1/system
        """
        return asdict(await report(services))

    @made.get("/doctor")
    async def doctor() -> list[dict[str, Any]]:
        """What is wrong, the worst first, each with what to do; an empty list: nothing. A Loop that seems away is asked anew.

        curl http://localhost:8004/api/v1/doctor
        """
        return [asdict(each) for each in findings(await facts_of_box(services))]

    @made.get("/logs")
    async def logs(
        level: Annotated[str, Query(max_length=10)] = "DEBUG",
        contains: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> list[dict[str, Any]]:
        """The last entries of the log, oldest first, of at least `level`, in which `contains` stands.

        curl 'http://localhost:8004/api/v1/logs?level=WARNING&contains=loop'
        """
        least = parse_level(level)
        found = await asyncio.to_thread(services.logs.lines, least, contains, limit)
        return [asdict(line) for line in found]

    @made.get("/log_level", response_class=PlainTextResponse)
    async def log_level() -> str:
        """DEBUG, INFO, WARNING or ERROR.

        curl http://localhost:8004/api/v1/log_level
        """
        return logging.getLevelName(logging.getLogger().level)

    @made.put("/log_level", openapi_extra=WORD, response_class=PlainTextResponse)
    async def put_log_level(request: Request) -> str:
        """From now on and until the next start; the setting `log_level` is for ever.

        curl -X PUT -d DEBUG http://localhost:8004/api/v1/log_level
        """
        return set_log_level(await read_text(request))

    @made.get("/support", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
    async def support() -> Response:
        """A zip for whoever helps: settings, what is wrong, versions, metrics, log. No secret and no picture is in it.

        curl -o support.zip http://localhost:8004/api/v1/support
        """
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", services.settings.node_name)
        return Response(
            await of_box(services),
            media_type="application/zip",
            headers={"content-disposition": f'attachment; filename="support-{name}.zip"', "cache-control": "no-store"},
        )

    @made.post("/restart", status_code=202)
    async def restart() -> dict[str, str]:
        """End in good order and start anew, in a few seconds. No model ever needs it; some settings do.

        curl -X POST http://localhost:8004/api/v1/restart
        """
        restart_soon(services)
        return {"status": "OK"}

    return made
