"""`/api/v1/settings` and `/api/v1/keys`: what is in force, what people may change, and API keys."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from appliance import editable
from appliance.api_keys import FILE_NAME, ApiKeys
from appliance.services import Services


class NewKey(BaseModel):
    """Body of `POST /api/v1/keys`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64)


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1", tags=["settings"])
    keys = ApiKeys(services.settings.data_folder / FILE_NAME)

    @made.get("/settings")
    async def settings() -> list[dict[str, Any]]:
        """Every setting with its value, where it comes from and what it means; secrets masked.

        curl http://localhost:8004/api/v1/settings
        """
        return [asdict(row) for row in services.settings.in_force()]

    @made.put("/settings")
    async def change(changes: Annotated[dict[str, Any], Body(max_length=100)]) -> dict[str, Any]:
        """Change some, all or none, for good; null goes back to what a file or the default says. The answer names those that
        count from the next start on.

        curl -X PUT -H 'content-type: application/json' -d '{"max_outbox_size": 5000}' http://localhost:8004/api/v1/settings
        """
        await services.change_settings(editable.checked(changes))
        return {"restart_due": services.due}

    @made.get("/keys")
    async def list_keys() -> list[dict[str, str]]:
        """The API keys by name; the keys themselves are kept by nobody.

        curl http://localhost:8004/api/v1/keys
        """
        return [{"name": key.name, "created": key.created} for key in await asyncio.to_thread(keys.list)]

    @made.post("/keys", status_code=201)
    async def create_key(wanted: NewKey) -> dict[str, str]:
        """Make an API key; it is told this once.

        curl -H 'content-type: application/json' -d '{"name": "warehouse"}' http://localhost:8004/api/v1/keys
        """
        return {"name": wanted.name, "key": await asyncio.to_thread(keys.create, wanted.name)}

    @made.delete("/keys/{name}", status_code=204)
    async def revoke_key(name: str) -> None:
        """Take a key away: who has it is a stranger within a second.

        curl -X DELETE http://localhost:8004/api/v1/keys/warehouse
        """
        await asyncio.to_thread(keys.revoke, name)

    return made
