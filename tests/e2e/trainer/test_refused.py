"""What cannot be learnt, told by the real recipe, as the Loop sees it: ended at once, with a sentence and the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.running_loop import RunningLoop
from tests.service.trainer.trainers import Place, until
from trainer_companion import job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    with RunningLoop(tmp_path_factory.mktemp("loop"), username="ann", password="secret enough") as running:
        yield running


@pytest.mark.parametrize(
    ("annotated", "hyperparameters", "words"),
    [
        pytest.param(False, {}, "annotate", id="none annotated"),
        pytest.param(True, {"learning_rte": 3}, "no hyperparameter 'learning_rte'", id="unknown hyperparameter"),
        pytest.param(True, {"compute_validation_set": "yes"}, "must be true or false", id="validation set"),
    ],
)
def test_it_ends_with_a_sentence(
    loop: RunningLoop, tmp_path: Path, annotated: bool, hyperparameters: dict[str, Any], words: str
) -> None:
    place = Place(loop, tmp_path / "trainer")
    if annotated:
        place.annotated(4)
    else:
        place.shop.add(4, state="complete")

    async def story() -> None:
        async with place.running(command=job.command) as trainer:
            await place.begin(trainer, model_variant="edge-residual-128", hyperparameters=hyperparameters)
            await until(lambda: trainer.run is None, "the end")
            [(key, sentence)] = trainer.errors.items()
            assert key == ("prepare" if "compute_validation_set" in hyperparameters else "run_training")
            assert words in sentence
            assert "Traceback" not in sentence
            ended = await place.ended()
            assert ended["state"] == "failed"
            assert (place.node(trainer) or {})["errors"] == {key: sentence}
            assert await place.models() == []

    asyncio.run(story())
