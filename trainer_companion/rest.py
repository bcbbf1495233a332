"""What a trainer serves beside the node REST: routes by which tests drive it, served only with USE_BACKDOOR_CONTROLS."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from companions.server import read_switch, read_word
from models.errors import DetectorApplianceError
from trainer_companion.node import Trainer

MOST_STEPS = 1000

ERRORS = ("begin_training", "crash_training", "get_new_model", "save_model")
"""What can be told to fail, by the names of learning-loop-node's mock trainer."""


def router(trainer: Trainer) -> APIRouter:
    """The routes; none where the settings do not want them."""
    made = APIRouter(tags=["controls"])
    if not trainer.settings.use_backdoor_controls:
        return made

    @made.put("/provide_new_model")
    async def provide_new_model(request: Request) -> None:
        """Whether the Loop is told of better models while a training runs (`on`), or not (`off`).

        curl -X PUT -d 'off' http://localhost:8024/provide_new_model
        """
        trainer.backdoor.provide_new_model = await read_switch(request)

    @made.post("/reset")
    async def reset() -> None:
        """Abort what is under way, forget all errors, connect to the Loop anew.

        curl -X POST http://localhost:8024/reset
        """
        await trainer.abort()
        trainer.forget()
        if trainer.connection.is_on:
            await trainer.connection.switch(False)
            await trainer.connection.switch(True)

    @made.put("/error_configuration")
    async def error_configuration(request: Request) -> None:
        """What shall fail from now on; what is not named shall not.

        curl -X PUT -d '{"get_new_model": "True"}' http://localhost:8024/error_configuration
        """
        try:
            wanted: Any = json.loads(await read_word(request))
        except ValueError as error:
            raise HTTPException(422, "a JSON object is due") from error
        if not isinstance(wanted, dict) or set(wanted) - set(ERRORS):
            raise HTTPException(422, f"a JSON object is due, with some of the keys {', '.join(ERRORS)}")
        for name in ERRORS:
            setattr(trainer.backdoor, name, str(wanted.get(name, False)).lower() in ("true", "1"))

    @made.post("/steps", responses={409: {"description": "No training runs"}})
    async def steps(request: Request) -> None:
        """Tell the Loop of the best model so many times, new or not.

        curl -X POST -d '1' http://localhost:8024/steps
        """
        word = await read_word(request)
        if not word.isdigit() or int(word) > MOST_STEPS:
            raise HTTPException(422, f"a number up to {MOST_STEPS} is due, not {word[:20]!r}")
        walk = trainer.walk
        if walk is None or walk.during != "running":
            raise HTTPException(409, "trainer is not running")
        for _ in range(int(word)):
            try:
                await walk.sync(again=True)
            except DetectorApplianceError as error:
                walk.errors["sync_confusion_matrix"] = str(error)
        await trainer.tell_now()

    @made.post("/kill_training_process", responses={409: {"description": "No training runs"}})
    async def kill_training_process() -> None:
        """End the process of the training as a crash would.

        curl -X POST http://localhost:8024/kill_training_process
        """
        if trainer.walk is None or not await trainer.walk.kill_training_process():
            raise HTTPException(409, "trainer is not running")

    @made.post("/force_status_update")
    async def force_status_update() -> None:
        """Tell the Loop how the trainer is, at once.

        curl -X POST http://localhost:8024/force_status_update
        """
        await trainer.tell_now()

    return made
