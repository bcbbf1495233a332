"""A client of the days of learning-loop-node 0.13 or 0.27: sends what that era sends, and reads the answers with the
library's own data classes, which refuse what the library would have refused. Run as a script.

Arguments: port of the detector, folder with JPEG pictures, `0.13` or `0.27`. The last line of its output is one JSON
object. Runs in an environment that has learning-loop-node, and knows nothing of this project.
"""

# mypy: disable-error-code="import-not-found, misc, attr-defined"
# The library is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import asyncio
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
import socketio
from dacite import from_dict
from learning_loop_node.data_classes import AboutResponse, ImageMetadata, ModelInformation, ModelVersionResponse


def image_of(era: str, form: str, jpeg: bytes) -> Any:
    """A picture as clients of this era put it into a message."""
    if era == "0.13":
        return jpeg
    if form == "jpeg":
        return {"format": "jpeg", "bytes": jpeg}
    pixels = np.array(PIL.Image.open(io.BytesIO(jpeg)))
    return {"bytes": pixels.tobytes(order="C"), "dtype": str(pixels.dtype), "shape": pixels.shape}


def boxes(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The boxes of an answer, best first, having gone through the library's own types."""
    if "error" in answer:
        raise SystemExit(f"the detector answered {answer}")
    metadata = from_dict(data_class=ImageMetadata, data=answer)
    return [asdict(box) for box in sorted(metadata.box_detections, key=lambda box: -box.confidence)]


async def over_socketio(port: int, era: str, pictures: dict[str, bytes]) -> dict[str, Any]:
    """What a program with python-socketio does."""
    client = socketio.AsyncClient()
    await client.connect(f"ws://127.0.0.1:{port}", socketio_path="/ws/socket.io")
    camera = {"camera-id": "front", "mac": "front"} if era == "0.13" else {"camera_id": "front"}
    forms = ("jpeg",) if era == "0.13" else ("raw", "jpeg")
    report: dict[str, Any] = {}
    for form in forms:
        report[form] = {
            name: boxes(await client.call("detect", {"image": image_of(era, form, jpeg), **camera}, timeout=5))
            for name, jpeg in pictures.items()
        }
    if era != "0.13":
        images = [image_of(era, "raw", jpeg) for jpeg in pictures.values()]
        answer = await client.call("batch_detect", {"images": images, **camera}, timeout=5)
        report["batch_detect"] = [boxes(item) for item in answer["items"]]
    box = {"category_name": "cat", "x": 1, "y": 2, "width": 30, "height": 40, "model_name": "0.0", "confidence": 0.9}
    described = {"box_detections": [box], "point_detections": [], "segmentation_detections": []}
    described["classification_detections"] = []
    upload: dict[str, Any]
    if era == "0.13":
        upload = {"detections": described, "tags": [f"node {era}"], "source": "front"}
    else:
        upload = {"metadata": {**described, "tags": [f"node {era}"], "source": "front"}, "upload_priority": True}
    upload["image"] = image_of(era, "jpeg", pictures["cat"])
    report["upload"] = await client.call("upload", upload, timeout=5)
    report["info"] = asdict(from_dict(data_class=ModelInformation, data=await client.call("info", timeout=5)))
    report["about"] = asdict(from_dict(data_class=AboutResponse, data=await client.call("about", timeout=5)))
    version = await client.call("get_model_version", timeout=5)
    report["version"] = asdict(from_dict(data_class=ModelVersionResponse, data=version))
    report["outbox_mode"] = await client.call("get_outbox_mode", timeout=5)
    await client.disconnect()
    return report


def over_rest(port: int, pictures: dict[str, bytes]) -> dict[str, Any]:
    """What a program with an HTTP client does."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        headers = {"camera-id": "front", "tags": "first,second", "autoupload": "disabled"}
        found: dict[str, Any] = {}
        for name, jpeg in pictures.items():
            answer = client.post("/detect", files={"file": (f"{name}.jpg", jpeg, "image/jpeg")}, headers=headers)
            answer.raise_for_status()
            found[name] = boxes(answer.json())
        files = [("files", (f"{name}.jpg", jpeg, "image/jpeg")) for name, jpeg in pictures.items()]
        uploaded = client.post("/upload", files=files, params={"source": "rest upload"})
        return {
            "detect": found,
            "upload": [uploaded.status_code, uploaded.json()],
            "about": asdict(from_dict(data_class=AboutResponse, data=client.get("/about").json())),
            "version": asdict(from_dict(data_class=ModelVersionResponse, data=client.get("/model_version").json())),
            "outbox_mode": client.get("/outbox_mode").text,
        }


port, folder, era = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
photographs = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.jpg"))}
socketio_report = asyncio.run(over_socketio(port, era, photographs))
print(f"\n{json.dumps({'socketio': socketio_report, 'rest': over_rest(port, photographs)})}")
