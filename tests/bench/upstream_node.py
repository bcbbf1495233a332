"""What a user would run instead: a learning-loop-node 0.27 DetectorNode around the same weights. Run as a script.

It runs in an environment of its own that has learning-loop-node, ai-edge-litert and OpenCV, and knows nothing of this
project. The model is given as that library wants it: a folder with model.json, a link `current_model` to it in the data
folder. The repeat loop is off: without a Learning Loop in reach it would only cost time, and that would be unfair.
"""

# mypy: disable-error-code="import-not-found, misc"
# The library is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any


def lay_out(bundle: Path, data: Path) -> None:
    """Make `data` a data folder of a node that has downloaded the model in `bundle`."""
    description = json.loads((bundle / "model.json").read_text())
    folder = data / "models" / description["version"]
    folder.mkdir(parents=True, exist_ok=True)
    weights = [spec["file"] for spec in description["inference"]["weights"] if spec["accelerator"] == "cpu"]
    name = next(name for name in weights if name.endswith(".tflite"))
    (folder / "model.tflite").write_bytes((bundle / name).read_bytes())
    (folder / "model.json").write_text(json.dumps(description))
    link = data / "current_model"
    if not link.is_symlink():
        link.symlink_to(folder)


def serve(data: Path, port: int, threads: int) -> None:
    """Serve the model of the data folder until the process is ended."""
    os.environ |= {
        "DATA_FOLDER": str(data),
        "LOOP_HOST": "127.0.0.1:9",
        "LOOP_ORGANIZATION": "detector-appliance",
        "LOOP_PROJECT": "everyday-objects",
        "SKIP_REPEAT_ON_START": "1",
    }
    import cv2
    import numpy as np
    import uvicorn
    from ai_edge_litert.interpreter import Interpreter
    from learning_loop_node.data_classes import BoxDetection, ImageMetadata, ImagesMetadata, ModelInformation
    from learning_loop_node.detector.detector_node import DetectorNode

    class Logic:
        """One loaded model, as the library asks for it."""

        def __init__(self, model: ModelInformation) -> None:
            inference = json.loads((Path(model.model_root_path) / "model.json").read_text())["inference"]
            self.threshold = inference["score_threshold"]
            self.categories = dict(zip(inference["class_indices"], model.categories, strict=True))
            self.model = model
            self.interpreter = Interpreter(str(Path(model.model_root_path) / "model.tflite"), num_threads=threads)
            self.interpreter.allocate_tensors()
            self.input = self.interpreter.get_input_details()[0]["index"]
            self.outputs = [output["index"] for output in self.interpreter.get_output_details()]

        def evaluate(self, image: np.ndarray) -> ImageMetadata:
            """Detections of one RGB picture (height, width, 3), uint8."""
            height, width = image.shape[:2]
            resized = cv2.resize(image, (300, 300), interpolation=cv2.INTER_LINEAR)
            self.interpreter.set_tensor(self.input, resized[None])
            self.interpreter.invoke()
            boxes, classes, scores, _ = (self.interpreter.get_tensor(index) for index in self.outputs)
            metadata = ImageMetadata()
            for box, number, score in zip(boxes[0], classes[0], scores[0], strict=True):
                category = self.categories.get(int(number))
                if score < self.threshold or category is None:
                    continue
                top, left, bottom, right = np.clip(box, 0, 1) * (height, width, height, width)
                metadata.box_detections.append(
                    BoxDetection(
                        category_name=category.name,
                        category_id=category.id,
                        x=round(left),
                        y=round(top),
                        width=round(right - left),
                        height=round(bottom - top),
                        model_name=self.model.version,
                        confidence=float(score),
                    )
                )
            return metadata

        def batch_evaluate(self, images: list[np.ndarray]) -> ImagesMetadata:
            """Detections of several pictures, one after another."""
            return ImagesMetadata(items=[self.evaluate(image) for image in images])

    class Factory:
        """Makes a `Logic` of every model that the node is told to use."""

        model_format = "litert"

        async def build(self, model_info: ModelInformation) -> Any:
            return Logic(model_info)

    node = DetectorNode(name="upstream", detector_factory=Factory())
    uvicorn.run(node, host="127.0.0.1", port=port, lifespan="on")


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder with model.json and weights")
    parser.add_argument("--data", type=Path, required=True, help="data folder of the node")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the interpreter")
    arguments = parser.parse_args()
    lay_out(arguments.bundle, arguments.data)
    serve(arguments.data, arguments.port, arguments.threads)


if __name__ == "__main__":
    main()
