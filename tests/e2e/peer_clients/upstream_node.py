"""A node as people build it on learning-loop-node 0.13 or 0.27: a detector, a trainer or an annotation node. Run as a script.

Arguments: `detector`, `trainer` or `annotator`; `0.13` or `0.27`; port to listen on; data folder. The Loop is named by the
environment, as the library reads it. What the models do is made up; all that has to do with the Loop is the library's.
"""

# mypy: disable-error-code="import-not-found, misc, attr-defined, no-untyped-def, call-arg"
# The library is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from learning_loop_node.annotation.annotator_logic import AnnotatorLogic
from learning_loop_node.annotation.annotator_node import AnnotatorNode
from learning_loop_node.data_classes import (
    BoxDetection,
    Detections,
    ImageMetadata,
    PretrainedModel,
    SegmentationAnnotation,
    Shape,
    ToolOutput,
    TrainingStateData,
)
from learning_loop_node.data_classes.detections import Point
from learning_loop_node.detector.detector_node import DetectorNode
from learning_loop_node.globals import GLOBALS
from learning_loop_node.trainer.trainer_logic import TrainerLogic
from learning_loop_node.trainer.trainer_node import TrainerNode

FORMAT = "mocked"


def found(version: str, category: Any) -> BoxDetection:
    """What the made-up model sees in every picture."""
    return BoxDetection(
        category_name=category.name,
        category_id=category.id,
        x=10,
        y=20,
        width=30,
        height=40,
        model_name=version,
        confidence=0.5,
    )


def detector_node(era: str) -> DetectorNode:
    """A detector that says what model it has, by what it sees."""
    if era == "0.13":
        from learning_loop_node.detector.detector_logic import DetectorLogic

        class Logic(DetectorLogic):
            def __init__(self) -> None:
                super().__init__(FORMAT)

            def init(self) -> None:
                """The model is there; `model_info` says which."""

            def evaluate(self, image: Any) -> ImageMetadata:
                if self.model_info is None:
                    return ImageMetadata()
                box = found(self.model_info.version, self.model_info.categories[0])
                return ImageMetadata(box_detections=[box])

        return DetectorNode(name="upstream", detector=Logic())

    class Model:
        def __init__(self, info: Any) -> None:
            self.info = info

        def evaluate(self, image: Any) -> ImageMetadata:
            return ImageMetadata(box_detections=[found(self.info.version, self.info.categories[0])])

        def batch_evaluate(self, images: Any) -> Any:
            raise NotImplementedError

    class Factory:
        model_format = FORMAT

        async def build(self, model_info: Any) -> Model:
            return Model(model_info)

    return DetectorNode(name="upstream", detector_factory=Factory())


class Training(TrainerLogic):
    """A training of some seconds that finds two best models, the second one at its end."""

    def __init__(self) -> None:
        super().__init__(FORMAT)
        self.epoch = 0

    @property
    def training_progress(self) -> float:
        return 0.5

    @property
    def model_architecture(self) -> str:
        return "made up"

    @property
    def provided_pretrained_models(self) -> list[PretrainedModel]:
        return [PretrainedModel(name="small", label="Small", description="a small model")]

    async def _start_training_from_base_model(self) -> None:
        base = json.loads((Path(self.training.training_folder) / "base_model.json").read_text())
        assert base["id"] == self.training.base_model_uuid
        await self._start_training_from_scratch()

    async def _start_training_from_scratch(self) -> None:
        assert self.training.image_data, "there is nothing to train with"
        assert all(image["set"] in {"train", "test"} for image in self.training.image_data)
        await self.executor.start(f"{sys.executable} -c 'import time; time.sleep(9)'")

    def _can_resume(self) -> bool:
        return False

    async def _resume(self) -> None:
        raise NotImplementedError

    def _get_executor_error_from_log(self) -> str | None:
        return None

    def _get_new_best_training_state(self) -> TrainingStateData | None:
        self.epoch += 1
        matrix = {category.id: {"tp": self.epoch, "fp": 1, "fn": 0} for category in self.training.categories}
        return TrainingStateData(confusion_matrix=matrix, epoch=self.epoch)

    def _on_metrics_published(self, training_state_data: TrainingStateData) -> None:
        (Path(self.training.training_folder) / "model.pt").write_text(f"weights of epoch {training_state_data.epoch}")

    async def _get_latest_model_files(self) -> dict[str, list[str]]:
        weights = str(Path(self.training.training_folder) / "model.pt")
        return {FORMAT: [weights], f"{FORMAT}_for_devices": [weights]}

    async def _detect(self, model_information: Any, images: list[str], model_folder: str) -> list[Detections]:
        assert (Path(model_folder) / "model.pt").read_text().startswith("weights of epoch")
        box = found(model_information.version, model_information.categories[0])
        return [Detections(box_detections=[box], image_id=Path(image).stem) for image in images]

    async def _clear_training_data(self, training_folder: str) -> None:
        """Nothing that would be in the way."""


class Pen(AnnotatorLogic):
    """Draws a line to the mouse; when the button goes up, the polygon is done."""

    async def handle_user_input(self, user_input: Any, history: dict[str, Any]) -> ToolOutput:
        data = user_input.data
        history.setdefault("points", []).append((data.coordinate.x, data.coordinate.y))
        line = " ".join(f"{x},{y}" for x, y in history["points"])
        annotation = None
        if data.event_type == "left_mouse_up":
            annotation = SegmentationAnnotation(
                id="5f1f5a1e-0c10-4f0a-9d5c-00000000abcd",
                shape=Shape(points=[Point(x=x, y=y) for x, y in history["points"]]),
                image_id=data.image_uuid,
                category_id=data.category.id,
            )
        return ToolOutput(svg=f'<polyline points="{line}"/>', annotation=annotation)

    def create_empty_history(self) -> dict[str, Any]:
        return {}

    def logout_user(self, sid: str) -> bool:
        return True


async def serve(node: Any, port: int) -> None:
    """Until somebody ends it; the library counts on being made in a running event loop."""
    await uvicorn.Server(uvicorn.Config(node, host="127.0.0.1", port=port)).serve()


async def main() -> None:
    """Make the node and serve it."""
    kind, era, port, folder = sys.argv[1:]
    GLOBALS.data_folder = folder
    if kind == "detector":
        node = detector_node(era)
    elif kind == "trainer":
        node = TrainerNode(name="upstream trainer", trainer_logic=Training())
    else:
        node = AnnotatorNode(name="upstream annotator", annotator_logic=Pen())
    await serve(node, int(port))


asyncio.run(main())
