"""Whether the box is alive, whether it can detect, and what it has done: for machines that watch it."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from appliance.services import Services


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(tags=["operation"])

    @made.get("/healthz")
    async def healthz() -> dict[str, str | None]:
        """Alive: `status` is `ok`, or `degraded` with the reason.

        curl http://localhost:8004/healthz
        """
        trouble = services.trouble()
        return {"status": "degraded" if trouble else "ok", "reason": trouble}

    @made.get("/readyz", responses={503: {"description": "No detection has run on the serving model yet"}})
    async def readyz() -> JSONResponse:
        """Ready: a detection (the check at start counts) has run on the model that serves.

        curl http://localhost:8004/readyz
        """
        ready = services.supervisor.worker is not None
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    @made.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """For Prometheus.

        curl http://localhost:8004/metrics
        """
        body, media_type = services.metrics.render()
        return Response(body, media_type=media_type)

    return made
