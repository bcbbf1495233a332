"""The measure of all: what one picture costs in one plain script, without any server around it.

Run as a script. It loads the weights, runs a few pictures to warm up, writes `{"ready": true}`, and then waits for
lines on standard input, each `{"seconds": 5}`; it answers each with one JSON line:

    {"milliseconds": [27.1, ...], "cpu_seconds": 0.21, "seconds": 5.01, "detections": 3}

One iteration is what a detector cannot avoid: decode the JPEG at the size that is needed, resize, infer, and make wire
detections of the outputs. Time is the wall's; CPU is that of this whole process, all threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

INPUT_SIZE = 300
WARM_UP = 5
REDUCTIONS = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))

Infer = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


def litert(weights: Path, threads: int) -> Infer:
    """The weights under LiteRT on the CPU: (300, 300, 3) uint8 RGB -> boxes, classes, scores, count."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(weights), num_threads=threads)
    interpreter.allocate_tensors()
    input_index = interpreter.get_input_details()[0]["index"]
    output_indices = [output["index"] for output in interpreter.get_output_details()]

    def infer(image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        interpreter.set_tensor(input_index, image[None])
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in output_indices]

    return infer


def onnx(weights: Path, threads: int) -> Infer:
    """The weights under ONNX Runtime on the CPU, without threads that spin while they wait."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def infer(image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(session.run(None, {name: image[None]}))

    return infer


RUNTIMES: dict[str, tuple[Callable[[Path, int], Infer], str]] = {"litert": (litert, ".tflite"), "onnx": (onnx, ".onnx")}


class Detector:
    """The whole way from JPEG bytes to wire detections, in order, in one thread."""

    def __init__(self, bundle: Path, runtime: str) -> None:
        description = json.loads((bundle / "model.json").read_text())
        inference = description["inference"]
        indices = inference["class_indices"]
        self._categories = dict(zip(indices, description["categories"], strict=True))
        self._threshold = inference["score_threshold"]
        self._version = description["version"]
        library, _, threads = runtime.split("/")
        make, suffix = RUNTIMES[library]
        weights = [spec["file"] for spec in inference["weights"] if spec["accelerator"] != "edgetpu"]
        name = next(name for name in weights if name.endswith(suffix))
        self._infer = make(bundle / name, int(threads))

    def detect(self, jpeg: bytes, width: int, height: int) -> list[dict[str, Any]]:
        """Wire detections of one JPEG of `width` x `height` pixels."""
        flag = next((flag for by, flag in REDUCTIONS if min(width, height) / by >= 0.9 * INPUT_SIZE), cv2.IMREAD_COLOR)
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flag)
        if decoded is None:
            raise ValueError("The picture is no image that OpenCV can read.")
        resized = cv2.resize(decoded, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR)
        boxes, classes, scores, _ = self._infer(np.asarray(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), dtype=np.uint8))
        keep = np.flatnonzero(scores[0] >= self._threshold)
        pixels = np.clip(boxes[0][keep], 0.0, 1.0) * (height, width, height, width)
        found: list[dict[str, Any]] = []
        for (top, left, bottom, right), number, score in zip(
            np.rint(pixels).astype(int).tolist(), classes[0][keep].tolist(), scores[0][keep].tolist(), strict=True
        ):
            category = self._categories.get(int(number))
            if category is not None:
                found.append(
                    {
                        "category_name": category["name"],
                        "category_id": category["id"],
                        "model_name": self._version,
                        "confidence": score,
                        "x": left,
                        "y": top,
                        "width": right - left,
                        "height": bottom - top,
                    }
                )
        return found


def main() -> None:
    """Read the arguments, warm up, and measure as often as standard input asks for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder with model.json and weights")
    parser.add_argument("--picture", type=Path, required=True, help="JPEG that every iteration decodes")
    parser.add_argument("--runtime", default="litert/cpu/2", help="runtime/cpu/threads; the runtime is litert or onnx")
    arguments = parser.parse_args()

    detector = Detector(arguments.bundle, arguments.runtime)
    jpeg = arguments.picture.read_bytes()
    height, width = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)).shape
    for _ in range(WARM_UP):
        detections = detector.detect(jpeg, width, height)
    print(json.dumps({"ready": True}), flush=True)

    for line in sys.stdin:
        duration = json.loads(line)["seconds"]
        milliseconds: list[float] = []
        cpu = time.process_time()
        begin = now = time.perf_counter()
        while now < begin + duration:
            detections = detector.detect(jpeg, width, height)
            before, now = now, time.perf_counter()
            milliseconds.append(round((now - before) * 1000, 3))
        answer = {
            "milliseconds": milliseconds,
            "cpu_seconds": time.process_time() - cpu,
            "seconds": now - begin,
            "detections": len(detections),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
