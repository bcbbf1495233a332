"""Trainings: begun by people, run by trainers, and followed by what the trainers say of themselves.

    starting ── acknowledged ──> running ──┬── the trainer is idle, a model is here ──> finished
        │                          │       └── the trainer is idle, there is none ────> failed
        └── refused ──> refused    ├── stop ──> stopping ──── as running ──> finished | failed
                                   └── abort ─> aborting ──── the trainer is idle ───> aborted

A trainer that is away may be running all the same, or restarting: its training stays as it is until it speaks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection

from appliance.loop_server import model_records, training_records
from appliance.loop_server.categories import all_categories
from appliance.loop_server.db import Database
from appliance.loop_server.nodes import Nodes
from appliance.loop_server.plain import plain
from appliance.loop_server.projects import find, project_key
from appliance.loop_server.tables import written
from appliance.loop_server.training_records import TrainingRecord
from models.errors import LoopError, LoopRefused
from models.wire.training import TRAINER_IDLE, TrainingDetails, TrainingOut, TrainingStatus

log = logging.getLogger(__name__)

KIND = "trainer"

BEGIN_SECONDS = 30.0
END_SECONDS = 60.0
"""Within which a trainer has to acknowledge; it ends the training itself before it does."""

GRACE = timedelta(seconds=30)
"""After a training was begun, in which a trainer may still send that it is idle, from before."""

MAX_METRICS_BYTES = 1024 * 1024
MAX_DETAILS_BYTES = 4 * 1024 * 1024

ENDED = frozenset({"finished", "failed", "aborted", "refused"})

Ending = Literal["stop", "abort"]


def becomes(training: TrainingRecord, status: TrainingStatus, *, has_model: bool, since_begun: timedelta) -> str | None:
    """The state that a training gets by what its trainer says; None: it stays. Pure."""
    if (status.state or "idle") not in TRAINER_IDLE:
        return "running" if training.state == "starting" else None
    if training.state == "starting" or (training.state == "running" and not has_model and since_begun < GRACE):
        return "refused" if training.state == "starting" and since_begun >= GRACE else None
    if training.state == "aborting":
        return "aborted"
    return "finished" if has_model else "failed"


class Trainings:
    """The trainings of a loop."""

    def __init__(self, database: Database, nodes: Nodes, now: Callable[[], datetime]) -> None:
        self._database = database
        self._nodes = nodes
        self._now = now

    async def begin(
        self,
        organization: str,
        project: str,
        trainer_id: str,
        *,
        model_variant: str | None = None,
        base_model: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        category_names: list[str] | None = None,
    ) -> TrainingRecord:
        """Have a trainer begin a training.

        `model_variant` None: the first that the trainer has. `base_model`: id or version of a model of the project, None:
        from scratch. `category_names` None: all of the project.
        Raises `NotInLoop`, and `LoopRefused` where the trainer is away, busy, or says no.
        """
        trainer = self._nodes.node(trainer_id)
        status = TrainingStatus.model_validate(trainer.status)
        if not trainer.online or (status.state or "idle") not in TRAINER_IDLE:
            state = status.state if trainer.online else "not connected"
            raise LoopRefused(f"Trainer {status.name!r} cannot begin a training: it is {state}", 409)
        variants = [variant.name for variant in status.pretrained_models]
        if model_variant is None:
            model_variant = variants[0] if variants else ""
        parameters = plain(dict(hyperparameters or {}), MAX_DETAILS_BYTES, "the hyperparameters")

        def create(connection: Connection) -> TrainingRecord:
            found = find(connection, organization, project)
            # Its status may be from before, and old trainers let go of the training that they run.
            running = training_records.open_training_of(connection, trainer_id)
            if running is not None:
                raise LoopRefused(f"Trainer {status.name!r} has a training already, which is {running.state}", 409)
            base = _base(connection, found.key, base_model)
            details = TrainingDetails(
                categories=_categories(connection, found.key, category_names),
                hyperparameters=parameters,
                training_number=0,
                model_variant=model_variant,
                base_model_uuid=base,
            ).model_dump(mode="json")
            return training_records.create(connection, found.key, trainer_id, base, details, written(self._now()))

        training = await self._database.write(create)
        try:
            await self._nodes.call(
                trainer_id, "begin_training", organization, project.lower(), training.details, timeout=BEGIN_SECONDS
            )
        except LoopError as error:
            if error.status != 504:  # who did not answer may have begun: its status will tell
                await self._set(training, "refused", str(error))
            raise
        await self._set(training, "running")
        return await self._read(training)

    async def end(self, organization: str, project: str, number: int, how: Ending) -> TrainingRecord:
        """Stop a training, which keeps its model, or abort it. Raises `NotInLoop`, and `LoopRefused` as `begin`."""
        training = await self._database.read(
            lambda db: training_records.training(db, project_key(db, organization, project), number)
        )
        if training.ended is not None or training.trainer_id is None:
            raise LoopRefused(f"Training {number} is {training.state} already", 409)
        if how == "abort" and not self._nodes.node(training.trainer_id).online:
            await self._set(training, "aborted", "its trainer was away")
            return await self._read(training)
        ending = await self._set(training, "stopping" if how == "stop" else "aborting")
        try:
            await self._nodes.call(training.trainer_id, f"{how}_training", timeout=END_SECONDS)
        except LoopError as error:
            if error.status != 504:
                await self._set(ending, training.state)
            raise
        return await self._read(training)

    async def trainer_told(self, sid: str, status: TrainingStatus) -> None:
        """A trainer has told its status. Raises what `Nodes.told` does."""
        await self._nodes.told(sid, KIND, status.id, status.model_dump(mode="json"))
        training = await self._database.read(lambda db: training_records.open_training_of(db, status.id))
        if training is None:
            return
        has_model = await self._database.read(lambda db: training_records.has_model(db, training))
        since = self._now() - datetime.fromisoformat(training.created)
        state = becomes(training, status, has_model=has_model, since_begun=since)
        if state is None:
            return
        reason = "; ".join(str(error) for error in status.errors.values()) or None if state == "failed" else None
        await self._set(training, state, reason)

    async def trainer_found(self, organization: str, project: str, found: TrainingOut) -> None:
        """A trainer has found a better model, or says so again.

        Raises `NotInLoop` where it was given no training of this project, `InvalidInput`, `InputTooLarge`.
        """
        metrics = plain(found.model_dump(mode="json"), MAX_METRICS_BYTES, "the metrics")

        def add(connection: Connection) -> None:
            key = project_key(connection, organization, project)
            training = training_records.last_training_of(connection, key, found.trainer_id)
            training_records.add_metrics(connection, training, metrics, written(self._now()))

        await self._database.write(add)

    async def _set(self, training: TrainingRecord, state: str, reason: str | None = None) -> TrainingRecord:
        ended = written(self._now()) if state in ENDED else None
        if await self._database.write(
            lambda db: training_records.set_state(db, training, state, ended=ended, reason=reason)
        ):
            log.info(
                "training %d of project %d is %s: %s", training.number, training.project, state, reason or "as told"
            )
        return replace(training, state=state)

    async def _read(self, training: TrainingRecord) -> TrainingRecord:
        return await self._database.read(lambda db: training_records.training(db, training.project, training.number))


def _base(connection: Connection, project: int, wanted: str | None) -> str | None:
    if not wanted:
        return None
    found = {model.id: model for model in model_records.all_models(connection, project)}
    return wanted if wanted in found else model_records.model_of_version(connection, project, wanted).id


def _categories(connection: Connection, project: int, names: list[str] | None) -> list[Any]:
    known = all_categories(connection, project)
    if names is None:
        return known
    by_name = {category.name: category for category in known}
    if unknown := [name for name in names if name not in by_name]:
        raise LoopRefused(f"The project has no category {unknown[0][:60]!r}")
    return [by_name[name] for name in names]
