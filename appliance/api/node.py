"""The node's own state: about, model version, operation mode, outbox mode, logging, backdoor."""

from __future__ import annotations

import logging
from typing import cast, get_args

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from appliance.api.bodies import read_text
from appliance.services import Services
from models.errors import InvalidInput
from models.wire.node_status import AboutResponse, ModelVersionResponse, OperationMode

WORD = {
    "requestBody": {
        "required": True,
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}
CHANGE_ERRORS: dict[int | str, dict[str, object]] = {
    400: {"description": "No such mode or version; nothing has changed"},
    409: {"description": "It cannot be written down"},
    413: {"description": "That is no word"},
    422: {"description": "No such mode; nothing has changed"},
    507: {"description": "The disk is full; nothing has changed"},
}


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter()

    @made.get("/about", tags=["about"])
    async def about() -> AboutResponse:
        """The node and its model; `runtime` and what follows are ours.

        curl http://localhost:8004/about
        """
        return services.about()

    @made.get("/model_version", tags=["model_version"])
    async def model_version() -> ModelVersionResponse:
        """Which model version serves, which shall, and which are on this box.

        curl http://localhost:8004/model_version
        """
        return await services.versions.response()

    @made.put("/model_version", tags=["model_version"], openapi_extra=WORD, responses=CHANGE_ERRORS)
    async def set_model_version(request: Request) -> str:
        """Follow the Loop, stay as it is, or serve a certain version from now on.

            curl -X PUT -d 'follow_loop' http://localhost:8004/model_version
            curl -X PUT -d 'pause' http://localhost:8004/model_version
            curl -X PUT -d '1.3' http://localhost:8004/model_version

        A version that is not on this box is downloaded from the Loop. It is loaded beside the serving one and takes over
        when it has proven itself; `GET /api/v1/update` tells. What failed before is tried again.
        """
        await services.versions.set_mode(await read_text(request))
        return "OK"

    @made.get("/operation_mode", response_class=PlainTextResponse, tags=["operation_mode"])
    async def operation_mode() -> str:
        """`startup`, `idle` or `detecting`.

        curl http://localhost:8004/operation_mode
        """
        return services.versions.operation_mode

    @made.put("/operation_mode", tags=["operation_mode"], openapi_extra=WORD, responses=CHANGE_ERRORS)
    async def set_operation_mode(request: Request) -> str:
        """While `detecting`, the model is not changed; in `idle` it may be.

        curl -X PUT -d 'detecting' http://localhost:8004/operation_mode
        """
        word = await read_text(request)
        if word not in get_args(OperationMode):
            raise InvalidInput(
                f"{word[:60]!r} is no operation mode; it should be one of {', '.join(get_args(OperationMode))}"
            )
        services.versions.set_operation_mode(cast(OperationMode, word))
        return "OK"

    @made.get("/outbox_mode", response_class=PlainTextResponse, tags=["outbox_mode"])
    async def outbox_mode() -> str:
        """`continuous_upload` or `stopped`.

        curl http://localhost:8004/outbox_mode
        """
        return services.outbox_mode()

    @made.put("/outbox_mode", tags=["outbox_mode"], openapi_extra=WORD, responses=CHANGE_ERRORS)
    async def set_outbox_mode(request: Request) -> str:
        """Whether pictures are sent to the Loop.

        curl -X PUT -d 'stopped' http://localhost:8004/outbox_mode
        """
        await services.set_outbox_mode(await read_text(request))
        return "OK"

    @made.put("/debug_logging", tags=["debug"], openapi_extra=WORD, responses=CHANGE_ERRORS)
    async def debug_logging(request: Request) -> str:
        """Log everything (`on`), or as the settings say (`off`).

        curl -X PUT -d 'on' http://localhost:8004/debug_logging
        """
        on = _on_or_off(await read_text(request))
        logging.getLogger().setLevel("DEBUG" if on else services.settings.log_level)
        return "on" if on else "off"

    @made.put("/socketio", tags=["debug"], openapi_extra=WORD, responses=CHANGE_ERRORS)
    async def socketio(request: Request) -> str:
        """Whether the box speaks with the Loop and changes its model by itself (`on`), or leaves everything as it is
        (`off`). For tests.

        curl -X PUT -d 'off' http://localhost:8004/socketio
        """
        on = _on_or_off(await read_text(request))
        services.set_repeating(on)
        return "on" if on else "off"

    if services.settings.use_backdoor_controls:

        @made.post("/reset", tags=["debug"])
        async def reset() -> bool:
            """Delete all data: pictures in the outbox, models, modes. For tests; only with USE_BACKDOOR_CONTROLS.

            curl -X POST http://localhost:8004/reset
            """
            return await services.reset()

    return made


def _on_or_off(word: str) -> bool:
    if word not in ("on", "off"):
        raise HTTPException(400, f"{word[:60]!r} is neither on nor off")
    return word == "on"
