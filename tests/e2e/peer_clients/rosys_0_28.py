"""A robot that runs rosys 0.28: everything that its `DetectorHardware` can ask of a detector. Run as a script.

Arguments: port of the detector, folder with JPEG pictures. The last line of its output is one JSON object. Runs in an
environment that has rosys, and knows nothing of this project.
"""

# mypy: disable-error-code="import-not-found, misc, attr-defined, call-arg"
# rosys is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rosys.vision import Detections, DetectorHardware, Image, ImageSize
from rosys.vision.detector import DetectorException
from rosys.vision.image_processing import get_image_size_from_bytes


def boxes(detections: Detections | None) -> list[dict[str, Any]]:
    """What was found, best first; none where the answer got lost."""
    found = detections.boxes if detections is not None else []
    return [asdict(box) for box in sorted(found, key=lambda box: -box.confidence)]


async def refusal(attempt: Any) -> str:
    """Text of the exception that the attempt ends with; empty if it succeeds."""
    try:
        await attempt
    except DetectorException as error:
        return str(error)
    return ""


async def main() -> None:
    """Do everything and print what came of it."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    images: dict[str, Image] = {}
    for path in sorted(folder.glob("*.jpg")):
        data = path.read_bytes()
        size: ImageSize = get_image_size_from_bytes(data)
        images[path.stem] = Image(camera_id=path.stem, size=size, time=time.time(), data=data)

    detector = DetectorHardware(port=port)
    if not await detector.connect():
        raise SystemExit("rosys could not connect")
    report: dict[str, Any] = {
        "detect": {name: boxes(await detector.detect(image)) for name, image in images.items()},
        "info": asdict(await detector.fetch_detector_info()),
        "version": asdict(await detector.fetch_model_version_info()),
    }
    await detector.upload(images["cat"], tags=["rosys 0.28"], source="robot", creation_date="2024-05-06T07:08:09")
    await detector.set_model_version("pause")
    report["version_control_when_paused"] = (await detector.fetch_model_version_info()).version_control
    report["unknown_version"] = await refusal(detector.set_model_version("99.9"))
    report["known_version"] = await refusal(detector.set_model_version(report["version"]["current_version"]))
    began = time.monotonic()
    report["soft_reload"] = await refusal(detector.soft_reload())
    report["soft_reload_seconds"] = time.monotonic() - began
    await detector.disconnect()
    print(f"\n{json.dumps(report)}")


asyncio.run(main())
