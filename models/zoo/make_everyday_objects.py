"""Recipe of the seed model: writes `model.json` and, in a throw-away environment, the ONNX weights.

    python -m models.zoo.make_everyday_objects LABELS          # model.json, from a label file with lines "number  name"
    python -m models.zoo.make_everyday_objects --print-onnx    # the two commands that made the ONNX file, to be run once

The ONNX weights were made with Python 3.11, tensorflow-cpu 2.21.0 and tf2onnx 1.17.0, neither of which the box needs.
tf2onnx says "uses fast NMS. ONNX will approximate with standard NMS": scores and boxes are the same, but faint
duplicates of a box that are suppressed differ.
"""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
from pathlib import Path

from models.zoo import SEED_NAME, SEED_ORGANIZATION, SEED_PROJECT, SEED_VERSION, seed_folder

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "everyday-objects.detector-appliance")
"""Category ids are uuid5 of the name in this namespace: the same on every box, forever."""

STEM = "mobilenet_ssd_v2_coco_quant_postprocess"
ONNX_COMMANDS = f"""\
pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0
python -m tf2onnx.convert --opset 16 --tflite {STEM}.tflite --output {STEM}.onnx"""

INPUT = {
    "width": 300,
    "height": 300,
    "layout": "NHWC",
    "channels": "RGB",
    "dtype": "uint8",
    "scale": 1.0,
    "offset": 0.0,
    "resize": "stretch",
}
OUTPUTS = {"boxes": 0, "classes": 1, "scores": 2, "count": 3}


def read_labels(text: str) -> dict[int, str]:
    """Lines `number  name` -> class number -> name. The numbers have gaps."""
    rows = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {int(number): name.strip() for number, name in rows}


def model_json(labels: dict[int, str], folder: Path) -> dict[str, object]:
    """The whole `model.json` of the seed model, with the hashes of the weight files in `folder`."""

    def weights(runtime: str, accelerator: str, file: str) -> dict[str, object]:
        return {
            "runtime": runtime,
            "accelerator": accelerator,
            "file": file,
            "sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(),
            "input": INPUT,
            "outputs": OUTPUTS,
        }

    return {
        "id": str(uuid.uuid5(NAMESPACE, SEED_VERSION)),
        "host": SEED_NAME,
        "organization": SEED_ORGANIZATION,
        "project": SEED_PROJECT,
        "version": SEED_VERSION,
        "format": "litert",
        "resolution": 300,
        "model_size": "mobilenet_v2",
        "categories": [
            {"id": str(uuid.uuid5(NAMESPACE, name)), "name": name, "type": "box"} for name in labels.values()
        ],
        "inference": {
            "version": 1,
            "head": "ssd_postprocessed",
            "family": "ssd_mobilenet_v2",
            "weights": [
                weights("litert", "edgetpu", f"{STEM}_edgetpu.tflite"),
                weights("litert", "cpu", f"{STEM}.tflite"),
                weights("onnx", "any", f"{STEM}.onnx"),
            ],
            "class_indices": list(labels),
            "score_threshold": 0.55,
            "nms_iou": 0.5,
        },
    }


def main(arguments: list[str]) -> None:
    """See the module's docstring."""
    if arguments == ["--print-onnx"]:
        sys.stdout.write(ONNX_COMMANDS + "\n")
        return
    folder = seed_folder()
    labels = read_labels(Path(arguments[0]).read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(model_json(labels, folder), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
