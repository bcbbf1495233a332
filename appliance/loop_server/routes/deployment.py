"""Which model the detectors of a project shall run."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy import Connection

from appliance.loop_server import model_records as records
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from models.errors import LoopRefused, NotInLoop
from models.wire.loop import DeploymentTarget


class Deploy(BaseModel):
    """Which model to deploy: by its id, or by its version."""

    model_config = ConfigDict(protected_namespaces=())

    model_uuid: str | None = None
    version: str | None = None

    @model_validator(mode="after")
    def _says_one(self) -> Deploy:
        if (self.model_uuid is None) == (self.version is None):
            raise ValueError('say either {"model_uuid": …} or {"version": …}')
        return self


def router(services: LoopServices) -> APIRouter:
    """The routes, bound to the services."""
    routes = APIRouter(prefix=f"{PROJECT}/deployment", route_class=WholeBody, tags=["deployment"])
    database = services.database

    @routes.get("/target", responses={404: {"description": "No such project, or nobody has deployed a model"}})
    async def target(organization: str, project: str) -> DeploymentTarget:
        """The deployed model.

        curl http://localhost:8014/api/shop/projects/parts/deployment/target
        """
        found = await database.read(lambda db: records.target(db, records.project_key(db, organization, project)))
        if found is None:
            raise NotInLoop("No model is deployed in this project")
        return _target(found)

    @routes.put("/target", responses={404: {"description": "No such model in this project"}})
    async def deploy(organization: str, project: str, wish: Deploy) -> DeploymentTarget:
        """Have all detectors of the project run this model.

        curl -X PUT -H 'content-type: application/json' -d '{"version": "1.2"}' \
        http://localhost:8014/api/shop/projects/parts/deployment/target
        """

        def deploy(connection: Connection) -> records.ModelRecord:
            key = records.project_key(connection, organization, project)
            if wish.model_uuid is not None:
                found = records.model(connection, key, wish.model_uuid)
            else:
                found = records.model_of_version(connection, key, wish.version or "")
            if found.version is None:
                raise LoopRefused(f"Model {found.id} is not published: it has no version that detectors could run")
            records.set_target(connection, key, found.id, written(services.now()))
            return found

        return _target(await database.write(deploy))

    @routes.delete("/target")
    async def withdraw(organization: str, project: str) -> dict[str, str]:
        """Have no model deployed: detectors keep what they have.

        curl -X DELETE http://localhost:8014/api/shop/projects/parts/deployment/target
        """

        def withdraw(connection: Connection) -> None:
            key = records.project_key(connection, organization, project)
            records.set_target(connection, key, None, written(services.now()))

        await database.write(withdraw)
        return {"state": "no model is deployed"}

    return routes


def _target(model: records.ModelRecord) -> DeploymentTarget:
    return DeploymentTarget(model_uuid=model.id, version=model.version or "")
