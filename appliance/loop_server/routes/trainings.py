"""Trainings: begun, watched and ended by people."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from appliance.loop_server import training_records as records
from appliance.loop_server.projects import project_key
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices

MAX_NUMBER = 2**31 - 1
"""What every database holds."""

Number = Annotated[int, Path(ge=0, le=MAX_NUMBER)]


class NewTraining(BaseModel):
    """What to train. Everything but the trainer has a default: all categories, from scratch, the trainer's first variant."""

    model_config = ConfigDict(protected_namespaces=())

    trainer_id: str
    model_variant: str | None = None
    base_model: str | None = None
    hyperparameters: dict[str, Any] | None = None
    categories: list[str] | None = None


class Metrics(BaseModel):
    """What a trainer said of one best model; `model_id` and `version` where it was uploaded."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str | None
    version: str | None
    training_number: int
    received: str
    metrics: dict[str, Any]


class Training(BaseModel):
    """One training."""

    model_config = ConfigDict(protected_namespaces=())

    number: int
    state: str
    trainer_id: str | None
    trainer: dict[str, Any] | None
    base_model_id: str | None
    created: str
    ended: str | None
    reason: str | None
    details: dict[str, Any]


class TrainingWithMetrics(Training):
    """One training and its best models over time, the oldest first."""

    metrics: list[Metrics]


class Chart(BaseModel):
    """The models that trainings have found, the latest first."""

    data: list[Metrics]


class TrainingList(BaseModel):
    """The trainings of a project, the newest first, and their models as a chart."""

    charts: list[Chart]
    trainings: list[Training]


def router(services: LoopServices) -> APIRouter:
    """The routes, bound to the services."""
    routes = APIRouter(prefix=f"{PROJECT}/trainings", route_class=WholeBody, tags=["trainings"])
    database = services.database

    def shown(record: records.TrainingRecord) -> dict[str, Any]:
        trainer = services.nodes.shown(record.trainer_id) if record.trainer_id and record.ended is None else None
        keys = ("number", "state", "trainer_id", "base_model_id", "created", "ended", "reason", "details")
        return {**{key: getattr(record, key) for key in keys}, "trainer": trainer}

    @routes.get("")
    async def trainings(organization: str, project: str) -> TrainingList:
        """The trainings of a project, and the models that they have found.

        curl http://localhost:8014/api/shop/projects/parts/trainings
        """

        def read(connection: Connection) -> tuple[list[records.TrainingRecord], list[records.MetricsRecord]]:
            key = project_key(connection, organization, project)
            return records.all_trainings(connection, key), records.metrics_of(connection, key)

        found, told = await database.read(read)
        chart = [_metrics(each) for each in reversed(told)]
        return TrainingList(charts=[Chart(data=chart)], trainings=[Training(**shown(each)) for each in found])

    @routes.post(
        "",
        status_code=201,
        responses={
            404: {"description": "No such project, trainer or base model"},
            409: {"description": "The trainer is away, busy, or says no"},
            504: {"description": "The trainer did not answer; whether it has begun will be seen"},
        },
    )
    async def begin(organization: str, project: str, wish: NewTraining) -> Training:
        """Have a trainer begin a training.

        curl -H 'content-type: application/json' -d '{"trainer_id": "TRAINER_ID", "base_model": "1.0"}' \
        http://localhost:8014/api/shop/projects/parts/trainings
        """
        record = await services.trainings.begin(
            organization,
            project,
            wish.trainer_id,
            model_variant=wish.model_variant,
            base_model=wish.base_model,
            hyperparameters=wish.hyperparameters,
            category_names=wish.categories,
        )
        return Training(**shown(record))

    @routes.get("/{number}", responses={404: {"description": "No such training"}})
    async def training(organization: str, project: str, number: Number) -> TrainingWithMetrics:
        """One training, and what its trainer said of its best models over time.

        curl http://localhost:8014/api/shop/projects/parts/trainings/1
        """

        def read(connection: Connection) -> tuple[records.TrainingRecord, list[records.MetricsRecord]]:
            key = project_key(connection, organization, project)
            return records.training(connection, key, number), records.metrics_of(connection, key, number)

        record, told = await database.read(read)
        return TrainingWithMetrics(**shown(record), metrics=[_metrics(each) for each in told])

    ends: dict[int | str, dict[str, Any]] = {
        404: {"description": "No such training"},
        409: {"description": "It has ended, or its trainer is away"},
        504: {"description": "The trainer did not answer"},
    }

    @routes.post("/{number}/stop", responses=ends)
    async def stop(organization: str, project: str, number: Number) -> Training:
        """End a training and keep what it has found.

        curl -X POST http://localhost:8014/api/shop/projects/parts/trainings/1/stop
        """
        return Training(**shown(await services.trainings.end(organization, project, number, "stop")))

    @routes.post("/{number}/abort", responses=ends)
    async def abort(organization: str, project: str, number: Number) -> Training:
        """End a training and throw away what it has not uploaded yet.

        curl -X POST http://localhost:8014/api/shop/projects/parts/trainings/1/abort
        """
        return Training(**shown(await services.trainings.end(organization, project, number, "abort")))

    return routes


def _metrics(record: records.MetricsRecord) -> Metrics:
    return Metrics(
        model_id=record.model_id,
        version=record.version,
        training_number=record.number,
        received=record.received,
        metrics=dict(record.metrics),
    )
